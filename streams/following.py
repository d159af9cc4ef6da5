"""Following: jobs that come after others start, are skipped, or take the others' results.

Asked by the coordinator within its transaction, whatever it was that made it look at the job.
Results are taken some windows at a time, a transaction each: what has been taken stands in
the job's parts, and another coordinator goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
from sqlalchemy import Connection

from domain.approval import ApprovalPolicy
from domain.commands import JobSpec
from domain.dependencies import Ends, all_ended
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.job import Job, Stamp
from domain.jobs import Jobs
from domain.options import After
from domain.outcomes import ItemStatus
from domain.ports import Clock, Ids
from domain.registry import Registry
from streams.items import ItemReading, ItemView, Standing, Wanted
from streams.specs import fits_whole, most_of_whole
from streams.stores import children, paces, payloads, waits
from streams.stores.payloads import PartCutter
from streams.stores.survey import WINDOW, survey

WINDOWS_AT_ONCE = 4
"""Of results that one transaction takes, so that it is short."""


def require_known(connection: Connection, tenant: str, spec: JobSpec) -> None:
    """Raise InvalidCommand for a job that is to come after one that the tenant does not have."""
    after = spec.options.after
    if not after:
        return
    known = waits.known_to(connection, tenant, [each.job_id for each in after])
    for number, each in enumerate(after):
        if each.job_id not in known:
            raise InvalidCommand(
                f"there is no job {each.job_id} to come after; submit that one first",
                pointer=f"/options/after/{number}/job_id",
            )


def whom_to_tell(connection: Connection, job: Job) -> tuple[str, ...]:
    """The jobs behind one that has ended; whom no message reaches, the sweep finds."""
    return tuple(waits.behind(connection, job.id)) if job.status.terminal else ()


class Follower:
    """Has jobs go on that wait for others."""

    def __init__(
        self, jobs: Jobs, registry: Registry, clock: Clock, ids: Ids, approval: ApprovalPolicy
    ) -> None:
        self._jobs = jobs
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._approval = approval

    def heed(self, connection: Connection, job: Job) -> bool:
        """See how the others have ended; returns whether there is more to take from one."""
        awaited = job.awaited
        if not awaited or _is_held(connection, job):
            return False
        ends = waits.ends_of(connection, [after.job_id for after in awaited])
        job.heed(self._stamp(), ends)
        consumed = job.options.consumed
        if consumed is None or job.status is not JobStatus.DRAFT or not all_ended(awaited, ends):
            return False
        return self._take(connection, job, consumed, ends)

    def _take(self, connection: Connection, job: Job, consumed: After, ends: Ends) -> bool:
        """Some more of the results; with the last of them the job may start."""
        source = self._jobs.load(consumed.job_id)
        why = self._hindrance(job, source)
        if not why and self._append(connection, job, consumed, source):
            return True
        if not why and not job.counts.total:
            why = f"no item of job {source.id} has succeeded, so there is nothing to do"
        if why:
            job.skip(self._stamp(), source.id, ends[source.id], why)
            return False
        operation = self._registry.get(job.spec.operation)
        why = self._approval.needed(operation, job.options, job.counts.total)
        measured = paces.known(connection, job.tenant, job.spec)
        job.seal_fed(self._stamp(), why, measured)
        job.heed(self._stamp(), ends)
        return False

    def _hindrance(self, job: Job, source: Job) -> str:
        """Why no more of the results can be taken; empty when they can."""
        if source.emptied is not None:
            why = f"the results of job {source.id} are archived in {source.emptied.name}"
            return f"{why}; they cannot be taken any more"
        if job.taken_at is not None and self._jobs.has_gone_on(source.id, job.taken_at):
            why = f"job {source.id} has gone on while its results were being taken"
            return f"{why}; submit this one again"
        # How many they are is known before any is taken; how large, once they have been.
        if not fits_whole(job.spec, source.counts.succeeded, job.size):
            why = f"job {source.id} has more results than an atomic job may hold"
            return f"{why}, which is {most_of_whole()}; use on_error roll_back"
        return ""

    def _append(self, connection: Connection, job: Job, consumed: After, source: Job) -> bool:
        """A part from the next windows that have results; False when no more has any."""
        after = (max(job.parts) + 1) * WINDOW - 1 if job.parts else -1
        cutter, last, found = PartCutter(), -1, 0
        parts: list[payloads.Part] = []
        for number, (window, views) in enumerate(_succeeded(connection, source, after), start=1):
            for view in views:
                parts += cutter.feed(orjson.dumps(taken(consumed.consume, view.result)) + b"\n")
            last, found = window, found + len(views)
            if found and number >= WINDOWS_AT_ONCE:
                break
        if not found:
            return False
        parts += cutter.finish()
        stored, now = cutter.upload(self._ids.new()), self._clock.now().timestamp()
        payloads.store_whole(connection, stored, job.tenant, now, parts)
        first = job.counts.total
        job.feed(
            self._stamp(),
            part=last,
            items=stored.items,
            size=stored.size,
            sha256=stored.sha256,
            taken_at=source.version,
        )
        payloads.claim_upload(connection, stored, job_id=job.id, part=last, first_item=first)
        return True

    def _stamp(self) -> Stamp:
        return Stamp("engine", "", self._clock.now())


def _is_held(connection: Connection, job: Job) -> bool:
    """Whether a draft waits that its batch goes on: other jobs of a paused batch are paused."""
    if job.status is not JobStatus.DRAFT or job.spec.parent is None:
        return False
    return children.status_of(connection, job.spec.parent) is JobStatus.PAUSED


def taken(fields: Mapping[str, str], result: object) -> dict[str, object]:
    """An item made of a result; what the result does not have is null."""
    known = result if isinstance(result, dict) else {}
    return {name: known.get(of) for name, of in fields.items()}


def _succeeded(
    connection: Connection, source: Job, after: int
) -> Iterator[tuple[int, list[ItemView]]]:
    """Windows of a job with the items that have succeeded, behind a position."""
    closed = survey(connection, source.id)
    standing = Standing(source.id, source.counts.total, source.waiting, source.dropped, closed)
    wanted = Wanted(statuses=frozenset({ItemStatus.SUCCEEDED}))
    reading = ItemReading(standing, wanted, payload=False)
    for first, end in reading.spans(after):
        views, _ = reading.read(connection, first, end, None)
        yield first // WINDOW, views
