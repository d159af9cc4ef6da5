"""The steps of a batch as a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from streams.cli.documents import StepDocument
from streams.cli.render import counts_line, status_text, table_of


def step_table(steps: Iterable[StepDocument]) -> Table:
    """Steps, a line each, with the jobs that do them."""
    table = table_of("step", "operation", "status", "after", "counts", "job")
    for step in steps:
        table.add_row(
            step["name"],
            step["operation"],
            status_text(step["status"]),
            ", ".join(step["after"]),
            counts_line(step["counts"]),
            step["job_id"],
        )
    return table
