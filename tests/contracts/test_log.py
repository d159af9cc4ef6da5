"""The log as those read it who follow whole tenants: by position, with the tags of the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import structlog
from eventsourcing.persistence import StoredEvent
from sqlalchemy import update

from domain.commands import JobSpec
from domain.errors import Unavailable
from domain.events import JobEvent, JobReleased, JobSnapshot, JobStatus, JobSubmitted
from domain.jobs import JobMapper
from domain.outcomes import Counts
from streams.live import LiveHub, Placed
from streams.stores import log
from streams.stores.database import Database
from streams.stores.log import JobLog, LogPage, last_position
from streams.stores.schema import events
from streams.tail import LogTail
from tests.databases import damage
from tests.stored_events import BEGIN, append, stored_event


def store(
    database: Database,
    job_id: str,
    version: int,
    *,
    tenant: str = "local",
    tags: Sequence[str] = (),
) -> None:
    """One event more; the first of a job has its tags."""
    common: dict[str, Any] = {
        "originator_id": job_id,
        "originator_version": version,
        "at": BEGIN,
        "tenant": tenant,
        "actor": "ann",
        "command_id": f"{job_id}/{version}",
        "status": JobStatus.RUNNING,
        "counts": Counts(pending=1),
    }
    event: JobEvent = JobReleased(**common)
    if version == 1:
        spec = JobSpec(operation="a.b", tags=tuple(tags))
        event = JobSubmitted(**common, spec=spec, items=1, size=1, sha256="")
    append(database, JobMapper().to_stored_event(event))


@pytest.fixture
def job_log() -> JobLog:
    return JobLog(JobMapper())


async def page(
    job_log: JobLog,
    database: Database,
    after: int = 0,
    most: int = 10,
    tenant: str = "local",
    tags: tuple[str, ...] = (),
) -> LogPage:
    return await database.read(
        partial(job_log.page, tenant=tenant, after=after, most=most, wanted=[frozenset(tags)])
    )


def told(found: LogPage) -> list[tuple[str, int]]:
    return [(one.event.originator_id, one.event.originator_version) for one in found.events]


async def test_pages_follow_one_another_in_the_order_of_the_commits(
    database: Database, job_log: JobLog
) -> None:
    for job_id, version in (("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)):
        store(database, job_id, version)
    first = await page(job_log, database, most=3)
    second = await page(job_log, database, first.position, most=3)
    assert told(first) == [("a", 1), ("b", 1), ("a", 2)]
    assert told(second) == [("b", 2), ("a", 3)]
    assert (first.more, second.more) == (True, False)
    assert second.position == second.last == await database.read(last_position)
    end = await page(job_log, database, second.position)
    assert (end.events, end.position, end.more) == ([], second.position, False)


FAR = {
    "postgresql": "SELECT setval(pg_get_serial_sequence('events', 'id'), 1000000000)",
    "sqlite": "UPDATE sqlite_sequence SET seq = 1000000000 WHERE name = 'events'",
}


async def test_a_gap_of_any_width_is_a_page_at_most(database: Database, job_log: JobLog) -> None:
    """A log that was restored goes on far behind its end."""
    store(database, "a", 1)
    damage(database, FAR[database.url.get_backend_name()])
    store(database, "b", 1)
    first = await page(job_log, database)
    second = await page(job_log, database, first.position)
    assert told(first) == [("a", 1)]
    assert (told(second), second.more) == ([("b", 1)], False)
    assert first.more


class Counting(JobMapper):
    """Counts what it is asked to read."""

    read = 0

    def to_domain_event(self, stored_event: StoredEvent) -> JobEvent | JobSnapshot:
        self.read += 1
        return super().to_domain_event(stored_event)


async def test_an_event_is_read_once_for_all_who_come_to_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred who come back together want the same events, and reading one is dear."""
    monkeypatch.setattr(log, "EVENTS_KEPT", 3)
    mapper = Counting()
    job_log = JobLog(mapper)
    for version in range(1, 5):
        store(database, "a", version)
    first = await page(job_log, database, after=1)
    assert [await page(job_log, database, after=1) for _ in range(9)] == [first] * 9
    assert mapper.read == 3
    # Those that were wanted longest ago are the first to be read again.
    assert len((await page(job_log, database)).events) == 4
    assert mapper.read == 7


async def test_only_the_tenants_own_are_found(database: Database, job_log: JobLog) -> None:
    store(database, "a", 1, tags=["x"])
    store(database, "b", 1, tags=["x"], tenant="other")
    for tenant, job_id in (("local", "a"), ("other", "b")):
        for tags in ((), ("x",)):
            assert told(await page(job_log, database, tenant=tenant, tags=tags)) == [(job_id, 1)]
    assert told(await page(job_log, database, tenant="nobody")) == []


async def test_later_events_have_the_tags_of_their_job(database: Database, job_log: JobLog) -> None:
    store(database, "a", 1, tags=["red", "Big one"])
    store(database, "b", 1)
    store(database, "a", 2)
    store(database, "b", 2)
    for reader in (job_log, JobLog(JobMapper())):
        assert told(await page(reader, database, tags=("Big one", "y"))) == [("a", 1), ("a", 2)]
        assert told(await page(reader, database, tags=("RED",))) == []
    end = (await page(job_log, database)).last
    assert told(await page(job_log, database, after=end - 2, tags=("red",))) == [("a", 2)]


