"""Operation documents: what the platform says of a bulk operation, and of how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from api.systems.annotations.pace import Pace
from domain.events import JobEvent, JobStatus
from domain.job import Job
from domain.progress import of_event
from domain.systems.annotations import outlets
from domain.systems.annotations.intakes import INTAKES
from domain.views import job_view
from streams.stores.worker_use import Used
from streams.systems.annotations.load import Figures
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import CANCELLED, Reading

OPERATIONS: Final = "/api/v1/batch/operations"
SOCKET: Final = "/api/v1/batch/ws/connect"

_STEPS: Final[Mapping[JobStatus, str]] = {
    JobStatus.DRAFT: "waiting",
    JobStatus.PENDING: "waiting",
    JobStatus.AWAITING_APPROVAL: "waiting_for_approval",
    JobStatus.RUNNING: "processing",
    JobStatus.PAUSED: "paused",
    JobStatus.CANCELLING: "cancelling",
    JobStatus.ROLLING_BACK: "rolling_back",
}
"""What is going on; anything else is at rest."""
_OF_KIND: Final[Mapping[str, tuple[str, str]]] = {
    **{intake.operation.kind: ("import", "rejects") for intake in INTAKES.values()},
    **dict.fromkeys(outlets.KINDS, ("export", "download")),
}
"""What some kinds have besides: what is said of their file, and the file."""


def links(operation_id: int, kind: str = "") -> dict[str, str]:
    """Where to go on from an operation; an import has rejected a file, an export has made one."""
    own = f"{OPERATIONS}/{operation_id}"
    more = {name: f"{own}/{name}" for name in _OF_KIND.get(kind, ())}
    return {
        **more,
        "status": f"{own}/status",
        "sse": f"{own}/events",
        "history": f"{own}/history",
        "cancel": f"{own}/cancel",
        "websocket": SOCKET,
    }


def listed(
    number: Numbered, shown: Mapping[str, Any] | None, reading: Reading | None = None
) -> dict[str, Any]:
    """An operation in a list; ``shown`` is its job, None for a moment after the submit.

    As long as its file is read it has no job.
    """
    if reading is not None:
        return _read(number, reading)
    known = shown or {"status": JobStatus.PENDING.value, "counts": {}}
    status = JobStatus(known["status"])
    return {
        "operation_id": number.operation_id,
        "job_id": number.job_id,
        "project_id": number.project_id,
        "type": number.kind,
        "name": known.get("name", ""),
        "status": status.value,
        "current_step": current_step(status, dry_run=bool(known.get("dry_run"))),
        "progress_percentage": known.get("percent"),
        **figures(known["counts"]),
        "items_per_second": known.get("items_per_second"),
        "eta_seconds": known.get("eta_seconds"),
        "created_by": number.created_by,
        "created_at": known.get("created_at"),
        "started_at": known.get("started_at"),
        "finished_at": known.get("finished_at"),
        "dry_run": bool(known.get("dry_run")),
        "reading": None,
        "links": links(number.operation_id, number.kind),
    }


def reading_document(
    number: Numbered, reading: Reading, load: Figures | None = None
) -> dict[str, Any]:
    """An operation whose file is read now, or of which nothing came."""
    ends = reading.seen_at
    return {
        **_read(number, reading),
        "items_per_second_mean": None,
        "elapsed_seconds": round((ends - reading.began_at).total_seconds(), 3),
        "reason": "" if reading.fault is None else reading.fault.message,
        **load_figures(load),
    }


def reading_status(reading: Reading) -> JobStatus:
    """As what an operation counts that has no job yet."""
    if reading.fault is None:
        return JobStatus.PENDING
    return JobStatus.CANCELLED if reading.fault.code == CANCELLED else JobStatus.FAILED


def _read(number: Numbered, reading: Reading) -> dict[str, Any]:
    status = reading_status(reading)
    known: dict[str, Any] = {
        "status": status.value,
        "counts": {},
        "name": reading.title,
        "percent": reading.percentage,
        "created_at": reading.began_at.isoformat(),
        "finished_at": reading.seen_at.isoformat() if status.terminal else None,
        "dry_run": reading.dry_run,
    }
    told = {"current_step": current_step(status) if status.terminal else "reading"}
    return {**listed(number, known), **told, "reading": _told(reading)}


def _told(reading: Reading) -> dict[str, Any]:
    """How far a file is read, and why nothing came of it."""
    fault = reading.fault
    return {
        "file": reading.name,
        "bytes_read": reading.bytes_read,
        "bytes_total": reading.bytes_total,
        "accepted": reading.accepted,
        "rejected": reading.rejected,
        "error": None if fault is None else fault.model_dump(),
    }


def status_document(
    number: Numbered, job: Job, now: datetime, load: Figures | None = None
) -> dict[str, Any]:
    """An operation as it is now, with the figures of the workers where they are known."""
    view = job_view(job, now)
    run = view.progress
    ends = view.finished_at or now
    elapsed = None if view.started_at is None else (ends - view.started_at).total_seconds()
    return {
        **listed(number, view.model_dump(mode="json")),
        "items_per_second": None if run is None else run.now,
        "items_per_second_mean": view.items_per_second,
        "eta_seconds": view.eta_seconds if run is None or run.eta is None else run.eta.seconds,
        "elapsed_seconds": None if elapsed is None else round(max(elapsed, 0.0), 3),
        "reason": view.reason,
        **load_figures(load),
    }


def load_figures(load: Figures | None) -> dict[str, Any]:
    """What the workers use, where it is known."""
    return {
        "workers": None if load is None else load.workers,
        "cpu_percent": None if load is None else load.cpu_percent,
        "memory_bytes": None if load is None else load.memory_bytes,
    }


def used_figures(used: Used | None) -> dict[str, Any]:
    """What the workers used when a snapshot was taken, where that is kept."""
    seconds = 0 if used is None else used.width
    return {
        "workers": None if used is None else round(used.workers(seconds), 3),
        "cpu_percent": None if used is None else round(used.cpu_percent(seconds), 1),
        "memory_bytes": None if used is None else used.memory(seconds),
    }


def snapshots(events: Sequence[JobEvent], interval: float) -> list[dict[str, Any]]:
    """How it went, from stored events: the first, the last, and others so many seconds apart.

    ``items_per_second`` is the rate since the snapshot before, of a second at least.
    """
    found: list[dict[str, Any]] = []
    pace: Pace | None = None
    last: datetime | None = None
    for place, event in enumerate(events):
        if (
            last is None
            or place == len(events) - 1
            or (event.at - last).total_seconds() >= interval
        ):
            told = of_event(event)
            counts = figures(told["counts"])
            if pace is None:
                mean = told["items_per_second"]
                pace = Pace(event.started_at, event.at, counts["processed"], mean)
            went = pace.told(event.status, event.at, counts["processed"])
            found.append({**_snapshot(event, told, counts), **went, **_elapsed(event)})
            last = event.at
    return found


def _snapshot(
    event: JobEvent, told: Mapping[str, Any], counts: Mapping[str, int]
) -> dict[str, Any]:
    """What one stored event says of the progress."""
    return {
        "at": told["at"],
        "status": told["status"],
        "current_step": current_step(event.status),
        "progress_percentage": told["percent"],
        **counts,
        "items_per_second_mean": told["items_per_second"],
        "eta_seconds": told["eta_seconds"],
    }


def _elapsed(event: JobEvent) -> dict[str, float | None]:
    """Since the start, which may lie between two snapshots."""
    if event.started_at is None:
        return {"elapsed_seconds": None}
    return {"elapsed_seconds": round((event.at - event.started_at).total_seconds(), 3)}


def figures(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts as the platform calls them."""
    total = counts.get("total", 0)
    names = ("succeeded", "failed", "skipped", "rolled_back", "conflict")
    return {
        "total": total,
        "processed": total - counts.get("pending", 0),
        **{name: counts.get(name, 0) for name in names},
    }


def current_step(status: JobStatus, *, dry_run: bool = False) -> str:
    """What is going on, in a word."""
    if status is JobStatus.RUNNING and dry_run:
        return "checking"
    return _STEPS.get(status, "done")
