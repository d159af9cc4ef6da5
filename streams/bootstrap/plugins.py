"""Plug-ins: the installed operations, and the database brought up to what they need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points

from domain.errors import PluginInvalid
from domain.operation import Operation
from domain.registry import Registry
from streams.stores import migrate, sealing
from streams.stores.database import Database
from streams.stores.records.shape import shape_of

ENTRY_POINTS = "countermand.operations"


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

    Raises PluginInvalid for a table that cannot hold records, before anything is made. Reads
    nothing that was sent, so that it needs no key of it.
    """
    declared = {table.name: table for operation in registry for table in operation.tables}
    tables = [shape_of(table, database.engine.dialect).table for table in declared.values()]
    migrate.upgrade(database)
    migrate.create_missing(database, tables)
