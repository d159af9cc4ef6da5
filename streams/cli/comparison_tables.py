"""Comparison tables: two runs, drawn side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.table import Table

from streams.cli.output import plain
from streams.cli.render import compact, reason_of, table_of


def summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """How many items differ, a line each way that there is, and how many moved where."""
    words = {
        "same": "the same",
        "status": "with another status",
        "result": "with another result",
        "only_this": "only in the first",
        "only_other": "only in the second",
    }
    for change, items in summary["changes"].items():
        if items:
            yield plain(f"{items:,} {words.get(change, change)}")
    for move in summary["moves"]:
        yield plain(f"  {move['items']:,} {move['this']} -> {move['other']}")


def difference_table(differences: Iterable[Mapping[str, Any]]) -> Table:
    """Items that differ, a line each."""
    table = table_of("item", "differs", "first", "second")
    for one in differences:
        sides = (_side(one["this"]), _side(one["other"]))
        table.add_row(_place(one), one["change"], *sides)
    return table


def _place(one: Mapping[str, Any]) -> str:
    """Where the item stands in the runs that have it."""
    places = [str(side["position"]) for side in (one["this"], one["other"]) if side]
    return " / ".join(dict.fromkeys(places))


def _side(item: Mapping[str, Any] | None) -> str:
    if item is None:
        return ""
    fault = item["error"]
    said = reason_of(fault, item["status"]) if fault else ""
    if not said and item["result"] is not None:
        said = compact(item["result"])
    return f"{item['status']}  {said}".rstrip()
