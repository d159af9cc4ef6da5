"""Little work has its hint when it is not recorded a moment after the database told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.commands import BaseCommand
from domain.errors import BrokerUnavailable
from domain.events import JobStatus
from domain.options import JobOptions
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, decode_command
from streams.loops import background
from streams.reminding import AFTER_SECONDS, LAST_SECONDS, MOST_NOTED, Reminder
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

SECONDS = 20.0
THING = {"name": "x"}


class Post:
    """What was hinted at; the broker is away the first ``away`` times."""

    def __init__(self, away: int = 0) -> None:
        self.hinted = asyncio.Queue[str]()
        self._tries = iter(range(away))

    async def __call__(self, messages: Sequence[Outgoing]) -> None:
        if next(self._tries, None) is not None:
            raise BrokerUnavailable("it is away")
        for outgoing in messages:
            command: BaseCommand = decode_command(outgoing.value)
            self.hinted.put_nowait(command.job_id)


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


@asynccontextmanager
async def running(reminder: Reminder) -> AsyncIterator[None]:
    async with asyncio.timeout(SECONDS), background([reminder.run()]):
        # It has begun.
        await asyncio.sleep(0)
        yield


async def worked(stages: Stages, items: int = 1, **options: Any) -> str:
    """A job whose work is done and of which the hints are not delivered."""
    spec = JobOptions(**options)
    job_id = await stages.submit("stock.create", [THING] * items, options=spec)
    work = [one for one in stages.bus if one.topic != topics.COMMANDS]
    stages.bus.clear()
    for one in work:
        await stages.deliver(one)
    return job_id


async def test_what_is_recorded_by_then_has_no_hint_and_what_is_not_has_one(
    stages: Stages,
) -> None:
    recorded, left = await worked(stages), await worked(stages)
    await stages.coordinator.look(recorded)
    post = Post()
    reminder = Reminder(stages.database, stages.ids, post)
    async with running(reminder):
        assert reminder.note(recorded)
        assert reminder.note(left)
        assert await post.hinted.get() == left
        # Once: whoever is not there to take it finds it on the broker, or by a sweep.
        await asyncio.sleep(4 * AFTER_SECONDS)
    assert post.hinted.empty()


async def test_later_jobs_are_looked_for_as_well(stages: Stages) -> None:
    post = Post()
    reminder = Reminder(stages.database, stages.ids, post)
    async with running(reminder):
        for _ in range(3):
            job_id = await worked(stages)
            assert reminder.note(job_id)
            assert await post.hinted.get() == job_id


async def test_of_too_many_the_hints_go_at_once(stages: Stages) -> None:
    reminder = Reminder(stages.database, stages.ids, Post())
    async with running(reminder):
        assert all(reminder.note(f"job-{number}") for number in range(MOST_NOTED))
        assert not reminder.note("one-more")
        assert reminder.note("job-0"), "which is noted already"


async def test_whoever_ends_hints_at_all_that_it_has_noted(stages: Stages) -> None:
    post = Post()
    reminder = Reminder(stages.database, stages.ids, post)
    assert not reminder.note("early"), "nobody looks yet"
    async with running(reminder):
        assert reminder.note("first")
        assert reminder.note("second")
    assert [post.hinted.get_nowait(), post.hinted.get_nowait()] == ["first", "second"]
    assert not reminder.note("late"), "nobody would look for it"


async def test_a_broker_that_is_away_ends_nothing(stages: Stages) -> None:
    post = Post(away=1)
    reminder = Reminder(stages.database, stages.ids, post)
    first, second = await worked(stages), await worked(stages)
    async with running(reminder):
        assert reminder.note(first)
        await asyncio.sleep(3 * AFTER_SECONDS)
        assert reminder.note(second)
        assert await post.hinted.get() == second


async def test_a_broker_that_does_not_answer_keeps_nobody_from_ending(stages: Stages) -> None:
    async def silent(_messages: Sequence[Outgoing]) -> None:
        await asyncio.Event().wait()

    reminder = Reminder(stages.database, stages.ids, silent)
    async with running(reminder):
        assert reminder.note(await worked(stages))
        await asyncio.sleep(3 * AFTER_SECONDS)
        assert reminder.note("another")
        began = time.monotonic()
    assert time.monotonic() - began < LAST_SECONDS + 1.0


async def test_without_the_database_all_have_their_hints(stages: Stages) -> None:
    post = Post()
    reminder = Reminder(Database("postgresql+psycopg://nobody@127.0.0.1:1/x"), stages.ids, post)
    async with running(reminder):
        assert reminder.note("one")
        assert await post.hinted.get() == "one"


@pytest.mark.parametrize(("items", "hints"), [(1, 0), (200, 0), (201, 1)])
async def test_only_little_work_waits_for_its_hint(
    database: Database, items: int, hints: int
) -> None:
    migrate.create_missing(database, [stock])
    noted: list[str] = []

    def note(job_id: str) -> bool:
        noted.append(job_id)
        return True

    stages = Stages(database, Registry(operations), told=note)
    job_id = await worked(stages, items, chunk_size=items)
    assert [one.topic for one in stages.bus].count(topics.COMMANDS) == hints
    assert noted == [job_id][hints:]
    await stages.coordinator.look(job_id)
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED


async def test_work_that_comes_again_is_hinted_at_at_once(database: Database) -> None:
    """Whoever had it before may have died between its commit and the hint."""
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations), told=lambda _: True)
    await stages.submit("stock.create", [THING])
    (work,) = [one for one in stages.bus if one.topic == topics.work("stock")]
    stages.bus.clear()
    await stages.deliver(work)
    assert topics.COMMANDS not in {one.topic for one in stages.bus}
    await stages.deliver(work)
    assert [one.topic for one in stages.bus].count(topics.COMMANDS) == 1
