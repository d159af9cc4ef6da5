"""What the outbox sends, and what it need not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from eventsourcing.persistence import Recording

from domain.errors import BrokerUnavailable
from domain.registry import Registry
from streams.envelope import Outgoing
from streams.failpoints import Failpoints
from streams.live import LiveHub
from streams.outbox import READER, Known, Outbox, SendAll, Settled, at_once
from streams.relay import LiveRelay
from streams.stores import migrate, read_model
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages, document
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


def outbox_of(stages: Stages, send: SendAll, known: Known, settled: Settled = at_once) -> Outbox:
    return Outbox(
        database=stages.database,
        recorder=stages.recorder,
        mapper=stages.jobs.job_mapper,
        send=send,
        failpoints=Failpoints(),
        known=known,
        settled=settled,
    )


async def publish_all(outbox: Outbox) -> None:
    while await outbox.publish():
        pass


async def test_what_all_readers_have_is_passed_over_and_the_rest_is_sent(
    database: Database,
) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    sent: list[Outgoing] = []
    asked: list[tuple[str, int]] = []

    async def send(messages: Sequence[Outgoing]) -> None:
        sent.extend(messages)

    def known(of: str, version: int) -> bool:
        asked.append((of, version))
        return version != 2

    outbox = outbox_of(stages, send, known)
    await publish_all(outbox)
    await outbox.save()
    versions = [
        version for (version,) in await stages.rows("SELECT version FROM events ORDER BY id")
    ]
    assert len(versions) > 2
    assert asked == [(job_id, version) for version in versions], "each once, in order"
    assert [document(one)["version"] for one in sent] == [2]
    stored = await database.read(lambda connection: read_model.position(connection, READER))
    assert stored == len(versions), "what need not be sent is done as well"


async def test_what_was_offered_to_those_who_read_here_is_not_sent(database: Database) -> None:
    migrate.create_missing(database, [stock])
    offers: list[Callable[[Iterable[Recording[str]]], None]] = []

    def stored(recordings: Iterable[Recording[str]]) -> None:
        kept = [*recordings]
        for offer in offers:
            offer(kept)

    stages = Stages(database, Registry(operations), stored=stored)
    relay = LiveRelay(LiveHub())
    sent: list[Outgoing] = []

    async def send(messages: Sequence[Outgoing]) -> None:
        sent.extend(messages)

    outbox = outbox_of(stages, send, relay.take_offered)
    offers += [relay.offer, outbox.offer]
    await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    await publish_all(outbox)
    assert not sent
    offers.clear()
    unseen = await stages.submit("stock.create", [{"name": "y"}])
    await stages.run_dry()
    await publish_all(outbox)
    assert sent
    assert {document(one)["job_id"] for one in sent} == {unseen}


async def test_what_is_read_before_its_process_tells_of_it_waits_for_that(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is there for who reads the log before the step that made it goes on."""
    migrate.create_missing(database, [stock])
    relay = LiveRelay(LiveHub())
    stages = Stages(database, Registry(operations), stored=relay.offer)
    sent: list[Outgoing] = []

    async def send(messages: Sequence[Outgoing]) -> None:
        sent.extend(messages)

    committed, may_go_on = asyncio.Event(), asyncio.Event()
    write = database.write

    async def write_and_halt(*args: Any, **options: Any) -> Any:
        found = await write(*args, **options)
        committed.set()
        await may_go_on.wait()
        return found

    outbox = outbox_of(stages, send, relay.take_offered, stages.coordinator.settled)
    await stages.submit("stock.create", [{"name": "x"}])
    monkeypatch.setattr(database, "write", write_and_halt)
    async with asyncio.timeout(20.0), asyncio.TaskGroup() as group:
        group.create_task(stages.run_dry())
        await committed.wait()
        publishing = group.create_task(outbox.publish())
        done, _ = await asyncio.wait({publishing}, timeout=0.2)
        may_go_on.set()
        assert not done, "it waits"
    assert not sent


async def test_what_could_not_be_sent_is_sent_with_what_was_passed_over_beside_it(
    database: Database,
) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    sent: list[Outgoing] = []
    away = [True]
    told_once = {1}

    async def send(messages: Sequence[Outgoing]) -> None:
        if away:
            away.clear()
            raise BrokerUnavailable("away for once")
        sent.extend(messages)

    def known(_of: str, version: int) -> bool:
        was = version in told_once
        told_once.discard(version)
        return was

    outbox = outbox_of(stages, send, known)
    with pytest.raises(BrokerUnavailable):
        await outbox.publish()
    await outbox.save()
    stored = await database.read(lambda connection: read_model.position(connection, READER))
    assert stored == 0, "nothing is done yet"
    await publish_all(outbox)
    versions = [version for (version,) in await stages.rows("SELECT version FROM events")]
    assert [document(one)["version"] for one in sent] == sorted(versions)
