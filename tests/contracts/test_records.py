"""The records port: what a write does, and what it never does."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from domain.errors import PluginInvalid, RecordRefused
from domain.records import Change, Deletion, Missing, Stale, Writer, Written
from streams.stores.database import Database
from streams.stores.records import SqlRecords, record_history, record_table_id
from tests.contracts import records as given
from tests.contracts.records import add, contents, gadget, gadgets, shelves, versions, writing


@pytest.fixture
def stored(database: Database) -> Database:
    """A database that has the tables of these tests."""
    database.write_now(given.metadata.create_all)
    return database


def test_an_insert_returns_ids_in_a_row_and_starts_at_version_1(stored: Database) -> None:
    rows = [gadget(number) for number in range(5)]
    with writing(stored) as records:
        first = add(records, rows)
        second = add(records, [gadget(7)])
    assert list(second) == [first[-1] + 1]
    found = contents(stored)
    assert list(found) == [*first, *second]
    for key, row in zip(first, rows, strict=True):
        assert {name: found[key][name] for name in row} == row
        assert (found[key]["tenant"], found[key]["order"]) == ("local", 7)
        assert found[key]["sold"] is False
    assert set(versions(stored).values()) == {1}


@pytest.mark.parametrize("count", [1, 4, 21, 83, 90, 91, 700])
def test_each_of_many_rows_is_inserted_once_and_in_order(stored: Database, count: int) -> None:
    with writing(stored) as records:
        ids = add(records, [gadget(number) for number in range(count)])
    names = [row["name"] for _, row in sorted(contents(stored).items())]
    assert len(ids) == count
    assert names == [f"gadget {number}" for number in range(count)]


def test_an_empty_insert_is_nothing(stored: Database) -> None:
    with writing(stored) as records:
        assert records.insert(gadgets, ["name"], [], []) == range(0)
        assert records.encoded_images() is None


def test_ids_are_never_given_again(stored: Database) -> None:
    with writing(stored) as records:
        ids = add(records, [gadget(number) for number in range(3)])
    with writing(stored) as records:
        records.delete(gadgets, [Deletion(key) for key in ids])
    with writing(stored) as records:
        assert add(records, [gadget(9)])[0] == ids[-1] + 1


def test_rows_inserted_without_the_port_are_not_in_the_way(stored: Database) -> None:
    with writing(stored) as records:
        add(records, [gadget(0)])
    with stored.engine.begin() as connection:
        values = {"version": 1, "tenant": "local", "name": "by hand"}
        connection.execute(gadgets.insert(), [values])
    with writing(stored) as records:
        add(records, [gadget(1), gadget(2)])
    assert len(contents(stored)) == 4


def test_each_write_is_in_the_history(stored: Database) -> None:
    with writing(stored) as records:
        (key, other) = add(records, [gadget(0), gadget(1)])
    with writing(stored, given.hand()) as records:
        records.update(gadgets, [Change(key, {"name": "new"})])
        records.delete(gadgets, [Deletion(key)])
    with stored.engine.connect() as connection:
        entries = record_history(connection, gadgets, key)
        assert len(record_history(connection, gadgets, other)) == 1
    assert [(e.version, e.writer.name, e.deleted, e.at) for e in entries] == [
        (1, "job-1", False, given.NOW),
        (2, "anna", False, given.NOW),
        (3, "anna", True, given.NOW),
    ]
    assert entries[0].writer == given.job()


def test_a_writer_is_noted_once(stored: Database) -> None:
    with stored.engine.begin() as connection:
        records = SqlRecords(connection, given.job(), given.NOW)
        for number in range(3):
            add(records, [gadget(number)])
        count = connection.exec_driver_sql("SELECT count(*) FROM writers").scalar_one()
    assert count == 1


def test_a_single_edit_by_hand(stored: Database) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0)])
    anna = Writer(tenant="local", actor="anna")
    results = stored.write_now(
        lambda connection: SqlRecords(connection, anna, given.NOW).update(
            gadgets, [Change(key, {"name": "by hand"}, version=1)]
        )
    )
    assert results == [Written(2)]
    assert contents(stored)[key]["name"] == "by hand"


def test_an_update_changes_what_it_names_and_nothing_else(stored: Database) -> None:
    with writing(stored) as records:
        a, b, c = add(records, [gadget(number) for number in range(3)])
    before = contents(stored)
    with writing(stored) as records:
        results = records.update(
            gadgets,
            [
                Change(c, {"order": 1, "photo": b"\x00"}),
                Change(a, {"name": "first", "price": None}),
                Change(b, {}),
            ],
        )
    assert results == [Written(2)] * 3
    after = contents(stored)
    assert after[a] == before[a] | {"name": "first", "price": None}
    assert after[b] == before[b]
    assert after[c] == before[c] | {"order": 1, "photo": b"\x00"}
    assert set(versions(stored).values()) == {2}


def test_the_version_asked_for_must_be_the_present_one(stored: Database) -> None:
    with writing(stored) as records:
        a, b, c = add(records, [gadget(number) for number in range(3)])
        records.update(gadgets, [Change(a, {"order": 1}), Change(b, {"order": 1})])
    before = contents(stored)
    with writing(stored) as records:
        results = records.update(
            gadgets,
            [Change(a, {"order": 2}, 1), Change(b, {"order": 2}, 2), Change(c, {"order": 2}, 9)],
        )
        assert results == [Stale(2), Written(3), Stale(1)]
        assert records.delete(gadgets, [Deletion(a, 1), Deletion(b, 3)]) == [Stale(2), Written(4)]
    assert contents(stored) == {key: row for key, row in before.items() if key != b}


def test_one_record_twice_in_a_call_works_in_order(stored: Database) -> None:
    with writing(stored) as records:
        a, b = add(records, [gadget(0), gadget(1)])
        results = records.update(
            gadgets,
            [
                Change(a, {"name": "one"}, 1),
                Change(b, {"name": "other"}),
                Change(a, {"order": 5}, 2),
                Change(a, {"name": "three"}, 2),
                Change(a, {"name": "four"}, 3),
            ],
        )
        assert results == [Written(2), Written(2), Written(3), Stale(3), Written(4)]
        deleted = records.delete(gadgets, [Deletion(b), Deletion(b), Deletion(a, 4)])
        assert deleted == [Written(3), Missing(), Written(5)]
        assert records.update(gadgets, [Change(a, {"order": 1})]) == [Missing()]
    with stored.engine.connect() as connection:
        history = record_history(connection, gadgets, a)
    assert [(entry.version, entry.deleted) for entry in history] == [
        (1, False),
        (2, False),
        (3, False),
        (4, False),
        (5, True),
    ]


def test_other_tenants_records_are_hidden(stored: Database) -> None:
    with writing(stored, given.hand("eve", tenant="other")) as records:
        (key,) = add(records, [gadget(0)])
    before = contents(stored)
    with writing(stored) as records:
        assert records.update(gadgets, [Change(key, {"name": "mine"})]) == [Missing()]
        assert records.delete(gadgets, [Deletion(key, 1)]) == [Missing()]
        assert records.fetch(gadgets, [key]) == {}
        assert records.find(gadgets) == []
        assert records.find(gadgets, (gadgets.c.id == key) | (gadgets.c.version > 0)) == []
        assert records.encoded_images() is None
    assert contents(stored) == before


def test_fetch_and_find_give_python_values(stored: Database) -> None:
    rows = [gadget(number) for number in range(4)]
    with writing(stored) as records:
        ids = add(records, rows)
        found = records.fetch(gadgets, [ids[2], ids[0], ids[2], 999])
        assert set(found) == {ids[0], ids[2]}
        assert found[ids[2]] == rows[2] | {
            "id": ids[2],
            "version": 1,
            "tenant": "local",
            "sold": False,
            "order": 7,
        }
        named = records.fetch(gadgets, [ids[1]], ["seen_at", "photo"])
        assert named == {
            ids[1]: {"id": ids[1], "seen_at": rows[1]["seen_at"], "photo": rows[1]["photo"]}
        }
        light = records.find(gadgets, gadgets.c.weight > 0, columns=["name"], limit=2)
        assert light == [{"id": key, "name": f"gadget {key - ids[0]}"} for key in ids[1:3]]
        assert records.fetch(gadgets, []) == {}


@pytest.mark.parametrize("weight", [math.inf, -math.inf, 1e308, 5e-324, 0.1])
def test_floats_are_kept_to_the_last_bit(stored: Database, weight: float) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0, weight=weight)])
        records.update(gadgets, [Change(key, {"weight": weight})])
    assert repr(contents(stored)[key]["weight"]) == repr(weight)


def test_a_decimal_may_go_into_a_column_of_floats(stored: Database) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0, weight=Decimal("1.5"), price=Decimal("2.25"))])
    row = contents(stored)[key]
    assert (row["weight"], row["price"]) == (1.5, 2.25)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"name": "taken"}, "name"),
        ({"name": None}, "name"),
        ({"shelf_id": 4711}, ""),
        ({"weight": -13.0}, "gadgets_weight"),
    ],
)
def test_a_write_that_breaks_a_constraint_does_nothing(
    stored: Database, values: dict[str, object], constraint: str
) -> None:
    with writing(stored) as records:
        (key, *_) = add(records, [gadget(0), gadget(1, name="taken")])
    before = contents(stored)
    with writing(stored) as records:
        rows = [gadget(5), gadget(6, **values), gadget(7)]
        with pytest.raises(RecordRefused, match="gadgets") as refused:
            add(records, rows)
        assert constraint in refused.value.constraint or stored.is_sqlite is False
        with pytest.raises(RecordRefused):
            records.update(gadgets, [Change(key, {"order": 1}), Change(key, values)])
        assert records.encoded_images() is None
        (free,) = add(records, [gadget(8)])
    after = contents(stored)
    del after[free]
    assert after == before
    with stored.engine.connect() as connection:
        assert len(record_history(connection, gadgets, key)) == 1
        assert len(record_history(connection, gadgets, free)) == 1


@pytest.mark.parametrize("place", [0, 100, 199])
def test_one_bad_row_among_many_keeps_them_all_out(stored: Database, place: int) -> None:
    with writing(stored) as records:
        rows = [gadget(number) for number in range(200)]
        rows[place] = gadget(place, shelf_id=4711)
        with pytest.raises(RecordRefused):
            add(records, rows)
        assert records.encoded_images() is None
    assert contents(stored) == {}


def test_a_delete_that_breaks_a_reference_does_nothing(stored: Database) -> None:
    with writing(stored) as records:
        a, b = records.insert(shelves, ["name"], [("a",), ("b",)], [0, 1])
        add(records, [gadget(0, shelf_id=a)])
        with pytest.raises(RecordRefused):
            records.delete(shelves, [Deletion(b), Deletion(a)])
    assert set(contents(stored, shelves)) == {a, b}


def test_a_value_too_long_is_refused_where_the_database_looks(stored: Database) -> None:
    with writing(stored) as records:
        if stored.is_sqlite:
            add(records, [gadget(0, name="x" * 30)])
        else:
            with pytest.raises(RecordRefused):
                add(records, [gadget(0, name="x" * 30)])
        (key,) = add(records, [gadget(1)])
        with pytest.raises((RecordRefused, TypeError)):
            records.update(gadgets, [Change(key, {"notes": object()})])
        with pytest.raises((RecordRefused, TypeError)):
            records.update(gadgets, [Change(key, {"order": 2**70})])
        assert records.update(gadgets, [Change(key, {"order": 2})]) == [Written(2)]


def test_a_savepoint_takes_back_writes_and_images(stored: Database) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0)])
        images = records.encoded_images()
        with pytest.raises(ZeroDivisionError):
            _fail_after_writes(records, key)
        assert records.encoded_images() == images
        with records.savepoint():
            (shelf,) = records.insert(shelves, ["name"], [("b",)], [0])
    assert {row: found["name"] for row, found in contents(stored).items()} == {key: "gadget 0"}
    assert contents(stored, shelves)[shelf]["name"] == "b"
    with stored.engine.connect() as connection:
        assert len(record_history(connection, gadgets, key)) == 1
        assert len(record_history(connection, shelves, shelf)) == 1


def _fail_after_writes(records: SqlRecords, key: int) -> None:
    with records.savepoint():
        add(records, [gadget(1)])
        records.update(gadgets, [Change(key, {"name": "x"})])
        with records.savepoint():
            records.insert(shelves, ["name"], [("a",)], [0])
        records.delete(gadgets, [Deletion(key)])
        raise ZeroDivisionError


def test_a_first_use_that_is_rolled_back_leaves_no_trace(stored: Database) -> None:
    with stored.engine.connect() as connection:
        add(SqlRecords(connection, given.job(), given.NOW), [gadget(0)])
        connection.rollback()
    with writing(stored) as records:
        (key,) = add(records, [gadget(1)])
    with stored.engine.connect() as connection:
        assert [e.version for e in record_history(connection, gadgets, key)] == [1]


def test_a_table_keeps_its_number(stored: Database) -> None:
    with stored.engine.begin() as connection:
        numbers = [record_table_id(connection, name) for name in ("a", "b", "a")]
        connection.commit()
    with stored.engine.begin() as connection:
        assert [record_table_id(connection, "a"), record_table_id(connection, "b")] == numbers[:2]
    assert numbers[0] == numbers[2] != numbers[1]


def test_columns_that_are_the_ports_own_cannot_be_written(stored: Database) -> None:
    with writing(stored) as records:
        (key,) = add(records, [gadget(0)])
        for name in ("id", "version", "tenant", "colour"):
            with pytest.raises(PluginInvalid, match=name):
                records.update(gadgets, [Change(key, {name: 1})])
            with pytest.raises(PluginInvalid, match=name):
                records.insert(gadgets, ["name", name], [("x", 1)], [0])


def test_a_table_that_cannot_take_part_is_named(stored: Database) -> None:
    bare = Table("bare", MetaData(), Column("id", Integer, primary_key=True))
    own = [
        Column("id", Integer, primary_key=True),
        Column("version", Integer),
        Column("tenant", String(9)),
    ]
    computed = Table("computed", MetaData(), *own, Column("made", Integer, default=lambda: 1))
    with writing(stored) as records:
        with pytest.raises(PluginInvalid, match="bare lacks version, tenant"):
            records.find(bare)
        with pytest.raises(PluginInvalid, match="server_default"):
            records.insert(computed, [], [()], [0])


def test_rows_and_positions_go_together(stored: Database) -> None:
    with writing(stored) as records, pytest.raises(ValueError, match="positions"):
        records.insert(gadgets, ["name"], [("a",), ("b",)], [0])
