from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streams.cli.demo_checks import Check, Checks
from streams.cli.demo_records import read_records


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "with space.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("""
            CREATE TABLE record_tables (name TEXT);
            INSERT INTO record_tables VALUES ('notes');
            CREATE TABLE notes (id INTEGER, version INTEGER, tenant TEXT, said TEXT,
                                updated_by TEXT);
            INSERT INTO notes VALUES (1, 1, 'local', 'a', NULL), (2, 1, 'local', 'b', NULL);
            CREATE TABLE others (id INTEGER, said TEXT);
            INSERT INTO others VALUES (1, 'x');
        """)
    return path


def _change(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
        connection.commit()


def test_only_tables_of_records_are_read(database: Path) -> None:
    assert set(read_records(database).rows) == {("notes", 1), ("notes", 2)}


def test_a_new_version_of_the_same_says_the_same(database: Path) -> None:
    before = read_records(database).digest()
    _change(database, "UPDATE notes SET version = 3, updated_by = 'ann'")

    assert read_records(database).digest() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE notes SET said = 'c' WHERE id = 2",
        "UPDATE notes SET tenant = 'x' WHERE id = 2",
        "UPDATE notes SET said = NULL WHERE id = 2",
        "UPDATE notes SET id = 3 WHERE id = 2",
        "DELETE FROM notes WHERE id = 2",
        "INSERT INTO notes VALUES (3, 1, 'local', 'b', NULL)",
    ],
)
def test_any_other_change_shows(database: Path, statement: str) -> None:
    before = read_records(database)
    _change(database, statement)

    assert read_records(database).digest() != before.digest()


def test_named_records_can_be_left_out_and_picked(database: Path) -> None:
    before = read_records(database)
    _change(database, "UPDATE notes SET said = 'c' WHERE id = 2")
    after = read_records(database)

    assert after.without({("notes", 2)}).digest() == before.without({("notes", 2)}).digest()
    assert after.only({("notes", 2)}).digest() != before.only({("notes", 2)}).digest()


def test_the_file_is_only_read(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        read_records(tmp_path / "absent.db")
    assert not (tmp_path / "absent.db").exists()


class TestChecks:
    def test_a_claim_that_does_not_hold_is_told_and_kept(self) -> None:
        told: list[Check] = []
        checks = Checks(told.append)

        assert checks.equal("two and two", 4, 4)
        assert not checks.equal("items", 9000, 10_000)

        assert told == checks.made
        assert (checks.made[1].found, checks.made[1].expected) == ("9,000", "10,000")
        assert not checks.all_held

    def test_no_claims_prove_nothing(self) -> None:
        assert not Checks(lambda _check: None).all_held
