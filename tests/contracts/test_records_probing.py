"""The records port: questions about many rows, and records read as a stream."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from sqlalchemy import event

from domain.records import Lookup, Probe, Writer
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.contracts import records as given
from tests.contracts.records import add, gadget, gadgets, writing

MANY = 200

_named = Probe(gadgets, (str,), lambda row, table: [table.name == row.v0], lambda table: table.id)
_weight_above = Probe(
    gadgets,
    (int, str),
    lambda row, table: [table.weight > row.v0, table.name != row.v1],
    lambda table: table.name,
)


_heavier = Lookup(
    gadgets,
    (int, str),
    lambda row, table: [table.weight > row.v0, table.name != row.v1],
    limit=3,
)


@pytest.fixture
def stored(database: Database) -> Database:
    """A database that has the tables of these tests."""
    database.write_now(given.metadata.create_all)
    return database


def test_each_row_has_the_answer_of_one_record_or_none(stored: Database) -> None:
    rows = [gadget(number) for number in range(4)]
    with writing(stored) as records:
        ids = add(records, rows)
    names = [row["name"] for row in rows]
    with writing(stored) as records:
        asked = [(names[2],), ('it\'s "none" ünd 🐍',), (names[0],), (names[2],)]
        assert records.probe(_named, asked) == {0: ids[2], 2: ids[0], 3: ids[2]}
        assert records.probe(_named, asked, without=[ids[2]]) == {2: ids[0]}
        assert records.probe(_named, []) == {}


def test_a_value_may_be_any_integer(stored: Database) -> None:
    with writing(stored) as records:
        add(records, [gadget(1) | {"weight": 5.5}])
        name = gadget(1)["name"]
        asked = [(5, ""), (6, ""), (5, name), (-(2**63), ""), (2**63 - 1, "")]
        assert records.probe(_weight_above, asked) == {0: name, 3: name}


def test_a_declared_question_has_all_records_that_it_is_about(stored: Database) -> None:
    rows = [gadget(number) | {"weight": float(number)} for number in range(4)]
    with writing(stored) as records:
        ids = add(records, rows)
    with writing(stored) as records:
        found = records.look_up(_heavier, 0, rows[2]["name"])
        assert [row["id"] for row in found] == [ids[1], ids[3]]
        assert {key: found[0][key] for key in ("version", "name", "weight")} == {
            "version": 1,
            "name": rows[1]["name"],
            "weight": 1.0,
        }
        assert len(records.look_up(_heavier, -1, "")) == _heavier.limit
        assert records.look_up(_heavier, 99, "") == []
    with stored.engine.begin() as connection:
        stranger = SqlRecords(connection, Writer("other", "eve", "job-9"), given.NOW)
        assert stranger.look_up(_heavier, -1, "") == []


def test_the_first_item_of_a_job_with_a_mark_stays_the_first(stored: Database) -> None:
    with writing(stored) as records:
        assert records.first_of({"a": 3, "b": 1, "ünd 🐍": 2}) == {"a": 3, "b": 1, "ünd 🐍": 2}
        assert records.first_of({"a": 4, "c": 5}) == {"a": 3, "c": 5}
        assert records.first_of({}) == {}
    with writing(stored) as records:
        assert records.first_of({"a": 0, "b": 1}) == {"a": 3, "b": 1}
    with stored.engine.begin() as connection:
        stranger = SqlRecords(connection, Writer("other", "eve", "job-9"), given.NOW)
        assert stranger.first_of({"a": 7}) == {"a": 7}


def test_a_mark_stays_when_a_later_item_of_a_rehearsal_raises(stored: Database) -> None:
    with writing(stored) as records, records.rehearsal():
        assert records.first_of({"a": 3}) == {"a": 3}
        with contextlib.suppress(ZeroDivisionError), records.savepoint():
            raise ZeroDivisionError
        assert records.first_of({"a": 4}) == {"a": 3}


def test_records_of_others_answer_nothing(stored: Database) -> None:
    with writing(stored) as records:
        add(records, [gadget(1)])
    with stored.engine.begin() as connection:
        stranger = SqlRecords(connection, Writer("other", "eve", "job-9"), given.NOW)
        assert stranger.probe(_named, [(gadget(1)["name"],)]) == {}
        assert list(stranger.each(gadgets, range(1, MANY))) == []


@pytest.mark.parametrize("count", [3, MANY])
def test_records_come_as_a_stream_by_one_query(stored: Database, count: int) -> None:
    rows = [gadget(number) for number in range(count)]
    with writing(stored) as records:
        ids = add(records, rows)
    said: list[str] = []
    with writing(stored) as records:

        @event.listens_for(stored.engine, "before_cursor_execute")
        def note(_connection, _cursor, statement, *_rest) -> None:  # type: ignore[no-untyped-def] # SQLAlchemy's
            said.append(statement)

        wanted = [*ids, ids[-1] + 1, ids[0]]
        found = {row["id"]: row["name"] for row in records.each(gadgets, wanted, ["name"])}
        event.remove(stored.engine, "before_cursor_execute", note)
    assert found == {key: row["name"] for key, row in zip(ids, rows, strict=True)}
    assert len(said) <= 1


def test_who_has_seen_enough_of_a_stream_may_go_on(stored: Database) -> None:
    with writing(stored) as records:
        ids = add(records, [gadget(number) for number in range(MANY)])
    with writing(stored) as records:
        first = list(itertools.islice(records.each(gadgets, ids, ["name"]), 2))
        assert len(first) == 2
        assert len(records.fetch(gadgets, ids)) == MANY
