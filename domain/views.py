"""Views: what readers are shown of a job, as closed documents. Pure.

The API shows :class:`JobView`, computed from the aggregate; lists show
:class:`JobSummary`, which the read model carries forward event by event. Figures of
progress are :mod:`domain.progress`'s in both, so that no two places disagree.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain import progress
from domain.events import (
    JobAdjusted,
    JobEvent,
    JobOpened,
    JobStatus,
    JobSubmitted,
    StepsSubmitted,
)
from domain.job import Job
from domain.job_state import Archived, Word
from domain.options import Caps, JobOptions, Limit
from domain.outcomes import Counts
from domain.progress import Progress
from domain.record_filter import RecordSelection
from domain.schedule import Outlook
from domain.values import Unless, Value


class CountsView(Value):
    """How many items are in each status, and in all; ``planned`` are those of a dry run."""

    total: int
    pending: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int
    planned: int = Unless(0)


class JobSummary(Value):
    """A job as lists show it.

    ``percent`` is 0 to 100; ``items_per_second`` and ``eta_seconds`` are None where they
    would mean nothing.
    """

    job_id: str
    operation: str
    status: JobStatus
    version: int
    name: str
    tags: tuple[str, ...]
    priority: int
    params: dict[str, Any]
    counts: CountsView
    percent: float | None
    items_per_second: float | None
    eta_seconds: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    created_by: str
    dry_run: bool = Unless(False)
    parent: str | None = Unless(None)


class StepView(Value):
    """A step of a batch: its job, and how that one is."""

    name: str
    job_id: str
    operation: str
    status: JobStatus
    counts: CountsView
    after: tuple[str, ...]
    savepoint: str | None


class JobView(JobSummary):
    """A job as its own page shows it; ``possible`` names what may be asked of it now.

    ``retrying`` are pending items that have failed and are tried again, the next ones at
    ``next_attempt_at``; ``prepared`` are those of an atomic job that wait for its commit;
    ``limit`` is the one of failures that has stopped the job. ``options`` are those of the
    submission, ``caps`` and ``priority`` those of now. ``start_at`` is the moment for which the
    job waits, ``deadline`` says whether it will end in time. ``select`` is the filter that has
    made its items; ``steps`` are a batch's. ``held`` says who lets it be neither shredded nor
    archived, ``shredded`` who has shredded it, ``archived`` who has put it away, and where that
    is which it has given up.
    """

    options: JobOptions
    caps: Caps
    updated_at: datetime
    reason: str
    sealed: bool
    generation: int
    retrying: int
    prepared: int = Unless(0)
    next_attempt_at: datetime | None
    limit: Limit | None
    progress: Progress | None
    start_at: datetime | None
    deadline: Outlook | None
    select: RecordSelection | None
    held: Word | None = Unless(None)
    shredded: Word | None = Unless(None)
    archived: Archived | None = Unless(None)
    possible: tuple[str, ...]
    steps: tuple[StepView, ...] = Unless(())


def job_view(job: Job, now: datetime) -> JobView:
    """A job that has at least one event; figures of progress are as of ``now``."""
    if job.created_at is None or job.updated_at is None:
        raise ValueError(f"job {job.id} has no events yet; append one before showing it")
    return JobView(
        job_id=job.id,
        operation=job.spec.operation,
        status=job.status,
        version=job.version,
        name=job.spec.name,
        tags=job.spec.tags,
        priority=job.priority,
        params=job.spec.params,
        options=job.spec.options,
        caps=job.caps,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        updated_at=job.updated_at,
        created_by=job.created_by,
        dry_run=job.options.dry_run,
        reason=job.reason,
        sealed=job.sealed,
        generation=job.generation,
        retrying=len(job.put_off),
        prepared=len(job.prepared),
        next_attempt_at=job.next_due,
        limit=job.limit,
        progress=progress.of_run(job, now),
        start_at=job.start_at,
        deadline=progress.deadline_of(job, now),
        select=job.spec.select,
        held=job.held,
        shredded=job.shredded,
        archived=job.archived,
        possible=tuple(job.possible()),
        parent=job.spec.parent,
        steps=tuple(
            StepView(
                name=step.name,
                job_id=child.job_id,
                operation=step.operation,
                status=child.status,
                counts=CountsView(**progress.documented(child.counts)),
                after=tuple(needs.step for needs in step.needs),
                savepoint=step.savepoint,
            )
            for step, child in zip(job.spec.steps, job.children, strict=True)
        ),
        **progress.of_job(job, now),
    )


def progress_view(event: JobEvent) -> dict[str, Any]:
    """What the live stream sends of an event, as JSON values."""
    return progress.of_event(event)


def listed(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary, as JSON values, as lists show it: it carries its percent on unrounded."""
    percent = summary.get("percent")
    return summary if percent is None else summary | {"percent": round(percent, 2)}


def summary_after(summary: JobSummary | None, event: JobEvent) -> JobSummary:
    """A job's summary after ``event``; raises ValueError when its first event is missing."""
    if isinstance(event, JobSubmitted | JobOpened | StepsSubmitted):
        return _first(event)
    if summary is None:
        raise ValueError(
            f"job {event.originator_id} begins with version {event.originator_version}; "
            "build the read model again from the first event"
        )
    figures = progress.of_event_after(
        event,
        before=_counts(summary.counts),
        percent=summary.percent,
        rate=summary.items_per_second,
    )
    return summary.model_copy(
        update={
            "status": event.status,
            "version": event.originator_version,
            "counts": CountsView(**figures["counts"]),
            "percent": figures["percent"],
            "items_per_second": figures["items_per_second"],
            "eta_seconds": figures["eta_seconds"],
            "started_at": event.started_at,
            "finished_at": (summary.finished_at or event.at) if event.status.terminal else None,
            "priority": event.priority if isinstance(event, JobAdjusted) else summary.priority,
        }
    )


def _counts(view: CountsView) -> Counts:
    return Counts(**view.model_dump(include=set(Counts.model_fields)))


def _first(event: JobSubmitted | JobOpened | StepsSubmitted) -> JobSummary:
    figures = progress.of_event(event)
    return JobSummary(
        job_id=event.originator_id,
        operation=event.spec.operation,
        status=event.status,
        version=event.originator_version,
        name=event.spec.name,
        tags=event.spec.tags,
        priority=event.spec.priority,
        params=event.spec.params,
        counts=figures["counts"],
        percent=figures["percent"],
        items_per_second=figures["items_per_second"],
        eta_seconds=figures["eta_seconds"],
        created_at=event.at,
        started_at=event.started_at,
        finished_at=None,
        created_by=event.actor,
        dry_run=event.spec.options.dry_run,
        parent=event.spec.parent,
    )
