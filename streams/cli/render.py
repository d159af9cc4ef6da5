"""Render: documents as tables, bars and lines. Draws, and decides nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from streams.cli.documents import (
    ArchivedDocument,
    CountsDocument,
    ErrorGroupDocument,
    FaultDocument,
    ItemDocument,
    JobDocument,
    WordDocument,
)
from streams.cli.output import plain

STATUS_STYLES = {
    "draft": "dim",
    "pending": "dim",
    "awaiting_approval": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "completed": "green",
    "completed_with_errors": "red",
    "failed": "red",
    "rolling_back": "magenta",
    "rolled_back": "magenta",
    "rollback_incomplete": "red",
    "rejected": "red",
    "archived": "dim",
    "succeeded": "green",
    "skipped": "dim",
    "conflict": "yellow",
    "planned": "cyan",
}
PLANNED = "planned"
"""What a dry run counts where others count ``succeeded``."""
COUNTED = ("succeeded", "failed", "skipped", "rolled_back", "conflict", "pending")
PIPED_WIDTH = 160
"""Columns of a table that no terminal shows; wide enough not to cut an id."""

_ROOMY = 120
"""Columns that a table of jobs needs for a line each."""
_ID = 36
_SAMPLES = 3
_CELL = 200


def console() -> Console:
    """Standard output, with colour on a terminal only; NO_COLOR is rich's own business."""
    measured = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if measured else PIPED_WIDTH)


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(plain(status), style=STATUS_STYLES.get(status, ""), no_wrap=True)


def counts_line(counts: CountsDocument) -> str:
    """The counts that are not zero: ``9,863 succeeded, 137 conflict``."""
    said = {name: int(counts.get(name, 0)) for name in (*COUNTED, PLANNED)}  # type: ignore[call-overload]  # the names above
    parts = [f"{number:,} {name}" for name, number in said.items() if number]
    return ", ".join(parts) or "no items"


def duration(seconds: float) -> str:
    """``0:07``, ``12:05`` or ``3:20:00``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def progress_line(job: JobDocument) -> str:
    """The job's progress as one line of text, for logs and pipes."""
    parts = [f"{job['status']} {percent(job)}", counts_line(job["counts"]), *_pace(job)]
    return plain(" | ".join(parts))


def percent(job: JobDocument) -> str:
    """How far the job is, as ``63.2 %``; empty when nobody knows."""
    return "" if job["percent"] is None else f"{job['percent']:.1f} %"


def live_view(job: JobDocument) -> RenderableType:
    """The job's progress as a bar with its counts, for a terminal."""
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(title_of(job), style="bold", no_wrap=True, overflow="ellipsis"),
        status_text(job["status"]),
        ProgressBar(total=100, completed=job["percent"] or 0, width=40),
        Text(percent(job).rjust(7)),
        Text("  ".join(_pace(job)), style="dim"),
    )
    return Group(bar, counts_text(job["counts"]))


def counts_text(counts: CountsDocument) -> Text:
    """The counts in their colours, all of them, so that nothing jumps while they change."""
    text = Text()
    planned = (PLANNED,) if counts.get("planned") else ()
    for name in (*planned, *COUNTED):
        number = int(counts[name])  # type: ignore[literal-required]  # the names above
        style = STATUS_STYLES.get(name, "") if number else "dim"
        text.append(f"{name} {number:,}   ", style=style)
    return text


def title_of(job: JobDocument) -> str:
    """The name that somebody gave the job, else its operation."""
    return plain(job["name"] or job["operation"])


def _pace(job: JobDocument) -> list[str]:
    parts = []
    if job["items_per_second"]:
        parts.append(f"{job['items_per_second']:,.0f}/s")
    if job["eta_seconds"] is not None:
        parts.append(f"ETA {duration(job['eta_seconds'])}")
    return parts


def moment(text: str | None) -> str:
    """A time as the reader's clock shows it; empty for none."""
    if not text:
        return ""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


def job_table(jobs: Iterable[JobDocument], width: int = PIPED_WIDTH) -> Table:
    """Jobs, a line each; two where ``width`` is short. No id is ever cut: people copy it."""
    if width < _ROOMY:
        return _narrow_job_table(jobs)
    table = table_of("job", "operation", "status", "name", "done", "counts", "created")
    for name in ("job", "status", "done", "created"):
        _column(table, name).no_wrap = True
    _column(table, "job").min_width = _ID
    for job in jobs:
        table.add_row(
            job["job_id"],
            job["operation"],
            status_text(job["status"]),
            job["name"],
            percent(job),
            counts_line(job["counts"]),
            moment(job["created_at"]),
        )
    return table


