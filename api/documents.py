"""Documents: what the API says of a job and of its events, as JSON values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from domain.events import JobEvent
from domain.job import Job
from domain.outcomes import ItemStatus
from domain.progress import documented, of_event
from domain.views import job_view
from domain.waiting import Waiting, by_itself
from streams.items import ItemView
from streams.plans import PlanView
from streams.stores.error_groups import ErrorGroup

JOBS = "/api/v1/jobs"
EVENTS = "/api/v1/events"
SOCKET = "/api/v1/ws"

_PATHS = {"append": "items"}
"""Commands whose path is not their name."""

_ENVELOPE = set(JobEvent.model_fields) - {"started_at"}
"""What every event has, and the document shows in its own way."""


def job_document(job: Job, now: datetime, waiting: Waiting | None = None) -> dict[str, Any]:
    """A job as every answer shows it; figures of progress are as of ``now``.

    ``waiting`` is why it waits, where somebody has looked around for that.
    """
    shown = job_view(job, now).model_dump(mode="json")
    told = waiting or by_itself(job, now)
    shown["waiting"] = None if told is None else told.model_dump(mode="json")
    shown["links"] = links(job.id, shown["possible"])
    return shown


def links(job_id: str, possible: Iterable[str]) -> dict[str, str]:
    """Where to read of the job, and where to POST what is possible now."""
    own = f"{JOBS}/{job_id}"
    reading = {name: f"{own}/{name}" for name in ("events", "items", "errors", "progress")}
    actions = {verb: f"{own}/{_PATHS.get(verb, verb)}" for verb in possible}
    return {"self": own, **reading, **actions}


def event_document(event: JobEvent) -> dict[str, Any]:
    """A stored event in full, for the audit trail."""
    own = event.model_dump(mode="json", exclude=_ENVELOPE)
    return {**of_event(event), "command_id": event.command_id, **own}


def progress_document(event: JobEvent) -> dict[str, Any]:
    """What an event says of the job's progress."""
    shown = ("version", "at", "status", "counts", "percent", "items_per_second")
    told = of_event(event)
    return {name: told[name] for name in shown}


def item_document(view: ItemView, *, payload: bool) -> dict[str, Any]:
    """An item of the ledger; ``payload`` adds what was sent, if that is still there."""
    document: dict[str, Any] = {
        "position": view.position,
        "status": view.status.value,
        "result": view.result,
        "score": view.score,
        "duration_ms": view.duration_ms,
        "error": None if view.error is None else asdict(view.error),
        "chunk": view.chunk,
        "attempt": view.attempt,
    }
    if view.status is ItemStatus.PLANNED:
        document["changes"] = view.changes
    if payload:
        document["item"] = view.item
    if view.shredded:
        document["shredded"] = True
    return document


def plan_document(plan: PlanView) -> dict[str, Any]:
    """What a dry run has found, and whether it still holds."""
    return {
        "job_id": plan.job.id,
        "operation": plan.job.spec.operation,
        "digest": plan.digest,
        "counts": documented(plan.job.counts),
        "validated_only": plan.validated_only,
        "changed": [asdict(record) for record in plan.changed],
        "more_changed": plan.more,
        "applied_by": plan.applied_by,
    }


def error_document(group: ErrorGroup) -> dict[str, Any]:
    """A group of failures that look alike."""
    return {
        "code": group.code,
        "signature": group.signature,
        "count": group.count,
        "samples": [dict(sample) for sample in group.samples],
    }
