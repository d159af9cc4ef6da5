"""The event recorder: on the caller's transaction, chained, and in the order of the commits."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from domain.errors import JobNotFound
from domain.jobs import Jobs
from streams.stores.database import Database
from streams.stores.event_order import CHANNEL
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.stores.schema import events, snapshots
from tests.processor_time import processor_time
from tests.stored_events import append, stored_event, submitted, work


@pytest.fixture
def recorder(database: Database) -> EventRecorder:
    return EventRecorder(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(EventRecorder(database), SnapshotRecorder(database))


class Abandoned(Exception):
    """The caller's own failure, after the events were written."""


def test_events_come_back_as_they_were_stored(database: Database, recorder: EventRecorder) -> None:
    stored = [stored_event("a", 1), stored_event("a", 2, topic="job.finished")]
    append(database, *stored)
    assert recorder.select_events("a") == stored
    assert recorder.select_events("b") == []


def test_ids_rise_and_columns_repeat_what_the_state_says(database: Database) -> None:
    first = append(database, stored_event("a", 1), stored_event("b", 1))
    second = append(database, stored_event("a", 2))
    assert list(first) == sorted(first)
    assert first[-1] < second[0]
    rows = database.read_now(lambda connection: connection.execute(select(events)).all())
    assert [(row.tenant, row.actor, row.command_id) for row in rows] == [
        ("local", "ann", "a/1"),
        ("local", "ann", "b/1"),
        ("local", "ann", "a/2"),
    ]


def test_nothing_to_store_stores_nothing(database: Database, recorder: EventRecorder) -> None:
    assert list(append(database)) == []
    assert recorder.max_notification_id() is None


def test_without_a_connection_nothing_is_stored(recorder: EventRecorder) -> None:
    with pytest.raises(TypeError, match="connection="):
        recorder.insert_events([stored_event("a", 1)])
    assert recorder.select_events("a") == []


def test_events_share_the_fate_of_the_transaction(
    database: Database, recorder: EventRecorder
) -> None:
    def fail(connection: Connection) -> None:
        recorder.insert_events([stored_event("a", 1)], connection=connection)
        assert len(recorder.select_events("a", connection=connection)) == 1
        raise Abandoned

    with pytest.raises(Abandoned):
        database.write_now(fail)
    assert recorder.select_events("a") == []
    append(database, stored_event("a", 1), stored_event("a", 2))
    assert _broken_links(database) == []


def test_a_version_is_taken_once(database: Database, recorder: EventRecorder) -> None:
    append(database, stored_event("a", 1), stored_event("a", 2))
    with pytest.raises(IntegrityError, match="appended first"):
        append(database, stored_event("a", 2, topic="job.finished"))
    assert [stored.topic for stored in recorder.select_events("a")] == ["job.sealed"] * 2


def test_a_version_without_predecessor_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError, match="job a has no version 2"):
        append(database, stored_event("a", 3))


@pytest.mark.parametrize("batch", [1, 3])
def test_each_event_is_chained_to_the_one_before(database: Database, batch: int) -> None:
    stored = [stored_event(job, version) for version in range(1, 7) for job in ("a", "b")]
    for first in range(0, len(stored), batch):
        append(database, *stored[first : first + batch])
    assert _broken_links(database) == []


def _broken_links(database: Database) -> list[tuple[str, int]]:
    """Computed here once more, so that the stored form cannot change unnoticed."""
    order = select(events).order_by(events.c.job_id, events.c.version)
    rows = database.read_now(lambda connection: connection.execute(order).all())
    last: dict[str, bytes] = {}
    broken = []
    for row in rows:
        previous = last.get(row.job_id, bytes(32))
        number, version = str(row.id).encode(), str(row.version).encode()
        texts = [part.encode() for part in (row.alias, row.tenant, row.actor, row.command_id)]
        digest = hashlib.sha256()
        for part in (previous, number, version, row.job_id.encode(), *texts, row.state):
            digest.update(struct.pack(">Q", len(part)) + part)
        if (row.previous_hash, row.hash) != (previous, digest.digest()):
            broken.append((row.job_id, row.version))
        last[row.job_id] = row.hash
    return broken


@pytest.mark.parametrize(
    ("span", "versions"),
    [
        ({}, [1, 2, 3, 4]),
        ({"gt": 2}, [3, 4]),
        ({"lte": 2}, [1, 2]),
        ({"gt": 1, "lte": 3}, [2, 3]),
        ({"desc": True}, [4, 3, 2, 1]),
        ({"desc": True, "limit": 1}, [4]),
        ({"desc": True, "limit": 1, "lte": 3}, [3]),
        ({"limit": 2}, [1, 2]),
    ],
)
def test_a_span_of_versions(
    database: Database, recorder: EventRecorder, span: dict[str, int], versions: list[int]
) -> None:
    append(database, *(stored_event("a", version) for version in range(1, 5)))
    assert [stored.originator_version for stored in recorder.select_events("a", **span)] == versions


