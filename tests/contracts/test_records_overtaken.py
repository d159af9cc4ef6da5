"""A record that was read and then changed by another transaction, on PostgreSQL."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from domain.errors import RecordsOvertaken, StoreUnavailable
from domain.records import Change, Deletion, Missing, Stale, Writer, Written
from streams.stores.database import Database
from streams.stores.records import Contention, Crowds, SqlRecords, Together
from tests.contracts import records as given
from tests.contracts.records import add, gadget, gadgets, hand, job, shelves, writing

WAIT = 60.0
T = TypeVar("T")


class GaveUp(Exception):
    """Raised by a scope that wants to be undone."""


@pytest.fixture
def stored(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres) as database:
        database.write_now(given.metadata.create_all)
        yield database


@pytest.fixture
def key(stored: Database) -> int:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0, order=0)])
    return key


def in_turns(
    stored: Database,
    writer: Writer,
    work: Callable[[SqlRecords], T],
    contention: Contention | None = None,
) -> T:
    """Work as a worker does it: run again when it was overtaken, and then in its turn."""
    contention = contention or Contention()

    def once(connection: Connection) -> T:
        contention.begin()
        together = Together(connection, contention=contention)
        done = work(SqlRecords(connection, writer, given.NOW, together))
        together.flush()
        return done

    return stored.write_now(once)


def order_of(records: SqlRecords, key: int) -> int:
    """As a handler reads it that wants no other column."""
    return int(records.fetch(gadgets, [key], ["order"])[key]["order"])


def set_order(records: SqlRecords, key: int, order: int) -> Any:
    return records.update(gadgets, [Change(key, {"order": order})])[0]


def by_another(stored: Database, key: int, order: int) -> None:
    with writing(stored, hand()) as records:
        set_order(records, key, order)


def test_what_was_made_of_an_older_version_is_made_again(stored: Database, key: int) -> None:
    seen: list[int] = []

    def add_one(records: SqlRecords) -> Any:
        seen.append(order_of(records, key))
        if len(seen) == 1:
            by_another(stored, key, 10)
        return set_order(records, key, seen[-1] + 1)

    assert in_turns(stored, job(), add_one) == Written(3)
    assert seen == [0, 10]
    with writing(stored) as records:
        assert order_of(records, key) == 11


def test_what_was_found_counts_as_read(stored: Database, key: int) -> None:
    with writing(stored) as records:
        records.find(gadgets, gadgets.c.name == "gadget 0", columns=["order"])
        by_another(stored, key, 10)
        with pytest.raises(RecordsOvertaken, match=f"gadgets/{key}"):
            set_order(records, key, 1)


def test_what_was_read_twice_must_be_the_same(stored: Database, key: int) -> None:
    with writing(stored) as records:
        order_of(records, key)
        by_another(stored, key, 10)
        with pytest.raises(RecordsOvertaken):
            records.fetch(gadgets, [key])


def test_a_record_that_went_after_it_was_read_is_read_again(stored: Database, key: int) -> None:
    tries: list[bool] = []

    def change(records: SqlRecords) -> Any:
        tries.append(key in records.fetch(gadgets, [key]))
        if len(tries) == 1:
            with writing(stored, hand()) as others:
                others.delete(gadgets, [Deletion(key)])
        return set_order(records, key, 1)

    assert in_turns(stored, job(), change) == Missing()
    assert tries == [True, False]


def test_who_does_not_read_overtakes_nobody(stored: Database, key: int) -> None:
    with writing(stored) as records:
        by_another(stored, key, 10)
        assert set_order(records, key, 1) == Written(3)


def test_a_version_that_the_caller_names_is_told_to_be_stale(stored: Database, key: int) -> None:
    by_another(stored, key, 10)
    with writing(stored) as records:
        order_of(records, key)
        (result,) = records.update(gadgets, [Change(key, {"order": 1}, version=1)])
    assert result == Stale(2)


def test_own_writes_do_not_count(stored: Database, key: int) -> None:
    with writing(stored) as records:
        for turn in range(3):
            assert set_order(records, key, order_of(records, key) + 1) == Written(turn + 2)
        (fresh,) = add(records, [gadget(1)])
        order_of(records, fresh)
        assert set_order(records, fresh, 5) == Written(2)
        assert records.delete(gadgets, [Deletion(key)]) == [Written(5)]
        assert set_order(records, key, 1) == Missing()


def test_own_writes_that_were_taken_back_do_not_count(stored: Database, key: int) -> None:
    with writing(stored) as records:
        with contextlib.suppress(GaveUp), records.savepoint():
            set_order(records, key, 1)
            order_of(records, key)
            (fresh,) = add(records, [gadget(1)])
            order_of(records, fresh)
            records.delete(gadgets, [Deletion(key)])
            raise GaveUp
        assert set_order(records, fresh, 1) == Missing()
        assert order_of(records, key) == 0
        assert set_order(records, key, 3) == Written(2)


def test_what_was_read_before_a_scope_was_undone_stays_read(stored: Database, key: int) -> None:
    with writing(stored) as records:
        with contextlib.suppress(GaveUp), records.savepoint():
            set_order(records, key, order_of(records, key) + 1)
            raise GaveUp
        by_another(stored, key, 10)
        with pytest.raises(RecordsOvertaken):
            set_order(records, key, 1)


def test_a_handler_cannot_hide_it(stored: Database, key: int) -> None:
    tries: list[int] = []

    def hiding(records: SqlRecords) -> None:
        tries.append(order_of(records, key))
        if len(tries) == 1:
            by_another(stored, key, 10)
        with contextlib.suppress(Exception):
            set_order(records, key, tries[-1] + 1)

    in_turns(stored, job(), hiding)
    assert tries == [0, 10]
    with writing(stored) as records:
        assert order_of(records, key) == 11


def test_records_that_others_only_refer_to_are_no_obstacle(stored: Database) -> None:
    """Read under lock, a shelf can still be referred to."""
    with writing(stored) as records:
        (shelf,) = add(records, [{"name": "top"}], shelves)
    contention = Contention()
    contention.tables.add("shelves")
    with stored.engine.begin() as connection:
        together = Together(connection, contention=contention)
        SqlRecords(connection, job(1), given.NOW, together).fetch(shelves, [shelf])
        with writing(stored, job(2)) as others:
            others._connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            assert len(add(others, [gadget(1, shelf_id=shelf)])) == 1


@pytest.mark.parametrize("per_item", [True, False])
def test_of_many_at_once_nothing_is_lost(stored: Database, per_item: bool) -> None:
    """Each adds one to some of ten records, in an order of its own."""
    with writing(stored) as records:
        keys = list(add(records, [gadget(n, order=0) for n in range(10)]))
    barrier = threading.Barrier(4)

    def several(seed: int) -> list[int]:
        dice, crowds = random.Random(seed), Crowds()
        done: list[int] = []
        barrier.wait(WAIT)
        for turn in range(15):
            chosen = dice.sample(keys, 4)
            writer = job(turn, job_id=f"job-{seed}")
            once_only(stored, crowds, writer, add_to(chosen, per_item=per_item))
            done += chosen
        return done

    with ThreadPoolExecutor(4) as pool:
        done = [key for found in pool.map(several, range(4)) for key in found]
    assert len(done) == 4 * 15 * 4
    with writing(stored) as records:
        assert {key: order_of(records, key) for key in keys} == {
            key: done.count(key) for key in keys
        }


def once_only(
    stored: Database, crowds: Crowds, writer: Writer, work: Callable[[SqlRecords], None]
) -> None:
    """As a worker, which is given what was too much for it once more."""
    for _ in range(10):
        contention = crowds.expected("add")
        try:
            return in_turns(stored, writer, work, contention)
        except StoreUnavailable:
            continue
        finally:
            crowds.learn("add", contention)
    raise AssertionError("it was never its turn")


def add_to(chosen: list[int], *, per_item: bool) -> Callable[[SqlRecords], None]:
    def work(records: SqlRecords) -> None:
        groups = [[key] for key in chosen] if per_item else [chosen]
        for group in groups:
            with records.savepoint():
                found = records.fetch(gadgets, group, ["order"])
                changes = [Change(key, {"order": found[key]["order"] + 1}) for key in group]
                records.update(gadgets, changes)

    return work
