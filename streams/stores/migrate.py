"""Migrate: bring a database to this release's schema, by Alembic and nothing else.

Called by ``countermand db`` and at every start. One transaction, one at a time: a second
process waits (BEGIN IMMEDIATE on SQLite, an advisory lock on PostgreSQL) and then finds
the work done. Alembic itself is imported only when there is something to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, String, Table, column, inspect, select, table, text
from sqlalchemy.schema import sort_tables

from domain.errors import DataDirectoryUnusable
from streams.stores import declared, migrations
from streams.stores.database import Database, StoreForbidden

VERSION_TABLE = "alembic_version"

_LOCK = 0x636F756E746572
_WAIT_SECONDS = 60


def head() -> str:
    """The revision that this release needs."""
    return migrations.REVISIONS[-1]


def current(database: Database) -> str | None:
    """The revision of the database; None when it has no tables of ours yet."""
    return database.read_now(_current)


def check(database: Database) -> None:
    """Raise DataDirectoryUnusable unless the database has exactly this release's schema."""
    revision = current(database)
    if revision is None:
        raise DataDirectoryUnusable("the database has no tables yet; run `countermand db upgrade`")
    _refuse_newer(revision)
    if revision != head():
        raise DataDirectoryUnusable(
            f"the database has schema {revision}, this release needs {head()}; "
            "run `countermand db upgrade`"
        )


def upgrade(database: Database) -> str:
    """Create or change what is missing; returns the revision, raises as ``check`` for newer.

    Raises DataDirectoryUnusable, as ``create_missing``, where whoever signs in may not do it.
    """
    if current(database) != head():
        with _by_the_owner():
            database.write_now(_upgrade)
    return head()


def create_missing(database: Database, tables: Sequence[Table]) -> None:
    """Create those of a plug-in's tables that are not there, one process at a time.

    Raises PluginInvalid, and makes none, where one that is there is not as declared.
    """
    missing = database.read_now(lambda connection: declared.missing(connection, tables))
    if missing:
        with _by_the_owner():
            database.write_now(lambda connection: _create(connection, missing))


@contextmanager
def _by_the_owner() -> Iterator[None]:
    """Say whose work it is, to a role that may only run the engine."""
    try:
        yield
    except StoreForbidden as error:
        raise DataDirectoryUnusable(
            "tables are missing or older than this release, and who signs in here may not make "
            "them; run `countermand db upgrade` as their owner, then `countermand db permit`"
        ) from error


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    statement = select(column("version_num", String())).select_from(table(VERSION_TABLE))
    return connection.scalar(statement)


def _refuse_newer(revision: str) -> None:
    if revision not in migrations.REVISIONS:
        raise DataDirectoryUnusable(
            f"data directory is of a newer version (schema {revision}, this release knows up to "
            f"{head()}); upgrade countermand"
        )


def _upgrade(connection: Connection) -> None:
    _wait_for_turn(connection)
    revision = _current(connection)
    if revision is not None:
        _refuse_newer(revision)
    if revision != head():
        _run(connection)


def _create(connection: Connection, tables: Sequence[Table]) -> None:
    _wait_for_turn(connection)
    for wanted in sort_tables(tables):
        wanted.create(connection, checkfirst=True)


def _wait_for_turn(connection: Connection) -> None:
    """On SQLite the transaction itself is the turn: it began as the only writer."""
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'"))
    # An index of a large table takes as long as it takes.
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    # A percent sign would begin an interpolation of ConfigParser's.
    folder = str(Path(migrations.__file__).parent).replace("%", "%%")
    config.set_main_option("script_location", folder)
    command.upgrade(config, "head")
