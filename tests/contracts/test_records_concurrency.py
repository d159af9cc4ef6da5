"""Writers at the same time, on PostgreSQL; SQLite has one writer at a time by design."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.errors import RecordRefused, StoreUnavailable
from domain.records import Change, Written
from streams.stores.database import Database
from streams.stores.records import SqlRecords, record_table_id
from tests.contracts import records as given
from tests.contracts.records import add, contents, gadget, gadgets, job, versions, writing

WAIT = 20.0


@pytest.fixture
def stored(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres) as database:
        database.write_now(given.metadata.create_all)
        yield database


def at_once(*works: Callable[[], object]) -> list[object]:
    """The results of works that run at the same time."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
        return [future.result(timeout=WAIT) for future in futures]


def test_an_insert_does_not_wait_for_another_that_is_not_committed(stored: Database) -> None:
    with writing(stored) as records:
        add(records, [gadget(0)])
    with stored.engine.connect() as slow, stored.engine.begin() as quick:
        quick.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        first = add(SqlRecords(slow, job(1), given.NOW), [gadget(n) for n in range(1, 4)])
        second = add(SqlRecords(quick, job(2), given.NOW), [gadget(n) for n in range(4, 9)])
        slow.rollback()
    assert not set(first) & set(second)
    assert set(second) < set(contents(stored))
    assert not set(first) & set(contents(stored))


def test_blocks_of_ids_are_consecutive_whoever_asks(stored: Database) -> None:
    barrier = threading.Barrier(4)

    def insert(number: int) -> list[range]:
        barrier.wait(WAIT)
        blocks = []
        for turn in range(5):
            rows = [gadget(0, name=f"{number}-{turn}-{n}") for n in range(50)]
            with writing(stored, job(number * 10 + turn)) as records:
                blocks.append(add(records, rows))
        return blocks

    def by_hand() -> list[range]:
        barrier.wait(WAIT)
        for n in range(100):
            row = {"version": 1, "tenant": "local", "name": f"hand-{n}"}
            with stored.engine.begin() as connection:
                connection.execute(gadgets.insert(), [row])
        return []

    blocks = [
        block
        for found in at_once(*[lambda n=n: insert(n) for n in range(3)], by_hand)
        for block in found  # type: ignore[attr-defined]
    ]
    taken = [key for block in blocks for key in block]
    assert len(blocks) == 15
    assert all(len(block) == 50 for block in blocks)
    assert len(set(taken)) == 750
    assert len(contents(stored)) == 850


def test_writers_that_meet_in_opposite_order_do_not_lock_each_other_out(
    stored: Database,
) -> None:
    with writing(stored) as records:
        ids = list(add(records, [gadget(n) for n in range(40)]))
    barrier = threading.Barrier(2)

    def change(order: list[int], chunk: int) -> list[object]:
        barrier.wait(WAIT)
        results: list[object] = []
        for _ in range(10):
            with writing(stored, job(chunk)) as records:
                results += records.update(gadgets, [Change(key, {"order": chunk}) for key in order])
        return results

    found = at_once(lambda: change(ids, 1), lambda: change(ids[::-1], 2))
    assert all(isinstance(each, Written) for results in found for each in results)  # type: ignore[attr-defined]
    assert set(versions(stored).values()) == {21}


def test_a_record_that_another_holds_is_waited_for_no_longer_than_the_timeout(
    stored: Database,
) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0)])
    with stored.engine.connect() as holder:
        SqlRecords(holder, job(1), given.NOW).update(gadgets, [Change(key, {"order": 1})])

        def blocked() -> object:
            def work(connection: object) -> object:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")  # type: ignore[attr-defined]
                records = SqlRecords(connection, job(2), given.NOW)  # type: ignore[arg-type]
                return records.update(gadgets, [Change(key, {"order": 2})])

            return stored.write_now(work)

        with pytest.raises(StoreUnavailable, match="lock"):
            blocked()
        holder.rollback()
    assert versions(stored) == {key: 1}


def test_two_processes_use_a_table_for_the_first_time_at_once(stored: Database) -> None:
    barrier = threading.Barrier(3)

    def register() -> int:
        barrier.wait(WAIT)
        with stored.engine.begin() as connection:
            return record_table_id(connection, "fresh")

    assert len(set(at_once(register, register, register))) == 1


def test_text_that_postgresql_cannot_hold_is_refused(stored: Database) -> None:
    with writing(stored) as records:
        with pytest.raises(RecordRefused):
            add(records, [gadget(0), gadget(1, notes="a\0b")])
        add(records, [gadget(2)])
    assert len(contents(stored)) == 1
