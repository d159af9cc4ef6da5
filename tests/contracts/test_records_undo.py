"""Undo: what comes back, what is left alone, and who is named for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from domain.outcomes import Conflicted, Failed, Restored
from domain.records import Change, Deletion, Writer
from domain.reversal import PLAIN, Terms
from streams.stores.database import Database
from streams.stores.records import (
    Ahead,
    Foresight,
    Restoration,
    SqlRecords,
    record_history,
    restore,
)
from tests.contracts import records as given
from tests.contracts.records import (
    add,
    contents,
    gadget,
    gadgets,
    hand,
    job,
    metadata,
    shelves,
    versions,
    writing,
)


@pytest.fixture
def stored(database: Database) -> Database:
    """A database that has the tables of these tests."""
    database.write_now(metadata.create_all)
    return database


def ten(database: Database) -> list[int]:
    """Ten gadgets that somebody made before any job."""
    with writing(database, hand("maker")) as records:
        return list(add(records, [gadget(number) for number in range(10)]))


def undo(
    database: Database,
    images: bytes | None,
    target: Writer,
    *,
    chunk: int = 100,
    terms: Terms = PLAIN,
) -> Restoration:
    """Undo a chunk in the next generation of its job, which does what was foreseen."""
    assert images is not None
    writer = job(chunk, generation=target.generation + 1, job_id=target.job_id)
    foresight = Foresight(metadata.tables, writer.tenant, terms)
    foreseen = database.read_now(
        lambda connection: foresight.foresee(connection, images, target, range(100))
    )
    database.write_now(lambda connection: given.planned(connection, writer, target))
    restoration = database.write_now(
        lambda connection: restore(
            Ahead(connection, metadata.tables, writer.tenant),
            images,
            writer,
            given.NOW + 1,
            target=target,
            terms=terms,
        )
    )
    assert foreseen == restoration.results
    return restoration


def update(database: Database, writer: Writer, changes: Sequence[Change]) -> bytes | None:
    with writing(database, writer) as records:
        records.update(gadgets, changes)
        return records.encoded_images()


def each(ids: Sequence[int], **values: object) -> list[Change]:
    """The same change to each record, item by item."""
    return [Change(key, values, position=position) for position, key in enumerate(ids)]


def test_updates_are_put_back_as_new_versions(stored: Database) -> None:
    ids = ten(stored)
    before = contents(stored)
    images = update(stored, job(), each(ids, name="same", order=1)[:1])
    images = update(stored, job(1), each(ids[1:], order=2, photo=None, seen_at=None, price=9.5))
    undone = undo(stored, images, job(1))
    assert undone.results == dict.fromkeys(range(9), Restored())
    after = contents(stored)
    assert {key: after[key] for key in ids[1:]} == {key: before[key] for key in ids[1:]}
    assert versions(stored) == {ids[0]: 2} | dict.fromkeys(ids[1:], 3)
    with stored.engine.connect() as connection:
        last = record_history(connection, gadgets, ids[5])[-1]
    assert (last.version, last.writer, last.at) == (3, job(100, generation=1), given.NOW + 1)


def test_inserts_are_deleted_and_deletes_inserted(stored: Database) -> None:
    ids = ten(stored)
    before = contents(stored)
    with writing(stored) as records:
        made = add(records, [gadget(20), gadget(21)])
        records.delete(gadgets, [Deletion(key, position=2 + key) for key in ids[3:6]])
        images = records.encoded_images()
    done = contents(stored)
    undone = undo(stored, images, job())
    assert set(undone.results.values()) == {Restored()}
    assert contents(stored) == before
    assert [versions(stored)[key] for key in ids[3:6]] == [3, 3, 3]
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == undone.results
    assert contents(stored) == done
    assert [versions(stored)[key] for key in made] == [3, 3]
    with stored.engine.connect() as connection:
        history = record_history(connection, gadgets, ids[3])
    assert [(entry.version, entry.deleted) for entry in history] == [
        (1, False),
        (2, True),
        (3, False),
        (4, True),
    ]


def test_later_changes_are_conflicts_that_name_who(stored: Database) -> None:
    ids = ten(stored)
    images = update(stored, job(), each(ids, order=1))
    update(stored, hand("anna"), [Change(ids[0], {"notes": "mine"})])
    update(stored, job(job_id="job-2"), [Change(ids[1], {"notes": "ours"})])
    with writing(stored, hand("bert")) as records:
        records.delete(gadgets, [Deletion(ids[2])])
    left = contents(stored)
    undone = undo(stored, images, job())
    assert undone.results == dict.fromkeys(range(3, 10), Restored()) | {
        0: Conflicted(f"gadgets/{ids[0]}", "anna", "changed after the job, at version 3"),
        1: Conflicted(f"gadgets/{ids[1]}", "job-2", "changed after the job, at version 3"),
        2: Conflicted(f"gadgets/{ids[2]}", "bert", "deleted after the job, at version 3"),
    }
    after = contents(stored)
    assert {key: after[key] for key in ids[:2]} == {key: left[key] for key in ids[:2]}
    assert ids[2] not in after
    assert {after[key]["order"] for key in ids[3:]} == {7}


def test_an_item_is_put_back_whole_or_not_at_all(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, [Change(ids[0], {"order": 1}, position=5)])
        records.update(gadgets, [Change(ids[1], {"order": 1}, position=5)])
        records.update(gadgets, [Change(ids[1], {"order": 2}, position=6)])
        records.update(gadgets, [Change(ids[2], {"order": 2}, position=6)])
        records.update(gadgets, [Change(ids[3], {"order": 3}, position=7)])
        images = records.encoded_images()
    update(stored, hand("anna"), [Change(ids[2], {"notes": "mine"})])
    left = contents(stored)
    undone = undo(stored, images, job())
    conflict = Conflicted(f"gadgets/{ids[2]}", "anna", "changed after the job, at version 3")
    assert undone.results == {5: conflict, 6: conflict, 7: Restored()}
    assert contents(stored) == left | {ids[3]: left[ids[3]] | {"order": 7}}


def test_two_items_on_one_record_are_no_conflict(stored: Database) -> None:
    ids = ten(stored)
    before = contents(stored)
    images = update(
        stored,
        job(),
        [
            Change(ids[0], {"order": 1, "notes": "a"}, position=0),
            Change(ids[0], {"order": 2}, position=1),
            Change(ids[0], {"name": "other"}, position=2),
        ],
    )
    done = contents(stored)
    undone = undo(stored, images, job())
    assert undone.results == dict.fromkeys(range(3), Restored())
    assert contents(stored) == before
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == undone.results
    assert contents(stored) == done


def test_chunks_of_one_job_are_undone_last_first(stored: Database) -> None:
    ids = ten(stored)
    before = contents(stored)
    first = update(stored, job(0), each(ids, order=1))
    second = update(stored, job(1), each(ids[:3], order=2))
    done = contents(stored)
    early = undo(stored, first, job(0), chunk=90)
    why = "changed by chunk 1 of the same job, at version 3"
    assert early.results[0] == Conflicted(f"gadgets/{ids[0]}", "job-1", why)
    assert early.results[3] == Restored()
    undo(stored, early.images, job(90, generation=1), chunk=91)
    late = undo(stored, second, job(1), chunk=100)
    assert set(late.results.values()) == {Restored()}
    rest = undo(stored, first, job(0), chunk=101)
    assert rest.results[0] == Restored()
    assert {key: contents(stored)[key] for key in ids[:3]} == {key: before[key] for key in ids[:3]}
    for images, chunk in ((rest.images, 101), (late.images, 100)):
        undo(stored, images, job(chunk, generation=1), chunk=chunk + 100)
    assert contents(stored) == done


def test_a_change_between_two_chunks_of_the_job_is_not_lost(stored: Database) -> None:
    (key, *_) = ten(stored)
    first = update(stored, job(0), [Change(key, {"order": 1}, position=0)])
    update(stored, hand("anna"), [Change(key, {"notes": "mine"})])
    second = update(stored, job(1), [Change(key, {"order": 2}, position=1)])
    assert undo(stored, second, job(1)).results == {1: Restored()}
    found = undo(stored, first, job(0), chunk=101).results[0]
    assert found == Conflicted(f"gadgets/{key}", "anna", "changed after the job, at version 3")
    assert contents(stored)[key]["notes"] == "mine"


def test_what_a_job_made_and_removed_itself_needs_no_undo(stored: Database) -> None:
    with writing(stored) as records:
        (key,) = records.insert(gadgets, ["name"], [("a",)], [4])
        records.delete(gadgets, [Deletion(key, position=4)])
        images = records.encoded_images()
    undone = undo(stored, images, job())
    assert undone.results == {4: Restored()}
    assert contents(stored) == {}
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == {4: Restored()}
    with stored.engine.connect() as connection:
        assert len(record_history(connection, gadgets, key)) == 2


def test_references_are_respected_in_either_direction(stored: Database) -> None:
    with writing(stored, hand("maker")) as records:
        (old,) = records.insert(shelves, ["name"], [("old",)], [0])
        add(records, [gadget(0, shelf_id=old)])
    before = contents(stored), contents(stored, shelves)
    with writing(stored) as records:
        (new,) = records.insert(shelves, ["name"], [("new",)], [0])
        (child,) = records.insert(gadgets, ["name", "shelf_id"], [("child", new)], [1])
        (other,) = [row["id"] for row in records.find(gadgets, gadgets.c.shelf_id == old)]
        records.update(gadgets, [Change(other, {"shelf_id": new}, position=2)])
        records.delete(shelves, [Deletion(old, position=3)])
        images = records.encoded_images()
    done = contents(stored), contents(stored, shelves)
    assert child in done[0]
    undone = undo(stored, images, job())
    assert undone.results == dict.fromkeys(range(4), Restored())
    assert (contents(stored), contents(stored, shelves)) == before
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == undone.results
    assert (contents(stored), contents(stored, shelves)) == done


def test_a_unique_value_that_is_taken_since_is_a_conflict(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        changes = [Change(key, {"name": f"new {key}"}, position=key) for key in ids[:5]]
        records.update(gadgets, changes)
        records.delete(gadgets, [Deletion(ids[5], position=50)])
        images = records.encoded_images()
    with writing(stored, hand("anna")) as records:
        taken = [gadget(3), gadget(5)]
        add(records, taken)
    undone = undo(stored, images, job())
    for position, key in ((ids[3], ids[3]), (50, ids[5])):
        found = undone.results[position]
        assert isinstance(found, Conflicted)
        assert (found.record, found.by) == (f"gadgets/{key}", "anna")
        assert "gadgets_name" in found.reason
    assert sum(isinstance(found, Restored) for found in undone.results.values()) == 4
    names = {row["name"] for row in contents(stored).values()}
    assert {"gadget 0", "gadget 1", "gadget 2", "gadget 4", f"new {ids[3]}"} <= names
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert len(again.results) == 4


def test_what_a_failed_attempt_put_back_leaves_no_trace(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, [Change(ids[0], {"name": "new"}, position=0)])
        records.delete(gadgets, [Deletion(ids[1], position=0), Deletion(ids[2], position=1)])
        images = records.encoded_images()
    with writing(stored, hand("anna")) as records:
        add(records, [gadget(0)])
    done = contents(stored)
    undone = undo(stored, images, job())
    assert isinstance(undone.results[0], Conflicted)
    assert undone.results[1] == Restored()
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == {1: Restored()}
    assert contents(stored) == done
    with stored.engine.connect() as connection:
        stories = [record_history(connection, gadgets, key) for key in ids[:3]]
    made, job_wrote = hand("maker"), job()
    undo_wrote, redo_wrote = job(100, generation=1), job(101, generation=2)
    assert [[entry.writer for entry in story] for story in stories] == [
        [made, job_wrote],
        [made, job_wrote],
        [made, job_wrote, undo_wrote, redo_wrote],
    ]


def test_the_records_of_one_item_are_put_back_last_first(stored: Database) -> None:
    with writing(stored) as records:
        (shelf,) = records.insert(shelves, ["name"], [("a",)], [0])
        records.insert(gadgets, ["name", "shelf_id"], [("child", shelf)], [0])
        images = records.encoded_images()
    done = contents(stored), contents(stored, shelves)
    undone = undo(stored, images, job())
    assert undone.results == {0: Restored()}
    assert (contents(stored), contents(stored, shelves)) == ({}, {})
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert again.results == {0: Restored()}
    assert (contents(stored), contents(stored, shelves)) == done


def test_an_item_is_not_in_its_own_way(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, [Change(ids[5], {"name": "new"}, position=0)])
        records.delete(gadgets, [Deletion(ids[0], position=0)])
        records.insert(gadgets, ["name"], [("gadget 0",)], [0])
        images = records.encoded_images()
    with writing(stored, hand("anna")) as records:
        (taken,) = add(records, [gadget(5)])
    found = undo(stored, images, job()).results[0]
    why = f"constraint gadgets_name: gadgets/{taken} has the same values"
    assert found == Conflicted(f"gadgets/{ids[5]}", "anna", why)


def test_a_reference_that_is_gone_or_used_since_is_a_conflict(stored: Database) -> None:
    with writing(stored, hand("maker")) as records:
        a, b = records.insert(shelves, ["name"], [("a",), ("b",)], [0, 1])
        (key,) = add(records, [gadget(0, shelf_id=a)])
    with writing(stored) as records:
        records.update(gadgets, [Change(key, {"shelf_id": b}, position=0)])
        (made,) = records.insert(shelves, ["name"], [("made",)], [1])
        images = records.encoded_images()
    with writing(stored, hand("bert")) as records:
        records.delete(shelves, [Deletion(a)])
        add(records, [gadget(1, shelf_id=made)])
    undone = undo(stored, images, job())
    for position, record in ((0, f"gadgets/{key}"), (1, f"shelves/{made}")):
        found = undone.results[position]
        assert isinstance(found, Conflicted)
        assert (found.record, found.by) == (record, "bert")
        assert "gadgets_shelf" in found.reason
    assert undone.images is None


def test_a_write_past_the_port_is_a_conflict_without_a_name(stored: Database) -> None:
    ids = ten(stored)
    images = update(stored, job(), each(ids, order=1))
    with stored.engine.begin() as connection:
        connection.execute(gadgets.delete().where(gadgets.c.id == ids[0]))
        bump = gadgets.update().where(gadgets.c.id == ids[1]).values(version=9)
        connection.execute(bump)
    undone = undo(stored, images, job())
    for position in (0, 1):
        found = undone.results[position]
        assert found == Conflicted(
            f"gadgets/{ids[position]}", "", "changed outside of the records port"
        )
    assert undone.results[2] == Restored()


def test_a_table_that_no_operation_declares_any_more_fails(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, each(ids, order=1))
        records.insert(shelves, ["name"], [("a",)], [99])
        images = records.encoded_images()
    assert images is not None
    undone = stored.write_now(
        lambda connection: restore(
            Ahead(connection, {"shelves": shelves}, given.TENANT),
            images,
            job(5, generation=1),
            given.NOW,
            target=job(),
        )
    )
    assert isinstance(undone.results[0], Failed)
    assert undone.results[99] == Restored()


def test_another_tenants_records_cannot_be_undone(stored: Database) -> None:
    ids = ten(stored)
    images = update(stored, job(), each(ids, order=1))
    assert images is not None
    before = contents(stored)
    undone = stored.write_now(
        lambda connection: restore(
            Ahead(connection, metadata.tables, "other"),
            images,
            Writer("other", "eve", "job-1", 1, 9),
            given.NOW,
            target=job(),
        )
    )
    assert not any(isinstance(found, Restored) for found in undone.results.values())
    assert contents(stored) == before


def test_values_that_only_the_database_knows_come_back(stored: Database) -> None:
    """Infinities and, where the database keeps it, the negative zero."""
    ids = ten(stored)
    cast = "CAST('{}' AS {})"
    real = "double precision"
    with stored.engine.begin() as connection:
        for key, value in zip(ids, ("Infinity", "-Infinity", "-0"), strict=False):
            text = (
                {"Infinity": "9e999", "-Infinity": "-9e999", "-0": "-0.0"}[value]
                if stored.is_sqlite
                else cast.format(value, real)
            )
            connection.exec_driver_sql(f"UPDATE gadgets SET weight = {text} WHERE id = {key}")
    before = {key: repr(row["weight"]) for key, row in contents(stored).items()}
    assert [before[key] for key in ids[:2]] == ["inf", "-inf"]
    images = update(stored, job(), each(ids, weight=0.0, photo=b"", notes=""))
    undo(stored, images, job())
    assert {key: repr(row["weight"]) for key, row in contents(stored).items()} == before


def test_a_table_that_has_lost_and_gained_columns_since(stored: Database) -> None:
    """What an image lacks keeps its value or gets its default; what the table lacks is left."""
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, each(ids[:2], name="x", order=1, photo=None)[:1])
        records.delete(gadgets, [Deletion(ids[2], position=9)])
        images = records.encoded_images()
    before = contents(stored)
    names = ("photo", "id", "version", "order", "tenant", "sold", "extra")
    columns = [
        Column("extra", Integer, server_default="5") if name == "extra" else gadgets.c[name]._copy()
        for name in names
    ]
    columns.append(gadgets.c["name"]._copy())
    today = Table("gadgets", MetaData(), *columns)
    with stored.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gadgets ADD COLUMN extra integer DEFAULT 5")
    assert images is not None
    undone = stored.write_now(
        lambda connection: restore(
            Ahead(connection, {"gadgets": today}, given.TENANT),
            images,
            job(9, generation=1),
            given.NOW,
            target=job(),
        )
    )
    assert set(undone.results.values()) == {Restored()}
    after = contents(stored)
    made = gadget(0)
    assert after[ids[0]] == before[ids[0]] | {"name": "gadget 0", "order": 7} | {
        "photo": made["photo"]
    }
    assert (after[ids[2]]["name"], after[ids[2]]["notes"]) == ("gadget 2", None)
    with stored.engine.connect() as connection:
        extra = connection.exec_driver_sql("SELECT DISTINCT extra FROM gadgets").scalars().all()
    assert extra == [5]


def test_a_savepoint_that_failed_is_not_undone(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, [Change(ids[0], {"order": 1}, position=0)])
        with pytest.raises(ZeroDivisionError):
            _failing(records, ids)
        records.update(gadgets, [Change(ids[1], {"order": 1}, position=1)])
        images = records.encoded_images()
    undone = undo(stored, images, job())
    assert undone.results == {0: Restored(), 1: Restored()}
    assert {row["order"] for row in contents(stored).values()} == {7}


def _failing(records: SqlRecords, ids: Sequence[int]) -> None:
    with records.savepoint():
        records.update(gadgets, each(ids, order=3))
        raise ZeroDivisionError


FORCE = Terms(force=True)


def test_force_overwrites_later_writes_and_keeps_them_for_an_undo_of_it(stored: Database) -> None:
    ids = ten(stored)
    before = contents(stored)
    with writing(stored) as records:
        records.update(gadgets, each(ids[:4], order=1))
        (made,) = records.insert(gadgets, ["name"], [("made",)], [4])
        images = records.encoded_images()
    with writing(stored, job(7, job_id="job-2")) as records:
        records.update(gadgets, [Change(ids[0], {"notes": "theirs"}), Change(made, {"order": 5})])
    with writing(stored, hand("anna")) as records:
        records.delete(gadgets, [Deletion(ids[1])])
    with stored.engine.begin() as connection:
        connection.execute(gadgets.update().where(gadgets.c.id == ids[2]).values(version=40))
        connection.execute(gadgets.delete().where(gadgets.c.id == ids[3]))
    theirs = contents(stored)
    undone = undo(stored, images, job(), terms=FORCE)
    assert set(undone.results.values()) == {Restored()}
    assert contents(stored) == before
    assert versions(stored)[ids[2]] == 41
    again = undo(stored, undone.images, job(100, generation=1), chunk=101)
    assert set(again.results.values()) == {Restored()}
    assert contents(stored) == theirs


def test_force_does_not_go_through_a_constraint(stored: Database) -> None:
    ids = ten(stored)
    with writing(stored) as records:
        records.update(gadgets, each(ids[:1], name="renamed"))
        images = records.encoded_images()
    with writing(stored, hand("anna")) as records:
        records.update(gadgets, [Change(ids[0], {"order": 3})])
        (taken,) = add(records, [gadget(0)])
    done = contents(stored)
    why = f"constraint gadgets_name: gadgets/{taken} has the same values"
    undone = undo(stored, images, job(), terms=FORCE)
    assert undone.results == {0: Conflicted(f"gadgets/{ids[0]}", "anna", why)}
    assert contents(stored) == done


def test_force_leaves_what_another_tenant_has_written(stored: Database) -> None:
    """The record has another owner since, past the port: nothing of it is ours to overwrite."""
    ids = ten(stored)
    images = update(stored, job(), each(ids[:1], order=1))
    with stored.engine.begin() as connection:
        theirs = gadgets.update().where(gadgets.c.id == ids[0]).values(tenant="other")
        connection.execute(theirs)
    with writing(stored, hand("eve", tenant="other")) as records:
        records.update(gadgets, [Change(ids[0], {"order": 3})])
    done = contents(stored)
    undone = undo(stored, images, job(), terms=FORCE)
    found = undone.results[0]
    assert isinstance(found, Conflicted)
    assert found.by == "eve"
    assert contents(stored) == done
