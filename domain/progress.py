"""Progress: how far a job is and how long it will take, for those who watch it. Pure.

One reader sees a job (:class:`~domain.job.Job`), another only one of its events.
``percent`` is that of the present direction of work: of items settled, or of those put
back while a job is rolling back. ``items_per_second`` is the mean of the present run, which
began when the job was started, resumed, retried or given other caps; it and ``eta_seconds``
are None where they would mean nothing. All are None where an event alone does not tell: a
list, which has seen those before it, carries on. :class:`Progress` says more, of a job only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from domain.events import (
    KEEPING,
    Cause,
    ChildrenMoved,
    ChunksClosed,
    ChunksPlanned,
    JobCancelled,
    JobEmptied,
    JobEvent,
    JobStatus,
    JobStopped,
    Run,
    UndoStarted,
)
from domain.job import Job
from domain.job_state import OF_UNDOS
from domain.metering import Quantiles, Remaining
from domain.outcomes import ClosedChunk, Counts
from domain.schedule import MAX_AHEAD, Expectation, Outlook, by_measure, outlook
from domain.values import Value

_WITHOUT_RATE = OF_UNDOS | {JobStatus.DRAFT, JobStatus.PENDING}

_GIVING_UP: tuple[type[JobEvent], ...] = (JobCancelled, JobStopped)
"""With which the items that nobody has attempted are skipped: nobody has worked them."""
_AFTER_THE_END: tuple[type[JobEvent], ...] = (*KEEPING, JobEmptied)


def of_event(event: JobEvent) -> dict[str, Any]:
    """What the live stream says of a stored event, as JSON values."""
    return {
        "job_id": event.originator_id,
        "version": event.originator_version,
        "event": event.alias,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "status": event.status.value,
        "counts": documented(event.counts),
        "percent": _percent(event),
        **_pace(event, _rate_told(event)),
    }


def of_event_after(
    event: JobEvent, *, before: Counts, percent: float | None, rate: float | None
) -> dict[str, Any]:
    """What a list keeps after an event, by what it kept before.

    The percent of an undo is not rounded: the next event adds to it, however little that is.
    """
    settled = before.total - before.pending
    told = of_event(event) | _pace(event, _rate_after(event, settled, rate))
    return told | {"percent": _percent_after(event, before, percent)}


def of_job(job: Job, now: datetime) -> dict[str, Any]:
    """Counts, percent, rate and remaining time of a job, as JSON values."""
    rate = _mean(job, now)
    return {
        "counts": documented(job.counts),
        "percent": round(job.percent, 2),
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
    """When the job ends: by its own run, or as long as that tells nothing by others.

    An undo has no deadline, and when it has ended is not when the work had.
    """
    if _is_undone(job):
        return None
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


def _is_undone(job: Job) -> bool:
    """Whether an undo is what the job does, or has done last.

    Its status tells, as an earlier release has left a direction in snapshots of jobs that were
    retried; only one that was done again has the status that it had.
    """
    stands = job.ended or job.status
    return stands in OF_UNDOS or (stands.terminal and job.direction is Cause.REAPPLY)


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


def _percent(event: JobEvent) -> float | None:
    counts = event.counts
    if event.status is JobStatus.ROLLING_BACK:
        return _percent_undone(event)
    if event.status is JobStatus.COMPLETED and not counts.total:
        # There was nothing to do, and that is done.
        return 100.0
    return _share(counts.total - counts.pending, counts.total)


def _percent_undone(event: JobEvent) -> float | None:
    """How much of an undo is done, if the counts tell: they have what earlier ones did as well."""
    size, counts, direction = _undo_size(event), event.counts, _direction(event)
    if size and isinstance(event, UndoStarted):
        return 0.0
    if direction is None:
        return None
    if direction is Cause.ROLLBACK:
        done, whole = _back(counts), _back(counts) + counts.succeeded
    else:
        done, whole = counts.succeeded, counts.succeeded + counts.rolled_back
    return _share(done, whole) if size in (0, whole) else None


def _percent_after(event: JobEvent, before: Counts, known: float | None) -> float | None:
    size = _undo_size(event)
    if size and isinstance(event, ChunksClosed | ChildrenMoved):
        more = _back(event.counts) - _back(before)
        if isinstance(event, ChunksClosed):
            more = sum(map(_put_back, event.chunks))
        return 100.0 * (round((known or 0.0) * size / 100) + more) / size
    told = _percent(event)
    return known if told is None else told


def _back(counts: Counts) -> int:
    return counts.rolled_back + counts.conflict


def _undo_size(event: JobEvent) -> int:
    """How many items an undo puts back; 0 where an earlier release does not say."""
    if event.status is not JobStatus.ROLLING_BACK or event.run is None:
        return 0
    return event.counts.total - event.run.settled


def _put_back(chunk: ClosedChunk) -> int:
    return chunk.rolled_back + chunk.succeeded + chunk.conflict + chunk.failed


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
        case ChildrenMoved():
            # A batch is put back, and never again done as a whole.
            return Cause.ROLLBACK
        case _:
            return None


def _pace(event: JobEvent, rate: float | None) -> dict[str, float | None]:
    return {"items_per_second": rate, "eta_seconds": _eta(event.status, event.counts, rate)}


def _rate_told(event: JobEvent) -> float | None:
    if isinstance(event, (*_GIVING_UP, *_AFTER_THE_END)):
        return None
    return _rate_of(event, event.counts.total - event.counts.pending)


def _rate_after(event: JobEvent, settled: int, known: float | None) -> float | None:
    if isinstance(event, _AFTER_THE_END):
        return known
    return _rate_of(event, settled) if isinstance(event, _GIVING_UP) else _rate_told(event)


def _rate_of(event: JobEvent, settled: int) -> float | None:
    if event.status in _WITHOUT_RATE:
        return None
    return _rate(settled, _first_run(event.started_at, event.run), event.at)


def _mean(job: Job, now: datetime) -> float | None:
    if (job.ended or job.status) in _WITHOUT_RATE:
        return None
    if not job.spec.steps:
        return job.meter.mean(_until(job, now))
    # A batch measures nothing itself: its jobs do.
    settled = job.counts.total - job.counts.pending
    return _rate(settled, _first_run(job.started_at, job.run), _until(job, now))


def _rate(settled: int, run: Run | None, until: datetime) -> float | None:
    if run is None:
        return None
    seconds = (until - run.at).total_seconds()
    return round((settled - run.settled) / seconds, 2) if seconds > 0 else None


def _eta(status: JobStatus, counts: Counts, rate: float | None) -> float | None:
    if status is not JobStatus.RUNNING or not rate:
        return None
    return round(counts.pending / rate, 1)
