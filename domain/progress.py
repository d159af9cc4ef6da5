"""Progress: how far a job is and how long it will take, for those who watch it. Pure.

One reader sees a job (:class:`~domain.job.Job`), another only one of its events.
``percent`` is that of the present direction of work: of items settled, or of those put
back while a job is rolling back; None where an event alone does not tell.
``items_per_second`` is the mean of the present run, which began when the job was started,
resumed, retried or given other caps; it and ``eta_seconds`` are None where they would mean
nothing. :class:`Progress` says more, of a job only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from domain.events import (
    Cause,
    ChunksClosed,
    ChunksPlanned,
    JobEvent,
    JobStatus,
    Run,
    UndoStarted,
)
from domain.job import Job
from domain.metering import Quantiles, Remaining
from domain.outcomes import Counts
from domain.schedule import MAX_AHEAD, Expectation, Outlook, by_measure, outlook
from domain.values import Value

_WITHOUT_RATE = frozenset(
    {
        JobStatus.DRAFT,
        JobStatus.PENDING,
        JobStatus.ROLLING_BACK,
        JobStatus.ROLLED_BACK,
        JobStatus.ROLLBACK_INCOMPLETE,
    }
)


def of_event(event: JobEvent) -> dict[str, Any]:
    """What the live stream says of a stored event, as JSON values."""
    rate = _rate(event.status, event.counts, _first_run(event.started_at, event.run), event.at)
    return {
        "job_id": event.originator_id,
        "version": event.originator_version,
        "event": event.alias,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "status": event.status.value,
        "counts": documented(event.counts),
        "percent": _percent(event.status, event.counts, _direction(event)),
        "items_per_second": rate,
        "eta_seconds": _eta(event.status, event.counts, rate),
    }


def of_job(job: Job, now: datetime) -> dict[str, Any]:
    """Counts, percent, rate and remaining time of a job, as JSON values."""
    began, before = job.meter.began or job.started_at, job.meter.before
    run = None if began is None else Run(at=began, settled=before)
    rate = _rate(job.status, job.counts, run, _until(job, now))
    return {
        "counts": documented(job.counts),
        "percent": _percent(job.status, job.counts, job.direction),
        "items_per_second": rate,
        "eta_seconds": _eta(job.status, job.counts, rate),
    }


class Progress(Value):
    """How the present run goes; rates in items a second, durations in milliseconds.

    ``now`` is the rate of the last ten seconds. Durations are those of all runs; a chunk's
    is shared among its items where its operation works them together.
    """

    since: datetime
    settled: int
    now: float | None
    mean: float | None
    eta: Remaining | None
    chunk_ms: Quantiles | None
    item_ms: Quantiles | None


def of_run(job: Job, now: datetime) -> Progress | None:
    """How a job's present run goes, or its last one went; None before the first."""
    meter, until = job.meter, _until(job, now)
    if meter.began is None:
        return None
    moving = job.status in (JobStatus.RUNNING, JobStatus.ROLLING_BACK)
    return Progress(
        since=meter.began,
        settled=meter.settled,
        now=meter.now(now) if moving else None,
        mean=meter.mean(until),
        eta=meter.remaining(job.left, now) if moving else None,
        chunk_ms=meter.chunks.quantiles(),
        item_ms=meter.items.quantiles(),
    )


def deadline_of(job: Job, now: datetime) -> Outlook | None:
    """A job's deadline and whether it will be met; None when it has none."""
    then = job.options.on_deadline
    return outlook(job.schedule, then, job.missed_at, _expectation(job, now))


def _expectation(job: Job, now: datetime) -> Expectation | None:
    """When the job ends: by its own run, or as long as that tells nothing by others."""
    if job.status.terminal:
        ended = job.finished_at or now
        return Expectation(ends_at=ended, rests_on="its end", over=True)
    moving = job.status is JobStatus.RUNNING
    remaining = job.meter.remaining(job.left, now) if moving and job.sealed else None
    if remaining is not None:
        ends = now + min(timedelta(seconds=remaining.seconds), MAX_AHEAD)
        return Expectation(ends_at=ends, rests_on="its present run")
    if job.measured is None:
        return None
    begins = now if job.start_at is None else max(now, job.start_at)
    return by_measure(job.measured, items=job.counts.pending, begins=begins, cap=job.caps.rate)


def _until(job: Job, now: datetime) -> datetime:
    """When the present run ended: now, while it goes on."""
    return (job.updated_at or now) if job.status is JobStatus.PAUSED else job.finished_at or now


def _first_run(started: datetime | None, run: Run | None) -> Run | None:
    if run is not None or started is None:
        return run
    return Run(at=started, settled=0)


def documented(counts: Counts) -> dict[str, int]:
    """The counts with their total."""
    return {
        "total": counts.total,
        "pending": counts.pending,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "rolled_back": counts.rolled_back,
        "conflict": counts.conflict,
        **({"planned": counts.planned} if counts.planned else {}),
    }


def _percent(status: JobStatus, counts: Counts, direction: Cause | None) -> float | None:
    if status is JobStatus.COMPLETED and not counts.total:
        # There was nothing to do, and that is done.
        return 100.0
    if status is not JobStatus.ROLLING_BACK:
        return _share(counts.total - counts.pending, counts.total)
    if direction is Cause.ROLLBACK:
        back = counts.rolled_back + counts.conflict
        return _share(back, back + counts.succeeded)
    if direction is Cause.REAPPLY:
        return _share(counts.succeeded, counts.succeeded + counts.rolled_back)
    return None


def _share(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0


def _direction(event: JobEvent) -> Cause | None:
    match event:
        case UndoStarted():
            return event.direction
        case ChunksPlanned():
            return event.chunks[0].cause if event.chunks else None
        case ChunksClosed():
            if any(chunk.rolled_back for chunk in event.chunks):
                return Cause.ROLLBACK
            return Cause.REAPPLY if any(chunk.succeeded for chunk in event.chunks) else None
        case _:
            return None


def _rate(status: JobStatus, counts: Counts, run: Run | None, until: datetime) -> float | None:
    if run is None or status in _WITHOUT_RATE:
        return None
    seconds = (until - run.at).total_seconds()
    settled = counts.total - counts.pending - run.settled
    return round(settled / seconds, 2) if seconds > 0 else None


def _eta(status: JobStatus, counts: Counts, rate: float | None) -> float | None:
    if status is not JobStatus.RUNNING or not rate:
        return None
    return round(counts.pending / rate, 1)