def test_notifications_come_in_the_order_of_their_ids(
    database: Database, recorder: EventRecorder
) -> None:
    ids = append(database, stored_event("a", 1), stored_event("b", 1, topic="job.opened"))
    ids = [*ids, *append(database, stored_event("a", 2))]
    found = recorder.select_notifications(None, 10)
    assert [(n.id, n.originator_id, n.originator_version) for n in found] == [
        (ids[0], "a", 1),
        (ids[1], "b", 1),
        (ids[2], "a", 2),
    ]
    assert recorder.max_notification_id() == ids[2]


def test_a_span_of_notifications(database: Database, recorder: EventRecorder) -> None:
    ids = append(database, *(stored_event("a", n, topic=f"job.{n % 2}") for n in range(1, 6)))

    def positions(found: Sequence[object]) -> list[int]:
        return [ids.index(notification.id) for notification in found]  # type: ignore[attr-defined]

    select_from = recorder.select_notifications
    assert positions(select_from(ids[1], 10)) == [1, 2, 3, 4]
    assert positions(select_from(ids[1], 10, inclusive_of_start=False)) == [2, 3, 4]
    assert positions(select_from(ids[1], 10, ids[3])) == [1, 2, 3]
    assert positions(select_from(ids[1], 2)) == [1, 2]
    assert positions(select_from(None, 10, topics=["job.0"])) == [1, 3]


def test_a_subscription_is_refused_with_what_to_use(recorder: EventRecorder) -> None:
    with pytest.raises(TypeError, match="select_notifications"):
        recorder.subscribe(gt=1)


def test_a_recording_tells_the_head_of_its_job(database: Database, jobs: Jobs) -> None:
    one, other = submitted("job-1"), submitted("job-2")
    work(one)
    recordings = database.write_now(
        lambda connection: [
            *jobs.save(one, connection=connection),
            *jobs.save(other, connection=connection),
        ]
    )
    rows = database.read_now(lambda connection: connection.execute(select(events)).all())
    last = {row.job_id: (row.job_id, row.version, row.id, row.hash) for row in rows}
    assert EventRecorder.heads_of(recordings) == list(last.values())
    assert last["job-1"][1] == 3


def test_jobs_are_saved_and_loaded_at_any_version(database: Database, jobs: Jobs) -> None:
    job = submitted("job-1", items=500)
    states = {}
    while work(job):
        pass
    expected = job.model_dump()
    database.write_now(lambda connection: jobs.save(job, connection=connection))
    assert jobs.load("job-1").model_dump() == expected
    for version in range(1, job.version + 1):
        states[version] = jobs.load("job-1", version=version)
        assert states[version].version == version
        assert states[version].counts.total == 500
    with pytest.raises(JobNotFound, match="no version"):
        jobs.load("job-1", version=job.version + 1)
    with pytest.raises(JobNotFound, match="no job"):
        jobs.load("job-2")


def test_a_snapshot_shortens_the_replay_and_changes_nothing(database: Database, jobs: Jobs) -> None:
    job = submitted("job-1", items=3000)
    kept = []
    while work(job):
        database.write_now(lambda connection: jobs.save(job, connection=connection))
        jobs.take_job_snapshot(job)
        jobs.take_job_snapshot(job)
        kept = [*kept, job.version][-2:]
    versions = database.read_now(
        lambda connection: (
            connection.execute(select(snapshots.c.version).order_by(snapshots.c.version))
            .scalars()
            .all()
        )
    )
    assert versions == kept
    assert jobs.load("job-1").model_dump() == job.model_dump()
    database.write_now(lambda connection: connection.execute(snapshots.delete()))
    assert jobs.load("job-1").model_dump() == job.model_dump()


@pytest.mark.parametrize(
    ("upto", "versions"),
    [(None, [4, 5, 6]), (6, [4, 5, 6]), (4, [4]), (3, [2, 3]), (2, [2]), (1, [1])],
)
def test_the_latest_of_a_job_is_its_snapshot_and_the_events_after_it(
    database: Database, recorder: EventRecorder, upto: int | None, versions: list[int]
) -> None:
    append(database, *[stored_event(job, version) for job in "ab" for version in range(1, 7)])
    kept = SnapshotRecorder(database)
    kept.insert_events([StoredEvent("a", version, "job.snapshot", b"{}") for version in (2, 4)])
    kept.insert_events([StoredEvent("b", 5, "job.snapshot", b"{}")])
    found = recorder.select_latest("a", lte=upto)
    assert [(stored.originator_id, stored.originator_version) for stored in found] == [
        ("a", version) for version in versions
    ]
    snapshot = {2, 4} & {versions[0]}
    assert {stored.originator_version for stored in found if stored.topic == "job.snapshot"} == (
        snapshot
    )


