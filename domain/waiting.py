"""Waiting: why a job does not go on, or not faster, in one word and in a sentence. Pure.

Only what somebody can do something about, or has decided: a job that is being worked at
the speed of its workers waits for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.events import JobStatus
from domain.job import Job
from domain.options import Ending, OnDeadline
from domain.values import Value


class Hold(StrEnum):
    """What a job waits for."""

    ITEMS = "items"
    APPROVAL = "approval"
    SCHEDULED = "scheduled"
    DEPENDENCY = "dependency"
    PAUSED = "paused"
    DEADLINE = "deadline"
    BROKER = "broker"
    NO_WORKER = "no_worker"
    MEMORY = "memory"
    BACKOFF = "backoff"
    RATE = "rate"
    CONCURRENCY = "concurrency"
    LIMIT = "limit"
    BEHIND = "behind"


class Waiting(Value):
    """Why a job waits; ``since`` is when that began, or when the job last moved."""

    reason: Hold
    text: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Ahead:
    """A job that has work with the workers of the same system."""

    job_id: str
    tenant: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around a job: the broker, the workers of its system, and whose work they have.

    ``slow`` is None when no process here knows the job's operation. ``going_on`` are jobs
    that it is to come after and that have not ended. ``memory`` names the workers, when each
    of them takes nothing more until it has less than its budget; ``limit`` says to what a
    provider or a queue holds its jobs. ``system`` is that of the operation, where it is another
    than the job's kind says: it has been renamed.
    """

    slow: bool | None = False
    broker_away: str = ""
    slots: int = 1
    ahead: Sequence[Ahead] = ()
    going_on: frozenset[str] = frozenset()
    memory: str = ""
    limit: str = ""
    system: str = ""


_TO_END = {
    Ending.SUCCEEDED: "to succeed",
    Ending.PARTLY: "to succeed at least in part",
    Ending.ANY: "to end",
}
_BEYOND = "it fails as soon as it goes on, unless the deadline is moved or lifted before"
_LEFT = {
    JobStatus.DRAFT: f"it is not sealed, and its deadline passed at {{}}: {_BEYOND}",
    JobStatus.AWAITING_APPROVAL: (
        "nobody has approved it, and its deadline passed at {}: it fails as soon as somebody "
        "does; submit it with a later one"
    ),
    JobStatus.PAUSED: f"it is paused, and its deadline passed at {{}}: {_BEYOND}",
}
"""What nobody works on, and whose deadline therefore nobody heeds until it goes on."""
_ACTIVE = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.ROLLING_BACK)


def by_itself(job: Job, now: datetime) -> Waiting | None:
    """Why a job waits that nobody but a caller can move on."""
    since = job.updated_at
    if since is None:
        return None
    late = _left_too_late(job, now)
    if late is not None:
        return late
    if job.status is JobStatus.DRAFT and not job.awaited:
        return Waiting(reason=Hold.ITEMS, text="its items follow, until it is sealed", since=since)
    if job.status is JobStatus.AWAITING_APPROVAL:
        return Waiting(reason=Hold.APPROVAL, text="somebody else must approve it", since=since)
    if job.status is JobStatus.PAUSED:
        why = f" ({job.reason})" if job.reason else ""
        return Waiting(reason=Hold.PAUSED, text=f"it is paused{why}; resume it", since=since)
    if job.status is JobStatus.PENDING and job.start_at is not None:
        text = f"it starts at {job.start_at.isoformat()}; lift start_at to start it now"
        return Waiting(reason=Hold.SCHEDULED, text=text, since=since)
    return None


def _left_too_late(job: Job, now: datetime) -> Waiting | None:
    """What rests beyond the deadline that stops it fails as soon as it goes on.

    Whoever is told no more than how it goes on would be surprised by how it ends.
    """
    deadline = job.deadline
    stops = job.options.on_deadline is OnDeadline.STOP and job.missed_at is None
    if not stops or deadline is None or deadline > now:
        return None
    said = _LEFT.get(job.status, "")
    if not said:
        return None
    return Waiting(reason=Hold.DEADLINE, text=said.format(deadline.isoformat()), since=deadline)


def waiting(job: Job, now: datetime, around: Surroundings) -> Waiting | None:
    """Why a job waits; None when it is worked, or at rest."""
    found = by_itself(job, now) or _following(job, around)
    if found is not None or job.status not in _ACTIVE or job.updated_at is None:
        return found
    told = _stopped(job, around) or _held(job, now, around) or _behind(job, around)
    if told is None:
        return None
    reason, text = told
    capped = reason in (Hold.RATE, Hold.CONCURRENCY)
    since = job.capped_at if capped and job.capped_at is not None else job.updated_at
    return Waiting(reason=reason, text=text, since=since)


def _following(job: Job, around: Surroundings) -> Waiting | None:
    going_on = [after for after in job.awaited if after.job_id in around.going_on]
    if not going_on or job.updated_at is None:
        return None
    parts = [f"job {after.job_id} {_TO_END[after.end]}" for after in going_on[:3]]
    more = len(going_on) - len(parts)
    parts += [f"{more} more"] if more else []
    text = f"it waits for {', '.join(parts)}"
    return Waiting(reason=Hold.DEPENDENCY, text=text, since=job.updated_at)


def _stopped(job: Job, around: Surroundings) -> tuple[Hold, str] | None:
    system = around.system or job.spec.operation.split(".", 1)[0]
    if around.broker_away:
        return Hold.BROKER, f"the broker is away: {around.broker_away}"
    if around.slow is None:
        return Hold.NO_WORKER, f"no process here has {job.spec.operation}; install its package"
    if around.slots == 0 and (job.open or job.wants_chunks()):
        return Hold.NO_WORKER, f"no worker for {system} is alive; start one"
    if around.memory and (job.open or job.wants_chunks()):
        return Hold.MEMORY, (
            f"the workers for {system} take no more until they have less memory ({around.memory}); "
            "raise worker_memory_budget, or start another"
        )
    return None


def _held(job: Job, now: datetime, around: Surroundings) -> tuple[Hold, str] | None:
    if job.deferred and not job.open and not job.backlog:
        first = min(entry.due for entry in job.deferred)
        left = max((first - now).total_seconds(), 0.0)
        items = len(job.put_off)
        return Hold.BACKOFF, f"{items} failed items are tried again, the first in {left:.0f} s"
    shared = (Hold.LIMIT, around.limit) if around.limit and job.rationed else None
    if not job.caps or not job.wants_chunks():
        return shared
    until, slow = job.held_until, bool(around.slow)
    if job.caps.concurrency is not None and not job.allowed_at_once(slow=slow):
        what = "items" if slow else "chunks"
        return Hold.CONCURRENCY, f"at most {job.caps.concurrency} {what} are worked at once"
    if until is not None and (until > now or not job.allowed(now, slow=slow)):
        return Hold.RATE, f"it is held to {job.caps.rate:g} items a second"
    return shared


def _behind(job: Job, around: Surroundings) -> tuple[Hold, str] | None:
    if job.open or not job.wants_chunks():
        return None
    others = [other for other in around.ahead if other.job_id != job.id]
    if not others:
        return None
    known = [other.job_id for other in others if other.tenant == job.tenant]
    hidden = len(others) - len(known)
    parts = [f"job {job_id}" for job_id in known[:3]]
    more = len(known) - len(parts)
    parts += [f"{more} more"] if more else []
    parts += [f"{hidden} of other tenants"] if hidden else []
    return Hold.BEHIND, f"the workers have chunks of {', '.join(parts)}"
