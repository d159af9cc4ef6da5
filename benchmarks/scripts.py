"""What people write instead: one loop over a file of items, in a process of its own.

``python -m benchmarks.scripts 100 URL ITEMS`` commits every 100 items; ``bulk`` builds all
rows and loads them in one transaction. Prints seconds, CPU seconds and peak memory as JSON.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from sqlalchemy.engine import URL, make_url

from benchmarks import material, measure
from benchmarks.material import COLUMNS, Rules
from domain.execution import invalid_item
from domain.outcomes import Failed
from domain.systems.annotations.rules import Labels
from streams.stores.database import CACHE_KIB, LOG_PAGES

Row = tuple[Any, ...]
ANNOTATION = ("id", "version", "tenant", *COLUMNS)
RESULT = ("position", "status", "record_id", "code", "message", "pointer")
RESULTS = (
    "CREATE TABLE results (position INTEGER PRIMARY KEY, status TEXT NOT NULL, "
    "record_id BIGINT, code TEXT, message TEXT, pointer TEXT)"
)


class Store(Protocol):
    """One connection to either database."""

    def read(self, sql: str) -> Sequence[Row]: ...

    def ask(self, sql: str, *values: Any) -> Row | None:
        """The first row; ``?`` marks a value."""
        ...

    def insert(self, table: str, columns: Sequence[str], row: Row) -> None: ...

    def insert_all(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...


class Sqlite:
    """SQLite with the pragmas of our own engine: WAL, synchronous=FULL, foreign keys, its log."""

    def __init__(self, url: URL) -> None:
        self._connection = sqlite3.connect(str(url.database), isolation_level="IMMEDIATE")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={LOG_PAGES}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")

    def read(self, sql: str) -> Sequence[Row]:
        return self._connection.execute(sql).fetchall()

    def ask(self, sql: str, *values: Any) -> Row | None:
        found: Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def insert(self, table: str, columns: Sequence[str], row: Row) -> None:
        self._connection.execute(_insert(table, columns, "?"), row)

    def insert_all(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._connection.executemany(_insert(table, columns, "?"), rows)

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class Postgres:
    """PostgreSQL by psycopg, which prepares a statement that comes often; COPY for all at once."""

    def __init__(self, url: URL) -> None:
        import psycopg

        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = psycopg.connect(address)

    def read(self, sql: str) -> Sequence[Row]:
        return self._connection.execute(sql).fetchall()

    def ask(self, sql: str, *values: Any) -> Row | None:
        found: Row | None = self._connection.execute(sql.replace("?", "%s"), values).fetchone()
        return found

    def insert(self, table: str, columns: Sequence[str], row: Row) -> None:
        self._connection.execute(_insert(table, columns, "%s"), row)

    def insert_all(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


_SQL: dict[tuple[str, str], str] = {}


def _insert(table: str, columns: Sequence[str], mark: str) -> str:
    sql = _SQL.get((table, mark))
    if sql is None:
        marks = ", ".join([mark] * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        _SQL[table, mark] = sql
    return sql


def connect(url: str) -> Store:
    """A connection to the database of the round."""
    address = make_url(url)
    return Sqlite(address) if address.get_backend_name() == "sqlite" else Postgres(address)


def load_rules(store: Store) -> Rules:
    """Texts and labels, loaded once."""
    texts = store.read(f"SELECT id, content FROM texts WHERE project_id = {material.PROJECT}")
    labels = store.read(f"SELECT id, name FROM labels WHERE project_id = {material.PROJECT}")
    return Rules(
        texts=dict(texts),
        labels=Labels(
            project_id=material.PROJECT,
            ids=frozenset(key for key, _ in labels),
            by_name={name: key for key, name in labels},
        ),
    )


def judged(
    rules: Rules, lines: Iterable[bytes | str], first: int = 0
) -> Iterator[tuple[Row | None, Row]]:
    """The annotation's row, or None, and the row of the result, for each item."""
    ids = count(first + 1)
    for position, line in enumerate(lines, start=first):
        try:
            row = rules.row(line)
        except ValidationError as error:
            row = invalid_item(error)
        if isinstance(row, Failed):
            yield None, (position, "failed", None, row.code, row.message, row.pointer)
        else:
            key = next(ids)
            yield (
                (key, 1, material.TENANT, *row),
                (position, "succeeded", key, None, None, None),
            )


def one_by_one(store: Store, items: Path, commit_every: int) -> None:
    """Insert each item and its result; commit now and then."""
    rules = load_rules(store)
    for done, (row, result) in enumerate(judged(rules, material.lines(items)), start=1):
        insert(store, row, result)
        if done % commit_every == 0:
            store.commit()
    store.commit()


def insert(store: Store, row: Row | None, result: Row) -> None:
    """One item: its annotation, unless it is wrong, and its result."""
    if row is not None:
        store.insert("annotations", ANNOTATION, row)
    store.insert("results", RESULT, result)


def in_bulk(store: Store, items: Path) -> None:
    """All rows first, then one statement a table, in one transaction."""
    insert_all(store, list(judged(load_rules(store), material.lines(items))))
    store.commit()


def insert_all(store: Store, made: Sequence[tuple[Row | None, Row]]) -> None:
    """Many items by one statement a table."""
    store.insert_all("annotations", ANNOTATION, [row for row, _ in made if row is not None])
    store.insert_all("results", RESULT, [result for _, result in made])


def way(name: str) -> Callable[[Store, Path], None]:
    """The loop of that name: ``bulk``, or how many items make a commit."""
    if name == "bulk":
        return in_bulk
    commit_every = int(name)
    return lambda store, items: one_by_one(store, items, commit_every)


def main(name: str, url: str, items: str) -> None:
    """Run one script; see the module's docstring."""
    with closing(connect(url)) as store:
        before = measure.take([os.getpid()])
        way(name)(store, Path(items))
        print(json.dumps(asdict(measure.take([os.getpid()]) - before)))


if __name__ == "__main__":
    main(*sys.argv[1:])
