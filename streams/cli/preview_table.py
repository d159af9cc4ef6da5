"""The preview of an undo as lines and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from domain.ranges import Ranges
from streams.cli.documents import PreviewDocument
from streams.cli.render import moment, table_of

_DONE = {"rollback": "put back", "reapply": "applied again"}


def summary_of(found: PreviewDocument) -> str:
    """What an undo would do, in a sentence."""
    would = f"an undo now: {found['restored']:,} of {found['items']:,} items would be "
    would += _DONE.get(found["direction"], found["direction"])
    for name, count in (("in conflict", found["conflict"]), ("failed", found["failed"])):
        would += f", {count:,} {name}" if count else ""
    if found["outside"]:
        effects = " and ".join(found["outside"])
        would += f"; {found['compensated']:,} would be compensated outside ({effects})"
        would += ", which may not succeed"
    elif not found["exact"]:
        would += "; the operation's own inverse decides, and may not succeed"
    return would


def compensated_line(found: PreviewDocument) -> str:
    """Which items of the page would be compensated outside."""
    spans = Ranges.of(found["compensations"]).spans
    words = [str(a) if a + 1 == b else f"{a} to {b - 1}" for a, b in spans]
    return f"compensated outside: items {', '.join(words)}"


def compensation_table(found: Iterable[Mapping[str, Any]]) -> Table:
    """Items whose effects outside were to be taken back, with what became of that."""
    table = table_of("item", "stage", "attempts", "at", "error")
    for one in found:
        error = one["error"]
        why = f"{error['code']}: {error['message']}" if error else ""
        attempts = str(one["attempts"])
        table.add_row(str(one["position"]), one["stage"], attempts, moment(one["at"]), why)
    return table


def obstruction_table(found: PreviewDocument) -> Table:
    """The items that would stay as they are, with who is in the way and why."""
    table = table_of("item", "record", "by", "reason")
    for one in found["obstructions"]:
        table.add_row(str(one["position"]), one["record"], one["by"], one["reason"])
    return table
