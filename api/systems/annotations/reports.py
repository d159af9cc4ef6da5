"""Reports of a project, as JSON and as tables for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from api.answers import answer
from api.bodies import JSON
from api.edge import caller, edge
from api.negotiation import preferred
from api.parameters import Parameters, wrong
from api.streaming import CSV
from api.systems.annotations.asked import number
from api.systems.annotations.wire import moment
from domain.errors import InvalidCommand
from domain.systems.annotations.formats.formulas import guarded
from domain.systems.annotations.kinds import IN_PROJECTS, PROJECTS
from domain.systems.annotations.periods import Bucket, Period, period_of
from streams.stores.project_figures import COUNTS, OUTCOMES, WRITES
from streams.stores.worker_use import Used
from streams.stores.workers import WorkerRow
from streams.systems.annotations.reports import Active, Point, Tally

FORMATS: Final[Mapping[str, str]] = {"json": JSON, "csv": CSV}
KINDS: Final = tuple(str(kind.name) for kind in (PROJECTS, *IN_PROJECTS))

_USED: Final = ("workers", "cpu_percent", "memory_bytes", "memory_peak_bytes")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says: a document, and the table that a spreadsheet gets of it."""

    document: Document
    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


Drawn = Callable[[web.Request, int, Period], Awaitable[Report]]


