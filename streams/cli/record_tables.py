"""Record tables: the past of a record, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from streams.cli.render import compact, moment, table_of


def history_table(versions: Iterable[Mapping[str, Any]]) -> Table:
    """Versions of a record, a line each, the latest first."""
    table = table_of("version", "at", "by", "what")
    for version in versions:
        what = "deleted" if version["deleted"] else _changes(version["changed"])
        table.add_row(str(version["version"]), moment(version["at"]), _by(version), what)
    return table


def blame_table(record: Mapping[str, Any]) -> Table:
    """The columns of a record with who wrote them."""
    table = table_of("column", "value", "version", "at", "by")
    for name, column in record["columns"].items():
        version = str(column["version"]) if column["certain"] else f"{column['version']} or earlier"
        value = compact(column["value"])
        table.add_row(name, value, version, moment(column["at"]), _by(column))
    return table


def written_line(record: Mapping[str, Any]) -> str:
    """The last write to a record as a sentence."""
    what = "deleted" if record["deleted"] else "last written"
    name = f"{record['table']}/{record['id']}"
    version = f"version {record['version']}"
    return f"{name} is at {version}, {what} {moment(record['at'])} by {_by(record)}"


def _by(write: Mapping[str, Any]) -> str:
    by = write["by"]
    actor: str = by["actor"]
    if by["job_id"] is None:
        return actor
    return f"{actor}, job {by['job_id']} ({by['cause'] or 'chunk'} {by['chunk']})"


def _changes(changed: Mapping[str, Any] | None) -> str:
    if changed is None:
        return "(not known)"
    parts = [
        f"{name}: {compact(one['before'])} -> {compact(one['after'])}"
        for name, one in changed.items()
    ]
    return ", ".join(parts) or "(nothing)"
