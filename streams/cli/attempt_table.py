"""The attempts at an item as a table."""

from __future__ import annotations

from rich.table import Table

from streams.cli.documents import ItemDocument
from streams.cli.render import compact, moment, reason_of, status_text, table_of


def attempt_table(found: ItemDocument) -> Table:
    """What became of the item at each attempt, and in the last line where it stands."""
    table = table_of("chunk", "cause", "at", "status", "result or reason")
    for attempt in found.get("attempts", ()):
        status, fault = attempt["status"] or "as it was", attempt["error"]
        said = reason_of(fault, status) if fault else compact(attempt["result"])
        table.add_row(
            str(attempt["chunk"]),
            attempt["cause"],
            moment(attempt["at"]),
            status_text(status),
            said,
        )
    table.add_row("", "", "now", status_text(found["status"]), "")
    return table
