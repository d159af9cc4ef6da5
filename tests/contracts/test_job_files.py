"""Files of jobs: whole or not there, the tenant's own, and gone with what was sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, text

from domain.records import Writer
from streams.stores import job_files, sealing
from streams.stores.database import Database
from streams.stores.job_files import JobFile
from streams.stores.job_parts import parts_after, remove_old_parts
from streams.stores.records import SqlRecords
from streams.stores.records.parts import JobParts
from streams.stores.schema_files import job_file_pieces, job_parts
from streams.stores.schema_files import job_files as table

WAIT = 20.0
FILE = JobFile("job-1", "rejects", "acme", 1, "rejects.csv", "text/csv", "{}", 100.0)


@pytest.fixture
def store(shared_database: Database) -> Database:
    for each in (job_file_pieces, table):
        shared_database.write_now(lambda connection, each=each: connection.execute(each.delete()))
    return shared_database


def write(connection: Connection, file: JobFile = FILE) -> None:
    job_files.begin(connection, file)
    assert job_files.add(connection, file, 0, [b"a" * 3, b"b"])
    job_files.finish(connection, file, 4, "f" * 64)


def test_a_file_is_there_when_it_is_whole_and_for_its_tenant(store: Database) -> None:
    store.write_now(lambda found: job_files.begin(found, FILE))
    assert store.read_now(lambda found: job_files.find(found, "acme", "job-1", "rejects")) is None
    store.write_now(write)
    whole = replace(FILE, size=4, sha256="f" * 64)
    assert store.read_now(lambda found: job_files.find(found, "acme", "job-1", "rejects")) == whole
    assert store.read_now(lambda found: job_files.find(found, "other", "job-1", "rejects")) is None
    pieces = [
        store.read_now(lambda found, place=place: job_files.piece_of(found, FILE, place))
        for place in range(3)
    ]
    assert pieces == [b"aaa", b"b", None]


def test_what_is_written_again_stays_as_it_is(store: Database) -> None:
    store.write_now(write)
    store.write_now(lambda found: job_files.begin(found, replace(FILE, about='{"n": 2}')))
    assert not store.write_now(lambda found: job_files.add(found, FILE, 1, [b"other", b"more"]))
    store.write_now(lambda found: job_files.finish(found, FILE, 99, "0" * 64))
    kept = store.read_now(lambda found: job_files.find(found, "acme", "job-1", "rejects"))
    assert kept == replace(FILE, size=4, sha256="f" * 64)
    pieces = [store.read_now(partial(job_files.piece_of, file=FILE, number=n)) for n in (1, 2)]
    assert pieces == [b"b", None]


def test_a_piece_that_is_there_stays_until_the_file_is_whole(store: Database) -> None:
    """Whoever goes on with a file that another has begun writes the same once more."""
    store.write_now(lambda found: job_files.begin(found, FILE))
    for data in ([b"a", b"b"], [b"b", b"c"]):
        first = 0 if data[0] == b"a" else 1
        assert store.write_now(partial(job_files.add, file=FILE, first=first, data=data))
    pieces = [store.read_now(partial(job_files.piece_of, file=FILE, number=n)) for n in range(4)]
    assert pieces == [b"a", b"b", b"c", None]


def test_shredding_takes_it_and_nothing_is_added_afterwards(store: Database) -> None:
    store.write_now(write)
    store.write_now(lambda found: write(found, replace(FILE, job_id="job-2")))
    store.write_now(lambda found: sealing.shred(found, "job-1"))
    assert not store.write_now(lambda found: job_files.add(found, FILE, 2, [b"more"]))
    assert store.read_now(lambda found: job_files.piece_of(found, FILE, 0)) is None
    assert store.read_now(lambda found: job_files.find(found, "acme", "job-2", "rejects"))


@pytest.mark.parametrize(
    "remove",
    [
        pytest.param(lambda found: sealing.shred(found, "job-1"), id="shred"),
        pytest.param(lambda found: job_files.remove_old(found, 200.0), id="old"),
    ],
)
def test_what_is_just_being_added_goes_as_well(
    store: Database, remove: Callable[[Connection], object]
) -> None:
    store.write_now(lambda found: job_files.begin(found, FILE))

    def add(connection: Connection) -> Future[object]:
        assert job_files.add(connection, FILE, 0, [b"in the clear"])
        removal = pool.submit(other.write_now, remove)
        _await_waiting(connection, removal)
        return removal

    with Database(store.url) as other, ThreadPoolExecutor(1) as pool:
        store.write_now(add).result(timeout=WAIT)
    for each in (table, job_file_pieces):
        assert store.read_now(lambda c, each=each: c.execute(each.select()).all()) == []


def _await_waiting(connection: Connection, removal: Future[object]) -> None:
    """Until another waits for what this connection holds; it cannot end before."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    end = time.monotonic() + WAIT
    while connection.dialect.name == "postgresql" and not connection.scalar(waiting):
        assert time.monotonic() < end
        assert not removal.done()
        # What the view says is kept for the transaction.
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        time.sleep(0.01)


def test_old_ones_are_removed_some_at_a_time(store: Database) -> None:
    for number in range(5):
        file = replace(FILE, job_id=f"job-{number}", created_at=float(number))
        store.write_now(lambda found, file=file: write(found, file))
    removed = [
        store.write_now(lambda found: job_files.remove_old(found, 4.0, limit=3)) for _ in range(3)
    ]
    assert removed == [3, 1, 0]
    left = store.read_now(lambda found: found.execute(job_file_pieces.select()).all())
    assert {row.job_id for row in left} == {"job-4"}


def test_parts_come_in_the_order_of_their_items_and_go_with_the_file(store: Database) -> None:
    store.write_now(lambda connection: connection.execute(job_parts.delete()))

    def make(connection: Connection) -> None:
        for job, position in (("job-1", 10), ("job-1", 2), ("job-2", 0)):
            records = SqlRecords(connection, Writer("acme", "ada", job), float(position))
            JobParts(records, job).add(position, b"%d" % position)

    store.write_now(make)
    assert store.read_now(lambda c: parts_after(c, "job-1", -1, 9)) == [(2, b"2"), (10, b"10")]
    assert store.read_now(lambda c: parts_after(c, "job-1", 2, 9)) == [(10, b"10")]
    removed = [store.write_now(lambda c: remove_old_parts(c, 10.0, limit=1)) for _ in range(3)]
    assert removed == [1, 1, 0]
    store.write_now(lambda found: sealing.shred(found, "job-1"))
    assert store.read_now(lambda c: parts_after(c, "job-1", -1, 9)) == []


def test_a_part_goes_with_what_its_handler_wrote(store: Database) -> None:
    store.write_now(lambda connection: connection.execute(job_parts.delete()))

    def make(connection: Connection) -> None:
        records = SqlRecords(connection, Writer("acme", "ada", "job-1"), 1.0)
        parts = JobParts(records, "job-1")
        with records.savepoint():
            parts.add(0, b"kept")
            with suppress(ValueError), records.savepoint():
                parts.add(1, b"gone")
                raise ValueError
        with records.rehearsal():
            parts.add(2, b"tried")

    store.write_now(make)
    assert store.read_now(lambda c: parts_after(c, "job-1", -1, 9)) == [(0, b"kept")]
