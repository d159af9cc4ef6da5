"""Plug-ins: the installed operations, and the database brought up to what they need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from domain.errors import PluginInvalid
from domain.operation import Operation
from domain.records import RecordTable
from domain.registry import Registry
from streams.stores import migrate, sealing
from streams.stores.database import Database
from streams.stores.records.shape import shape_of
from streams.stores.schemas import OURS

ENTRY_POINTS = "countermand.operations"

_RESERVED = "sqlite_"
"""How the names of SQLite's own tables begin; it makes no other that does."""


def installed_operations() -> Registry:
    """All operations of the installed packages; raises PluginInvalid for a wrong one."""
    registry = Registry()
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            loaded: Operation | Iterable[Operation] = entry.load()
            registry.register([loaded] if isinstance(loaded, Operation) else loaded)
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            reason = error.message if isinstance(error, PluginInvalid) else repr(error)
            raise PluginInvalid(
                f"the plug-in {entry.name} ({entry.value}) cannot be used: {reason}; mend or "
                "uninstall its package"
            ) from error
    return registry


def prepare(database: Database, registry: Registry) -> None:
    """Have the database as a process needs it; raises as ``migrated``.

    Raises DataDirectoryUnusable as well when what was sent is sealed and cannot be opened.
    """
    migrated(database, registry)
    database.read_now(sealing.require_openable)


def migrated(database: Database, registry: Registry) -> None:
    """Bring the database to this release's schema, plug-ins' tables included.

    Raises PluginInvalid for a table that cannot hold records or has the name of another, before
    anything is made, and for one that is not as declared. Reads nothing that was sent, so that it
    needs no key of it.
    """
    tables = [shape_of(table, database.engine.dialect).table for table in _declared(registry)]
    migrate.upgrade(database)
    migrate.create_missing(database, tables)


def _declared(registry: Registry) -> list[RecordTable]:
    """The tables of all operations; raises PluginInvalid for two, or one of ours, of one name.

    Names that differ by case alone are one name to SQLite.
    """
    found: dict[str, tuple[RecordTable, str]] = {}
    ours = _ours()
    for operation in registry:
        for table in operation.tables:
            name = table.name.lower()
            if ours.get(name, table) is not table or name.startswith(_RESERVED):
                raise PluginInvalid(
                    f"{operation.kind} declares a table {table.name}, and the engine or its "
                    "database has one of that name; give it another name"
                )
            first, kind = found.setdefault(name, (table, operation.kind))
            if first is not table:
                raise PluginInvalid(
                    f"{kind} and {operation.kind} declare two tables {table.name}; give one of "
                    "them another name, or have both declare the same Table"
                )
    return [table for table, _ in found.values()]


def _ours() -> dict[str, RecordTable | None]:
    """The engine's own tables and those of its systems, by name."""
    tables = {table.name: table for metadata in OURS for table in metadata.tables.values()}
    return {migrate.VERSION_TABLE: None, **tables}