def report(draw: Drawn) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler that answers with a report, by ``?format=`` or by ``Accept``."""

    async def handle(request: web.Request) -> web.Response:
        project_id = number(request, "project_id")
        query = Parameters(request, ("from", "to", "bucket", "format"))
        form = query.choice("format", FORMATS)
        kind = FORMATS[form] if form else preferred(request, (JSON, CSV))
        period = _period(request, query)
        drawn = await draw(request, project_id, period)
        if kind == CSV:
            body = _table(drawn).encode()
            return web.Response(body=body, content_type=CSV, charset="utf-8")
        return answer({"project_id": project_id, "period": _told(period), **drawn.document})

    return handle


async def summary(request: web.Request, project_id: int, period: Period) -> Report:
    """How the jobs that were made in the period have gone, in all and by operation."""
    found = await edge(request).annotations.reports.summary(caller(request), project_id, period)
    tallies = [("", found.all), *found.by_operation.items()]
    operations = [
        {"operation": name, **_of_tally(tally)} for name, tally in found.by_operation.items()
    ]
    shown = [(name, _of_tally(tally)) for name, tally in tallies]
    rates = ("job_success_rate", "job_failure_rate", "item_success_rate", "item_failure_rate")
    rows = [
        [name, each["jobs"], each["ended"], *each["items"].values(), *(each[r] for r in rates)]
        for name, each in shown
    ]
    columns = ("operation", "jobs", "ended", *(f"items_{name}" for name in COUNTS), *rates)
    return Report({**shown[0][1], "operations": operations}, columns, rows)


async def trend(request: web.Request, project_id: int, period: Period) -> Report:
    """How many items something became of, bucket by bucket, and how many a second."""
    points = await edge(request).annotations.reports.trend(caller(request), project_id, period)
    items = [_point(point) for point in points]
    columns = ("start", "items", *OUTCOMES, "items_per_second", "busy_seconds")
    return Report({"items": items}, columns, _rows(items, columns))


async def errors(request: web.Request, project_id: int, period: Period) -> Report:
    """How often items of the jobs that were made in the period have failed with which code."""
    own = edge(request)
    found = await own.annotations.reports.errors(
        caller(request), project_id, period, own.queries.errors
    )
    items = [
        {
            "code": each.code,
            "items": each.items,
            "jobs": each.jobs,
            "share": _share(each.items, found.failed),
        }
        for each in found.codes
    ]
    document = {
        "jobs_with_failures": found.jobs,
        "jobs_looked_at": found.looked_at,
        "failed": found.failed,
        "untold": found.untold,
        "items": items,
    }
    columns = ("code", "items", "jobs", "share")
    return Report(document, columns, _rows(items, columns))


async def activity(request: web.Request, project_id: int, period: Period) -> Report:
    """Who has made jobs, and who has created, changed and deleted how many records."""
    found = await edge(request).annotations.reports.activity(caller(request), project_id, period)
    items = [
        {"user": each.user, "jobs": each.jobs, "items": each.items, "records": _written(each)}
        for each in found.users
    ]
    columns = ["user", "jobs", "items", *(f"{kind}_{verb}" for kind in KINDS for verb in WRITES)]
    rows = [
        [
            each.user,
            each.jobs,
            each.items,
            *(each.records.get(kind, {}).get(verb, 0) for kind in KINDS for verb in WRITES),
        ]
        for each in found.users
    ]
    return Report({"left_out": found.left_out, "items": items}, columns, rows)


async def resources(request: web.Request, project_id: int, period: Period) -> Report:
    """How long workers were busy for the project in each bucket, and what all of them used."""
    own = edge(request)
    taken = await own.annotations.reports.resources(caller(request), project_id, period)
    items = [
        {
            "start": moment(each.point.start),
            "busy_seconds": round(each.point.busy_seconds, 3),
            "busy_workers": _rate(each.point.busy_seconds, each.point.seconds),
            "items": each.point.items,
            **_used(each.used, each.point.seconds),
        }
        for each in taken
    ]
    columns = ("start", "busy_seconds", "busy_workers", "items", *_USED)
    now = _workers(await own.situation.workers())
    return Report({"workers_now": now, "items": items}, columns, _rows(items, columns))


REPORTS: Final[Mapping[str, Drawn]] = {
    "summary": summary,
    "trend": trend,
    "errors": errors,
    "activity": activity,
    "resources": resources,
}
"""What a project is reported on, by the last word of the path."""


def _period(request: web.Request, query: Parameters) -> Period:
    chosen = query.choice("bucket", list(Bucket))
    bucket = None if chosen is None else Bucket(chosen)
    since, until = query.moment("from"), query.moment("to")
    try:
        return period_of(since, until, bucket, edge(request).clock.now())
    except InvalidCommand as refused:
        raise wrong(refused.message, refused.pointer.removeprefix("/")) from None


def _told(period: Period) -> Document:
    return {
        "start": moment(period.start),
        "end": moment(period.end),
        "bucket": period.bucket.value,
    }


def _of_tally(tally: Tally) -> Document:
    return {
        "jobs": tally.jobs,
        "ended": tally.ended,
        "by_status": dict(sorted(tally.statuses.items())),
        "job_success_rate": _share(tally.statuses.get("completed", 0), tally.ended),
        "job_failure_rate": _share(tally.statuses.get("failed", 0), tally.ended),
        "items": dict(tally.items),
        "item_success_rate": _share(tally.items["succeeded"], tally.settled),
        "item_failure_rate": _share(tally.items["failed"], tally.settled),
    }


def _point(point: Point) -> Document:
    return {
        "start": moment(point.start),
        "items": point.items,
        **point.outcomes,
        "items_per_second": _rate(point.items, point.seconds),
        "busy_seconds": round(point.busy_seconds, 3),
    }


def _written(user: Active) -> Document:
    return {kind: user.records[kind] for kind in KINDS if kind in user.records}


def _workers(rows: Sequence[WorkerRow]) -> Document:
    """All of them together: which machines they are on is not for everybody to know."""
    lived = sum(max(0.0, row.seen_at - row.started_at) for row in rows)
    used = sum(row.cpu_seconds for row in rows)
    return {
        "alive": len(rows),
        "slots": sum(row.slots for row in rows),
        "memory": sum(row.rss for row in rows),
        "waiting_for_memory": sum(row.held_since is not None for row in rows),
        "cpu_seconds": round(used, 3),
        "cpu_percent": None if lived <= 0 else round(100 * used / lived, 1),
    }


def _used(used: Used | None, seconds: float) -> Document:
    """By all projects together; null where nothing is kept of it."""
    if used is None or seconds <= 0:
        return dict.fromkeys(_USED)
    figures = (
        round(used.workers(seconds), 3),
        round(used.cpu_percent(seconds), 1),
        # Of a worker while there was one: hours without any do not make it smaller.
        used.memory(used.worker_seconds),
        used.memory_peak,
    )
    return dict(zip(_USED, figures, strict=True))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rate(amount: float, seconds: float) -> float | None:
    return round(amount / seconds, 4) if seconds > 0 else None


def _rows(items: Iterable[Document], columns: Sequence[str]) -> Iterable[Sequence[Any]]:
    return ([item[name] for name in columns] for item in items)


def _table(drawn: Report) -> str:
    """RFC 4180; no spreadsheet runs what somebody is called."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(drawn.columns)
    for row in drawn.rows:
        writer.writerow("" if cell is None else guarded(str(cell)) for cell in row)
    return text.getvalue()
