"""Record tables: the past of a record, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from streams.cli.output import plain
from streams.cli.render import compact, moment, table_of


def history_table(versions: Iterable[Mapping[str, Any]]) -> Table:
    """Versions of a record, a line each, the latest first."""
    table = table_of("version", "at", "by", "what")
    for version in versions:
        what = "deleted" if version["deleted"] else _changes(version["changed"])
        table.add_row(str(version["version"]), moment(version["at"]), _by(version), Text(what))
    return table


def blame_table(record: Mapping[str, Any]) -> Table:
    """The columns of a record with who wrote them."""
    table = table_of("column", "value", "version", "at", "by")
    for name, column in record["columns"].items():
        version = str(column["version"]) if column["certain"] else f"{column['version']} or earlier"
        value = Text(plain(compact(column["value"])))
        table.add_row(plain(name), value, version, moment(column["at"]), _by(column))
    return table


def written_line(record: Mapping[str, Any]) -> str:
    """The last write to a record as a sentence."""
    what = "deleted" if record["deleted"] else "last written"
    name = f"{record['table']}/{record['id']}"
    version = f"version {record['version']}"
    return f"{name} is at {version}, {what} {moment(record['at'])} by {_by(record).plain}"


def _by(write: Mapping[str, Any]) -> Text:
    by = write["by"]
    if by["job_id"] is None:
        return Text(plain(by["actor"]))
    cause = by["cause"] or "chunk"
    return Text(plain(f"{by['actor']}, job {by['job_id']} ({cause} {by['chunk']})"))


def _changes(changed: Mapping[str, Any] | None) -> str:
    if changed is None:
        return "(not known)"
    parts = [
        f"{name}: {compact(one['before'])} -> {compact(one['after'])}"
        for name, one in changed.items()
    ]
    return plain(", ".join(parts) or "(nothing)")
