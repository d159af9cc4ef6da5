"""The attempts at an item as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from streams.cli.documents import ItemDocument
from streams.cli.output import plain
from streams.cli.render import compact, moment, reason_of, status_text


def attempt_table(found: ItemDocument) -> Table:
    """What became of the item at each attempt, and in the last line where it stands."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("chunk", "cause", "at", "status", "result or reason"):
        table.add_column(name)
    for attempt in found.get("attempts", ()):
        status, fault = attempt["status"] or "as it was", attempt["error"]
        said = reason_of(fault, status) if fault else compact(attempt["result"])
        table.add_row(
            str(attempt["chunk"]),
            attempt["cause"],
            moment(attempt["at"]),
            status_text(status),
            Text(plain(said)),
        )
    table.add_row("", "", "now", status_text(found["status"]), "")
    return table