def test_without_a_snapshot_the_latest_of_a_job_are_all_its_events(
    database: Database, recorder: EventRecorder
) -> None:
    append(database, stored_event("a", 1), stored_event("b", 1), stored_event("a", 2))
    assert recorder.select_latest("a") == recorder.select_events("a")
    assert recorder.select_latest("c") == []


@pytest.mark.parametrize(
    "state", [b"{", b"[]", b"null", b'{"schema": 1}', b'{"schema": 9999}', b'{"state": {"id": 1}}']
)
def test_a_snapshot_that_cannot_be_read_is_passed_over(
    database: Database, jobs: Jobs, state: bytes
) -> None:
    job = submitted("job-1")
    while work(job):
        pass
    database.write_now(lambda connection: jobs.save(job, connection=connection))
    before = [jobs.load("job-1", version=version) for version in (1, 2, 3)]
    SnapshotRecorder(database).insert_events([StoredEvent("job-1", 2, "job.snapshot", state)])
    assert jobs.load("job-1").model_dump() == job.model_dump()
    assert [jobs.load("job-1", version=version) for version in (1, 2, 3)] == before
    assert jobs.load_with_events("job-1", 100) == (job, [])


def test_a_job_is_loaded_with_its_events_when_they_are_few(database: Database, jobs: Jobs) -> None:
    job = submitted("job-1")
    work(job)
    recordings = database.write_now(lambda connection: jobs.save(job, connection=connection))
    events = [recording.domain_event for recording in recordings]
    assert len(events) == 3
    assert jobs.load_with_events("job-1", 3) == (job, events)
    assert jobs.load_with_events("job-1", 2) == (job, [])
    jobs.take_job_snapshot(job)
    assert jobs.load_with_events("job-1", 3) == (job, [])
    with pytest.raises(JobNotFound, match="no job"):
        jobs.load_with_events("job-2", 3)


def test_an_older_snapshot_does_not_push_out_newer_ones(database: Database) -> None:
    recorder = SnapshotRecorder(database)
    for version in (20, 30, 10):
        recorder.insert_events([StoredEvent("a", version, "job.snapshot", b"{}")])
    assert [s.originator_version for s in recorder.select_events("a")] == [20, 30]


def test_a_reader_misses_nothing_that_four_writers_commit(
    database: Database, recorder: EventRecorder
) -> None:
    """Ids must become visible in their order, or a reader passes one that comes later."""
    each, writers = 25, 4
    seen: list[int] = []
    written: list[int] = []
    done = threading.Event()

    def write(number: int) -> list[int]:
        return [
            identity
            for version in range(1, each * 2, 2)
            for identity in append(
                database,
                stored_event(f"job-{number}", version),
                stored_event(f"job-{number}", version + 1),
            )
        ]

    def read() -> None:
        while not done.is_set():
            last = seen[-1] if seen else 0
            seen.extend(n.id for n in recorder.select_notifications(last + 1, 100))

    with ThreadPoolExecutor(writers + 1) as pool:
        reading = pool.submit(read)
        writing = [pool.submit(write, number) for number in range(writers)]
        try:
            written = [identity for future in writing for identity in future.result(60)]
        finally:
            done.set()
        reading.result(60)
    last = seen[-1] if seen else 0
    seen.extend(n.id for n in recorder.select_notifications(last + 1, 1000))
    assert len(written) == each * writers * 2
    assert seen == sorted(written)
    assert _broken_links(database) == []


@pytest.mark.service("postgresql")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_gives_no_id_while_a_smaller_one_is_not_committed(
    database: Database, recorder: EventRecorder
) -> None:
    with database.engine.begin() as slow:
        recorder.insert_events([stored_event("a", 1)], connection=slow)
        with database.engine.connect() as fast:
            fast.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                recorder.insert_events([stored_event("b", 1)], connection=fast)
    append(database, stored_event("b", 1))


@pytest.mark.service("postgresql")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_notifies_after_the_commit(database: Database) -> None:
    url = database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        ids = append(database, stored_event("a", 1), stored_event("a", 2))
        (notice,) = listener.notifies(timeout=5, stop_after=1)
    assert (notice.channel, notice.payload) == (CHANNEL, f"{ids[-1]} a 2")


def test_the_recorder_adds_little_to_what_sqlite_needs(sqlite_database: Database) -> None:
    recorder = EventRecorder(sqlite_database)

    def write(connection: Connection) -> float:
        with processor_time() as taken:
            for version in range(1, 1001):
                recorder.insert_events([stored_event("a", version)], connection=connection)
        return taken.seconds * 1000

    assert sqlite_database.write_now(write) < 500, "microseconds an event; usually about 50"