async def test_one_look_is_at_a_window_of_the_log(
    database: Database, job_log: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "WINDOW", 2)
    for number in range(5):
        store(database, f"theirs-{number}", 1, tenant="other")
    store(database, "a", 1)
    looks, found, after = 0, [], 0
    while True:
        one = await page(job_log, database, after)
        looks, found, after = looks + 1, found + told(one), one.position
        if not one.more:
            break
    assert (looks, found) == (3, [("a", 1)])


async def test_a_damaged_event_is_passed_over_and_a_later_one_is_waited_for(
    database: Database, job_log: JobLog
) -> None:
    store(database, "a", 1)
    append(database, stored_event("b", 1, topic="job.submitted"))
    store(database, "a", 2)
    assert told(await page(job_log, database)) == [("a", 1), ("a", 2)]
    append(database, stored_event("c", 1, topic="job.of_next_year"))
    with pytest.raises(Unavailable, match="of a later release"):
        await page(job_log, database)


@pytest.mark.parametrize("state", [b"\xff\x00", b"[]", b'{"spec":{"tags":7}}'])
async def test_a_job_whose_first_event_is_damaged_keeps_no_other_from_being_found(
    database: Database, job_log: JobLog, state: bytes
) -> None:
    """Nobody knows its tags any more: it is found by those who ask for none."""
    for job_id, version in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        store(database, job_id, version, tags=["red"])
    first = (events.c.job_id == "a") & (events.c.version == 1)
    damage(database, update(events).where(first).values(state=state))

    with structlog.testing.capture_logs() as logs:
        everything = await page(job_log, database)
        tagged = await page(JobLog(JobMapper()), database, tags=("red",))
        behind = await database.read(partial(JobLog(JobMapper()).behind, position=0, most=10))

    assert told(everything) == [("b", 1), ("a", 2), ("b", 2)]
    assert told(tagged) == [("b", 1), ("b", 2)]
    assert [one.event.originator_id for one in behind] == ["b", "a", "b"]
    not_shown = [entry for entry in logs if entry["event"] == "event_not_shown"]
    assert [entry["position"] for entry in not_shown] == [1, 1]
    # Who asks for tags is told of the job that may have had them.
    assert {entry["job_id"] for entry in logs if entry["event"] == "tags_not_known"} == {"a"}


async def test_what_is_before_an_event_of_a_later_release_is_handed_out(
    database: Database, job_log: JobLog
) -> None:
    def behind(position: int) -> list[tuple[str, int]]:
        found = database.read_now(lambda c: job_log.behind(c, position, 10))
        return [(one.event.originator_id, one.event.originator_version) for one in found]

    store(database, "a", 1)
    store(database, "a", 2)
    append(database, stored_event("c", 1, topic="job.of_next_year"))
    store(database, "a", 3)
    assert behind(0) == [("a", 1), ("a", 2)]
    with pytest.raises(Unavailable, match="of a later release"):
        behind(2)


async def test_the_tail_hands_out_what_is_stored_from_then_on(
    database: Database, job_log: JobLog
) -> None:
    hub = LiveHub()
    tail = LogTail(database=database, log=job_log, hub=hub)
    store(database, "a", 1, tags=["red"])
    running = asyncio.ensure_future(tail.run())
    try:
        async with (
            tail.follow("local", lambda _: True) as (ours, begun),
            tail.follow("local", lambda placed: "red" in placed.tags) as (red, _),
            tail.follow("other", lambda _: True) as (theirs, _),
        ):
            assert begun == await database.read(last_position)
            for job_id, version, tenant in (
                ("a", 2, "local"),
                ("b", 1, "local"),
                ("c", 1, "other"),
                ("a", 3, "local"),
            ):
                store(database, job_id, version, tenant=tenant)
                tail.heard()
            seen = [await ours.next(5) for _ in range(3)]
            assert [_short(one) for one in seen] == [("a", 2), ("b", 1), ("a", 3)]
            assert [_short(await red.next(5)) for _ in range(2)] == [("a", 2), ("a", 3)]
            assert _short(await theirs.next(5)) == ("c", 1)
            places = [one.position for one in seen if one is not None and one.position]
            assert places == sorted(places)
            assert places[0] > begun
    finally:
        running.cancel()
    assert hub.readers == 0


async def test_nothing_is_read_while_nobody_follows(database: Database) -> None:
    class Counting(JobLog):
        reads = 0

        def behind(self, connection: Any, position: int, most: int) -> Any:
            self.reads += 1
            return super().behind(connection, position, most)

    job_log, hub = Counting(JobMapper()), LiveHub()
    tail = LogTail(database=database, log=job_log, hub=hub)
    store(database, "a", 1)
    await tail._read_on()
    assert job_log.reads == 0
    async with tail.follow("local", lambda _: True):
        store(database, "a", 2)
        await tail._read_on()
        assert job_log.reads == 1
    store(database, "a", 3)
    await tail._read_on()
    assert job_log.reads == 1
    async with tail.follow("local", lambda _: True) as (_, begun):
        assert begun == await database.read(last_position), "who comes later begins at the end"


def _short(placed: Placed | None) -> tuple[str, int | None]:
    assert placed is not None
    return placed.event.job_id, placed.event.version
