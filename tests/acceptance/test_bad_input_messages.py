"""Bad messages, forgotten uploads and jobs of others, with the real engine.

A message that cannot be read or decided ends on the dead-letter topic with its cause and where
it came from, and its partition moves on; an upload that nobody claimed in a day is removed; a
job of another tenant is not there for whoever asks over HTTP.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from domain.commands import InlineItems, JobSpec, SubmitJob
from domain.registry import Registry
from streams import app as faust_apps
from streams import topics
from streams.agents import Binding, Sender, bind
from streams.bootstrap import embedded
from streams.callers import Caller
from streams.envelope import CommandDecided, Outgoing, decode_command, decode_outcome, encode
from streams.failpoints import Failpoints
from streams.settings import Settings
from streams.stores import migrate
from streams.stores.database import Database
from streams.timers import UPLOAD_SECONDS, Timers
from streams.transport.memory import MemoryBroker, memory_transport
from tests.acceptance.bad_input import problem, site
from tests.acceptance.plugins import crash_plugin
from tests.crash.client import JOBS
from tests.databases import sqlite_database
from tests.engine.conftest import lines
from tests.engine.stages import HandClock, Stages
from tests.engine.stock import operations, stock

__all__ = ["sqlite_database"]

GOOD = SubmitJob(
    command_id="good",
    job_id="job",
    tenant="local",
    actor="tester",
    spec=JobSpec(operation="stock.create"),
    source=InlineItems(items=({"name": "a"},)),
)
FIELDS = orjson.loads(encode(GOOD))
BAD = (
    (b"\x00\xff no json", b"unreadable"),
    (b"{}", b"unreadable"),
    (orjson.dumps({**FIELDS, "schema_version": 99}), b"unsupported_version"),
    (orjson.dumps({**FIELDS, "type": "destroy_job"}), b"unreadable"),
    (orjson.dumps({**FIELDS, "tenant": 5}), b"unreadable"),
    (orjson.dumps({**FIELDS, "surprise": True}), b"unreadable"),
)


async def test_bad_commands_become_dead_letters_and_the_partition_moves_on(
    sqlite_database: Database,
) -> None:
    migrate.create_missing(sqlite_database, [stock])
    stages = Stages(sqlite_database, Registry(operations))
    broker = MemoryBroker()
    for topic in (topics.COMMANDS, topics.OUTCOMES, topics.DEAD, topics.work("stock")):
        broker.create_topic(topic, 1)
    app = faust_apps.create_faust_app(
        app_id="coordinator", broker_url=str(broker.url), transport=memory_transport(broker)
    )
    send = Sender(app)
    binding = Binding(
        topic=topics.COMMANDS, decode=decode_command, handle=stages.coordinator.handle
    )
    bind(app, binding, send, Failpoints())
    await faust_apps.start(app)
    try:
        for value, _ in BAD:
            await send(Outgoing(topics.COMMANDS, b"job", value))
        await send(Outgoing(topics.COMMANDS, b"job", encode(GOOD)))
        async with asyncio.timeout(10):
            while "good" not in stages.decisions:  # noqa: ASYNC110 - the engine tells nobody
                await asyncio.sleep(0.01)
    finally:
        assert await faust_apps.stop(app, drain=5.0)

    assert stages.decisions["good"].problem is None
    dead = broker.partitions(topics.DEAD)[0].read(0, 100)
    assert [letter.value for letter in dead] == [value for value, _ in BAD]
    for offset, (letter, (_, code)) in enumerate(zip(dead, BAD, strict=True)):
        headers = dict(letter.headers)
        assert headers["countermand-code"] == code
        assert headers["countermand-reason"]
        assert headers["countermand-topic"] == topics.COMMANDS.encode()
        assert headers["countermand-offset"] == str(offset).encode()


async def test_a_command_for_an_unknown_operation_is_decided_and_makes_no_job(
    sqlite_database: Database,
) -> None:
    stages = Stages(sqlite_database, Registry(operations))
    stages.bus += await stages.coordinator.handle(
        GOOD.model_copy(update={"spec": JobSpec(operation="nobody.knows")})
    )

    refused = stages.decisions["good"].problem
    assert refused is not None
    assert refused["code"] == "unknown_operation"
    assert await stages.rows("SELECT count(*) FROM events") == [(0,)]
    (told,) = stages.bus
    assert told.topic == topics.OUTCOMES
    answer = decode_outcome(told.value)
    assert isinstance(answer, CommandDecided)
    assert answer.problem is not None
    assert answer.problem.code == "unknown_operation"


class Gone(Exception):
    """The client has gone."""


async def torn_lines() -> AsyncIterator[bytes]:
    """More than is kept in memory, and then the client drops."""
    for _ in range(40):
        yield b"".join(b'{"name":"%s"}\n' % os.urandom(40).hex().encode() for _ in range(1500))
    raise Gone


async def test_an_upload_that_nobody_claimed_is_removed_after_a_day(tmp_path: Path) -> None:
    caller, spec = Caller("local", "tester"), JobSpec(operation="stock.create")
    clock = HandClock()
    clock.pass_seconds(time.time() - clock.monotonic())
    settings = Settings(data_dir=tmp_path)
    async with embedded(settings, Registry(operations)) as engine:

        async def counts() -> tuple[int, ...]:
            tables = ("uploads", "uploads WHERE job_id IS NULL", "events")
            sql = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
            found = await engine.database.read(lambda c: c.exec_driver_sql(sql).one())
            return tuple(found)

        with pytest.raises(Gone):
            await engine.gateway.submit(caller, spec, torn_lines(), key=None)
        assert await counts() == (1, 1, 0)
        await engine.gateway.submit(caller, spec, lines([{"name": "a"}]), key=None)
        timers = Timers(database=engine.database, clock=clock, send=Sender(None))

        clock.pass_seconds(UPLOAD_SECONDS - 60)
        await timers.clean()
        assert (await counts())[:2] == (2, 1), "a slow client has a day"
        clock.pass_seconds(120)
        await timers.clean()
        assert (await counts())[:2] == (1, 0)
        left = await engine.database.read(
            lambda c: c.exec_driver_sql("SELECT DISTINCT upload_id FROM payloads").all()
        )
        assert len(left) == 1


async def test_a_job_of_another_tenant_is_not_there_over_http(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    spec = JobSpec(operation="stock.create")
    async with embedded(Settings(data_dir=data_dir), Registry(operations)) as engine:
        caller = Caller("somebody", "else")
        one = lines([{"name": "a"}])
        job_id = (await engine.gateway.submit(caller, spec, one, key=None)).job_id
        async with asyncio.timeout(10):
            while not (await engine.queries.job("somebody", job_id)).status.terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await asyncio.to_thread(_ask_for_it, data_dir, crash_plugin(tmp_path / "site"), job_id)


def _ask_for_it(data_dir: Path, plugin: Path, job_id: str) -> None:
    with site(data_dir, plugin) as running:
        for path in ("", "?at=1", "/events", "/items", "/items?format=ndjson", "/errors"):
            problem(running.client.once("GET", f"{JOBS}/{job_id}{path}"), 404, "job_not_found")
        for verb in ("pause", "resume", "cancel", "retry", "undo", "seal"):
            problem(running.post(f"{JOBS}/{job_id}/{verb}", {}), 404, "job_not_found")
        assert running.jobs() == []
