"""Demo records: the business columns of every record, read from the database file itself.

Shares no code with the engine: it opens the SQLite file on its own, read-only, so that
what it proves does not rest on what is to be proved.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Key = tuple[str, int]
"""Table and id of a record."""

BOOKKEEPING = frozenset({"version", "created_at", "created_by", "updated_at", "updated_by"})
"""Columns that say who wrote when and how often, not what a record says."""


@dataclass(frozen=True, slots=True)
class Records:
    """All records at one moment: the business columns of each, as canonical JSON."""

    rows: dict[Key, str]

    def without(self, keys: Collection[Key]) -> Records:
        """All records but those."""
        return Records({key: row for key, row in self.rows.items() if key not in keys})

    def only(self, keys: Collection[Key]) -> Records:
        """Those of the records that are there."""
        return Records({key: row for key, row in self.rows.items() if key in keys})

    def ids(self, table: str) -> set[int]:
        """The ids in a table."""
        return {number for name, number in self.rows if name == table}

    def digest(self) -> str:
        """SHA-256 over table, id and business columns of every record, in order."""
        digest = hashlib.sha256()
        for key in sorted(self.rows):
            digest.update(f"{key[0]} {key[1]} {self.rows[key]}\n".encode())
        return digest.hexdigest()


def read_records(database: Path) -> Records:
    """Every record of every table of the database that takes part in undo."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        connection.execute("BEGIN")
        names = [row[0] for row in connection.execute("SELECT name FROM record_tables")]
        rows: dict[Key, str] = {}
        for name in names:
            rows |= _table(connection, name)
        return Records(rows)


def _table(connection: sqlite3.Connection, name: str) -> dict[Key, str]:
    quoted = '"' + name.replace('"', '""') + '"'
    cursor = connection.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - the name is quoted
    columns = [column[0] for column in cursor.description]
    rows: dict[Key, str] = {}
    for values in cursor:
        row: dict[str, Any] = dict(zip(columns, values, strict=True))
        kept = {column: row[column] for column in columns if column not in BOOKKEEPING}
        rows[name, row["id"]] = json.dumps(kept, sort_keys=True, default=repr)
    return rows