def _narrow_job_table(jobs: Iterable[JobDocument]) -> Table:
    table = table_of("job, created", "operation, name", "status, counts")
    _column(table, "job, created").min_width = _ID
    for job in jobs:
        done = "" if job["percent"] == 100 else f"{percent(job)} "
        table.add_row(
            f"{job['job_id']}\n{moment(job['created_at'])}",
            Text(plain(f"{job['operation']}\n{job['name']}".rstrip()), overflow="fold"),
            Text.assemble(
                (plain(job["status"]), STATUS_STYLES.get(job["status"], "")),
                f"\n{done}{counts_line(job['counts'])}",
            ),
        )
    return table


def job_details(job: JobDocument) -> Table:
    """One job, a line for each of its properties."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows: list[tuple[str, str | Text]] = [
        ("job", job["job_id"]),
        ("operation", job["operation"]),
        ("name", job["name"]),
        ("status", status_text(job["status"])),
        ("reason", job.get("reason", "")),
        ("held", _word(job.get("held"))),
        ("shredded", _word(job.get("shredded"))),
        ("archived", _archived(job.get("archived"))),
        ("retrying", _retrying(job)),
        ("prepared", _prepared(job)),
        ("counts", f"{counts_line(job['counts'])} (of {job['counts']['total']:,})"),
        ("progress", "  ".join([percent(job), *_pace(job)])),
        ("waits", _waits(job)),
        ("deadline", _deadline(job)),
        ("version", str(job["version"])),
        ("priority", str(job["priority"])),
        ("tags", ", ".join(job["tags"])),
        ("params", compact(job["params"]) if job["params"] else ""),
        ("created", f"{moment(job['created_at'])} by {job['created_by']}"),
        ("started", moment(job["started_at"])),
        ("finished", moment(job["finished_at"])),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    return table


def _retrying(job: JobDocument) -> str:
    """How many failed items are tried again, and when the next ones."""
    many, when = job.get("retrying", 0), job.get("next_attempt_at")
    if not many:
        return ""
    return f"{many:,} items" + (f", the next at {moment(when)}" if when else "")


def _prepared(job: JobDocument) -> str:
    """How much of an atomic job is ready for its commit."""
    many = job.get("prepared", 0)
    return f"{many:,} of {job['counts']['total']:,} items, for one commit" if many else ""


def _waits(job: JobDocument) -> str:
    """Why the job waits; empty when it does not, or the server does not say."""
    waiting = job.get("waiting")
    return f"{waiting['text']} (since {moment(waiting['since'])})" if waiting else ""


def _deadline(job: JobDocument) -> str:
    """By when the job should have ended, and what stands against it."""
    deadline = job.get("deadline")
    if not deadline:
        return ""
    warning = f": {deadline['warning']}" if deadline["warning"] else ""
    return f"{moment(deadline['at'])} ({deadline['then']}){warning}"


def _word(word: WordDocument | None) -> str:
    if not word:
        return ""
    reason = f" ({word['reason']})" if word["reason"] else ""
    return f"{moment(word['at'])} by {word['by']}{reason}"


def _archived(word: ArchivedDocument | None) -> str:
    """Who has put the job away, how it had ended, and where that is which it has given up."""
    if not word:
        return ""
    file = word["file"]
    place = f"; its items are in {file['name']} (SHA-256 {file['sha256']})" if file else ""
    return f"{_word(word)}; it was {word['was']}{place}"


def item_table(items: Iterable[ItemDocument]) -> Table:
    """Items, a line each; the last column is the result or the reason."""
    table = table_of("item", "status", "result or reason")
    for item in items:
        fault = item["error"]
        result = "" if item["result"] is None else compact(item["result"])
        said = reason_of(fault, item["status"]) if fault else result
        table.add_row(str(item["position"]), status_text(item["status"]), said)
    return table


def reason_of(fault: FaultDocument, status: str) -> str:
    """Code, message and place of a fault on one line, without what is said twice."""
    code = "" if fault["code"] == status else f"{fault['code']}: "
    return f"{code}{fault['message']}{_at(fault.get('pointer'), fault['message'])}"


def _at(pointer: str | None, message: str) -> str:
    """Where a fault is, unless its message says so."""
    return f" (at {pointer})" if pointer and pointer not in message else ""


def error_table(groups: Iterable[ErrorGroupDocument]) -> Table:
    """Groups of failures, the largest first: what they share, and a few of their items."""
    table = table_of("items", "code", "what", "for example items")
    for group in sorted(groups, key=lambda group: -group["count"]):
        samples = [str(sample.get("item", "?")) for sample in group["samples"]]
        table.add_row(
            f"{group['count']:,}",
            Text(plain(group["code"]), style="red"),
            _what_they_share(group),
            ", ".join(samples[:_SAMPLES]),
        )
    return table


def _what_they_share(group: ErrorGroupDocument) -> str:
    """The words of all of them, and below these what the first was told, where that is more."""
    shared = group["signature"]
    for sample in group["samples"][:1]:
        message = sample.get("message") or shared
        told = " ".join(f"{message}{_at(sample.get('pointer'), message)}".split())
        if told != shared:
            return f"{shared}\nitem {sample.get('item', '?')}: {_cut(told)}"
    return shared


def operation_table(operations: Sequence[Mapping[str, Any]]) -> Table:
    """Operations, a line each."""
    table = table_of("operation", "undo", "what it does")
    for operation in operations:
        first = str(operation.get("description") or "").partition("\n")[0]
        table.add_row(
            Text(plain(operation["kind"]), style="bold", no_wrap=True),
            str(operation.get("reversible", "")),
            first,
        )
    return table


def worker_table(workers: Iterable[Mapping[str, Any]]) -> Table:
    """Workers, a line each."""
    table = table_of(
        "worker", "host", "process", "slots", "systems", "memory", "processor", "alive"
    )
    for worker in workers:
        table.add_row(
            Text(plain(worker["name"]), no_wrap=True),
            worker["host"],
            str(worker["process"]),
            str(worker["slots"]),
            ", ".join(worker["systems"]),
            _memory_of(worker),
            f"{worker['cpu_seconds']:,.1f} s ({worker['cpu_percent'] or 0:.0f} %)",
            duration(worker["alive_seconds"]),
        )
    return table


def limit_table(limits: Iterable[Mapping[str, Any]]) -> Table:
    """Limits that jobs share, a line each."""
    table = table_of("limit", "rate", "concurrency", "calls", "jobs", "waiting", "by")
    for limit in limits:
        rate, most = limit["rate"], limit["concurrency"]
        table.add_row(
            Text(plain(limit["name"]), no_wrap=True),
            "" if rate is None else f"{rate:g}/s",
            "" if most is None else str(most),
            *[str(limit[name]) for name in ("calls", "jobs", "waiting")],
            limit["changed_by"] or "settings",
        )
    return table


def _memory_of(worker: Mapping[str, Any]) -> Text:
    used, budget = worker["memory_bytes"] / 2**20, worker["memory_budget_bytes"] / 2**20
    over = worker["held_since"] is not None
    of = f" of {budget:,.0f}" if budget else ""
    return Text(f"{used:,.0f}{of} MiB", style="bold red" if over else "")


def event_line(event: Mapping[str, Any]) -> str:
    """A stored event as one line of text."""
    reason = event.get("reason")
    parts = [
        f"v{event['version']}",
        moment(event["at"]),
        event["event"],
        event["status"],
        counts_line(event["counts"]),
        f"by {event['actor']}",
        *([f"({reason})"] if reason else []),
    ]
    return plain("  ".join(parts))


def compact(value: Any) -> str:
    """JSON on one line, cut where a table would grow out of shape."""
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _column(table: Table, header: str) -> Column:
    return next(column for column in table.columns if column.header == header)


class PlainTable(Table):
    """A table that shows texts as they are: what looks like markup in them is none.

    Names and reasons come from anybody, and a table of all of them must not break by one.
    """

    def add_row(
        self,
        *cells: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """A row; a cell that is to have a style is a Text of :func:`plain` words."""
        shown = [Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells]
        super().add_row(*shown, style=style, end_section=end_section)


def table_of(*columns: str) -> PlainTable:
    """An empty table with those columns."""
    table = PlainTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
