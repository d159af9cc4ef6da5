"""A small engine in memory: the real aggregate and the real hub, no database and no broker.

What it decides is decided at once; ``work`` settles items, so that a test says what happens
when. It serves the same protocols as the real one, whose tests are in ``test_real_engine``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from domain.buckets import SharedLimit, changed, possible
from domain.caps import adjusted
from domain.commands import Adjustment, JobSpec
from domain.compensation import Stage
from domain.errors import InvalidCommand, JobNotFound, PlanChanged, RecordNotFound, StoreUnavailable
from domain.events import Cause, JobEvent
from domain.job import Job, Stamp
from domain.options import Caps
from domain.outcomes import ClosedChunk, ItemStatus
from domain.progress import of_event
from domain.ranges import Ranges
from domain.registry import Registry
from domain.schedule import rescheduled
from domain.waiting import Surroundings, Waiting, waiting
from streams.attempts import Attempt, ItemPast
from streams.broadcasts import Broadcasts
from streams.callers import Caller
from streams.clock import SystemClock
from streams.deadletters import Listed, Redriven
from streams.diffs import Change, Difference, Run, Summary
from streams.intake import Memory
from streams.items import ALL, Fault, ItemView, Wanted
from streams.live import LiveEvent, LiveHub, Placed
from streams.messaging import PartitionView
from streams.plans import PlanView
from streams.previewing import Page as PreviewPage
from streams.previewing import Preview, WantedUndo
from streams.saying import NOTHING_MORE, More, Verb
from streams.situation import LimitView
from streams.stores.audit import Report
from streams.stores.buckets import BucketRow
from streams.stores.compensations import CompensationView
from streams.stores.decisions import Decision
from streams.stores.error_groups import ErrorGroup
from streams.stores.ledger import LedgerEntry
from streams.stores.log import LogPage, Tagged
from streams.stores.read_model import Page
from streams.stores.records.past import Blame, Standing, Version
from streams.stores.workers import WorkerRow
from tests.api.rules import MemoryRules
from tests.api.tail import MemoryTail

AT = datetime(2025, 1, 31, 12, tzinfo=UTC)
DIGEST = "0" * 64


@dataclass
class Vitality:
    ready: bool = True
    reasons: list[str] = field(default_factory=list)
    waiting: int = 0
    retained: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    memory: Memory | None = None


@dataclass
class MemoryEngine:
    registry: Registry
    hub: LiveHub = field(default_factory=LiveHub)
    health_now: Vitality = field(default_factory=Vitality)
    ending: str = ""
    events_of: dict[str, list[JobEvent]] = field(default_factory=dict)
    lines_of: dict[str, list[bytes]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    uploads_begun: int = 0
    uploads_failed: list[BaseException] = field(default_factory=list)
    filters: dict[str, Any] = field(default_factory=dict)
    wanted: Wanted = ALL
    runs: tuple[Run, Run] | None = None
    key: str | None = None
    past: dict[tuple[str, int], list[Version]] = field(default_factory=dict)
    """Versions of records, the latest first."""
    fault: Exception | None = None
    breaks_at: int | None = None
    """Position of the item that cannot be read."""
    reads: int = 0
    taken: int = 0
    """Items that were read so far."""
    items_left: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody reads items any more."""
    limited: dict[str, Caps] = field(default_factory=dict)
    compensated: list[CompensationView] = field(default_factory=list)
    around: Surroundings = field(default_factory=Surroundings)
    letters_now: Listed = field(default_factory=lambda: Listed([]))
    shares: dict[str, float] = field(default_factory=dict)
    rules_kept: MemoryRules = field(default_factory=MemoryRules)
    tail: MemoryTail = field(init=False)
    broadcasts: Broadcasts = field(init=False)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _closed: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tail = MemoryTail(self.hub)
        self.broadcasts = Broadcasts(self.hub, SystemClock())

    # -- gateway ------------------------------------------------------------------

    async def submit(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: AsyncIterator[bytes],
        *,
        key: str | None,
        job_id: str | None = None,
    ) -> Decision:
        self._fail()
        self.registry.get(spec.operation)
        items = await self._taken(lines)
        job = self._job_for(key)
        if not job.version:
            self.lines_of[job.id] = items
            size = sum(map(len, items))
            job.submit(
                self._stamp(), caller.tenant, spec, items=len(items), size=size, sha256=DIGEST
            )
        return self._decided(job)

    async def open(self, caller: Caller, spec: JobSpec, *, key: str | None) -> Decision:
        self.registry.get(spec.operation)
        job = self._job_for(key)
        if not job.version:
            job.open_draft(self._stamp(), caller.tenant, spec)
        return self._decided(job)

    async def append(
        self, caller: Caller, job_id: str, part: int, lines: AsyncIterator[bytes]
    ) -> Decision:
        job = self._known(caller.tenant, job_id)
        items = await self._taken(lines)
        self.lines_of.setdefault(job_id, []).extend(items)
        size = sum(map(len, items))
        job.append(self._stamp(), part=part, items=len(items), size=size, sha256=DIGEST)
        return self._decided(job)

    async def seal(
        self,
        caller: Caller,
        job_id: str,
        items: int | None,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        job = self._known(caller.tenant, job_id, if_version)
        job.seal(self._stamp(), items)
        return self._decided(job)

    async def command(
        self,
        caller: Caller,
        job_id: str,
        verb: Verb,
        reason: str,
        *,
        key: str | None = None,
        more: More = NOTHING_MORE,
    ) -> Decision:
        self._fail()
        job = self._known(caller.tenant, job_id, more.if_version)
        self.selected = more.retry
        if verb == "retry":
            failed = Ranges.of(view.position for view in self._views(job) if view.error)
            chosen = Ranges.of(more.retry.items) if more.retry.items else None
            job.retry(self._stamp(), failed, reason, chosen)
        else:
            told = {"release": "lift_hold"}.get(verb, verb)
            getattr(job, told)(self._stamp(), reason)
        return self._decided(job)

    async def adjust(
        self,
        caller: Caller,
        job_id: str,
        wanted: Adjustment,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        job = self._known(caller.tenant, job_id, if_version)
        caps = adjusted(job.caps, wanted)
        priority = job.priority if wanted.priority is None else wanted.priority
        stamp = self._stamp()
        schedule = rescheduled(job.schedule, wanted, stamp.at, begun=job.begun)
        job.adjust(stamp, caps, priority, wanted.reason, schedule=schedule)
        return self._decided(job)

    async def course(self, tenant: str, job_id: str, points: int) -> list[JobEvent]:
        self._known(tenant, job_id)
        return self.events_of[job_id][-points:]

    # -- situation ----------------------------------------------------------------

    async def waiting(self, job: Job) -> Waiting | None:
        return waiting(job, AT, self.around)

    async def partitions(self) -> list[PartitionView]:
        return [PartitionView("commands", 0, "coordinators", 9, 7)]

    async def letters(self) -> Listed:
        return self.letters_now

    async def redrive(self, code: str) -> Redriven:
        found = [group for group in self.letters_now.groups if group.code == code]
        return Redriven(sent=sum(group.letters for group in found))

    async def limits(self) -> list[LimitView]:
        return [self._limit(name) for name in sorted(self.limited)]

    async def limit(self, name: str, wanted: SharedLimit, *, by: str) -> LimitView:
        names = possible([*self.registry])
        if name not in names:
            raise InvalidCommand(f"no operation draws from {name!r}; possible: {names}")
        self.limited[name] = changed(self.limited.get(name, Caps()), wanted)
        return self._limit(name)

    def _limit(self, name: str) -> LimitView:
        caps = self.limited[name]
        row = BucketRow(name, caps.rate, caps.concurrency, 0.0, None, 1, 1, "anna", 1.5)
        return LimitView(row, calls=3, jobs=2, waiting=1)

    async def workers(self) -> list[WorkerRow]:
        return [
            WorkerRow("w-1", ("test",), 2, 7, "here", 1 << 20, 5.0, 100.0, 110.0, 1 << 19, 105.0)
        ]

    async def weights(self) -> dict[str, float]:
        return self.shares

    async def weigh(self, tenant: str, weight: float) -> None:
        self.shares[tenant] = weight

    # -- queries ------------------------------------------------------------------

    async def job(self, tenant: str, job_id: str, version: int | None = None) -> Job:
        self._fail()
        self._known(tenant, job_id)
        events = self.events_of[job_id]
        if version is not None and version > len(events):
            raise JobNotFound(f"job {job_id} has no version {version}")
        found = Job.project(None, events[:version])
        assert found is not None
        return found

    async def just_decided(self, tenant: str, job_id: str) -> Job:
        return await self.job(tenant, job_id)

    async def jobs(self, tenant: str, **filters: Any) -> Page:
        self.filters = filters
        return Page([{"job_id": job_id} for job_id in self._jobs], "more")

    async def events(self, tenant: str, job_id: str, after: int, limit: int) -> list[JobEvent]:
        self._fail()
        self.reads += 1
        self._known(tenant, job_id)
        return self.events_of[job_id][after : after + limit]

    async def log(self, tenant: str, after: int | None, limit: int, wanted: Tagged = ()) -> LogPage:
        self._fail()
        self.reads += 1
        return self.tail.page(tenant, after, limit, wanted)

    async def items(
        self,
        tenant: str,
        job_id: str,
        wanted: Wanted,
        *,
        after: int = -1,
        limit: int | None = None,
        payload: bool = True,
    ) -> AsyncGenerator[ItemView, None]:
        job = self._known(tenant, job_id)
        self.wanted = wanted
        views = [v for v in self._views(job) if v.position > after]
        views = [v for v in views if wanted.matches(v.status, v.error.code if v.error else "")]
        try:
            for view in views[:limit]:
                if view.position == self.breaks_at:
                    raise StoreUnavailable("the database is away")
                self.taken += 1
                yield view
        finally:
            self.items_left.set()

    async def codes(self, tenant: str, job_id: str) -> list[str]:
        self._known(tenant, job_id)
        return ["odd", "timeout"]

    async def errors(self, tenant: str, job_id: str) -> list[ErrorGroup]:
        failed = [view for view in self._views(self._known(tenant, job_id)) if view.error]
        samples = [{"item": v.position, "message": "no", "pointer": "/n"} for v in failed]
        return [ErrorGroup("odd", "no", len(failed), samples[:3])] if failed else []

    async def item_past(self, tenant: str, job_id: str, position: int) -> ItemPast:
        view = self._views(self._known(tenant, job_id))[position]
        entry = LedgerEntry(position, view.status, view.result)
        return ItemPast([Attempt(view.chunk or 0, Cause.APPLY, AT, entry)], [view.item])

    async def diff(
        self,
        tenant: str,
        this: Run,
        other: Run,
        changes: Collection[Change],
        *,
        key: str | None = None,
        after: int = -1,
        limit: int | None = None,
    ) -> AsyncGenerator[Difference, None]:
        self.runs, self.key = (this, other), key
        known = [self._views(self._known(tenant, run.job_id)) for run in (this, other)]
        pairs = list(zip_longest(*known))
        every = [
            Difference(position, Change.SAME if a == b else Change.STATUS, a, b)
            for position, (a, b) in enumerate(pairs)
        ]
        for one in [d for d in every if d.change in changes and d.position > after][:limit]:
            yield one

    async def diff_summary(
        self, tenant: str, this: Run, other: Run, *, key: str | None = None
    ) -> Summary:
        summary = Summary()
        async for one in self.diff(tenant, this, other, frozenset(Change), key=key):
            summary.add(one)
        return summary

    async def history(
        self, tenant: str, table: str, record_id: int, *, cursor: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        below = [v for v in self._past(table, record_id) if v.write.version < (cursor or 10**9)]
        more = len(below) > limit
        return below[:limit], below[limit - 1].write.version if more else None

    async def blame(self, tenant: str, table: str, record_id: int) -> Standing:
        last = self._past(table, record_id)[0]
        values = last.values or {}
        columns = {key: Blame(value, last.write, certain=True) for key, value in values.items()}
        return Standing(last.write, columns)

    async def compensations(
        self, tenant: str, job_id: str, stages: Collection[Stage], *, after: int, limit: int
    ) -> list[CompensationView]:
        self._known(tenant, job_id)
        wanted = [one for one in self.compensated if one.tried.stage in stages]
        return [one for one in wanted if one.tried.position > after][:limit]

    async def undo_preview(
        self, tenant: str, job_id: str, page: PreviewPage, wanted: WantedUndo
    ) -> Preview:
        job = self._known(tenant, job_id)
        job.check_undo()
        return Preview(job.version, job.undo_direction, exact=job.spec.operation in self.registry)

    async def hashes(
        self, tenant: str, job_id: str, after: int, limit: int
    ) -> list[tuple[int, str]]:
        events = self._known(tenant, job_id) and self.events_of[job_id]
        return [(event.version, "0" * 64) for event in events if event.version > after][:limit]

    async def verify(self, tenant: str, job_id: str) -> tuple[Report, bool]:
        self._known(tenant, job_id)
        return Report(jobs=1), True

    async def plan(self, tenant: str, job_id: str) -> PlanView:
        job = self._known(tenant, job_id)
        job.check("apply")
        return PlanView(
            job, "0" * 64, validated_only=False, changed=[], more=False, applied_by=None
        )

    async def to_apply(self, tenant: str, job_id: str, digest: str | None) -> JobSpec:
        plan = await self.plan(tenant, job_id)
        if digest not in (None, plan.digest):
            raise PlanChanged(f"the digest of plan {job_id} is {plan.digest}", pointer="/digest")
        return plan.job.spec

    async def lines(self, tenant: str, job_id: str) -> AsyncIterator[bytes]:
        self._known(tenant, job_id)
        yield b"\n".join(self.lines_of[job_id]) + b"\n"

    async def health(self) -> Vitality:
        return self.health_now

    # -- what a test makes happen -------------------------------------------------

    def work(self, job_id: str, *, publish: bool = True) -> None:
        """Settle every item: those that say ``"odd": true`` fail."""
        job = self._jobs[job_id]
        while chunks := job.plan(self._stamp(), room=2, slow=False):
            closed = []
            for chunk in chunks:
                odd = sum(b'"odd":true' in self.lines_of[job_id][p] for p in chunk.items)
                closed.append(
                    ClosedChunk(chunk=chunk.chunk, succeeded=len(chunk.items) - odd, failed=odd)
                )
            job.record(self._stamp(), closed)
        self._decided(job, publish=publish)

    def undo(self, job_id: str) -> None:
        """Put everything back."""
        job = self._jobs[job_id]
        job.undo(self._stamp(), "")
        while chunks := job.plan(self._stamp(), room=1, slow=False):
            done = [effect.items for effect in job.applied if effect.chunk == chunks[0].target]
            job.record(self._stamp(), [ClosedChunk(chunk=chunks[0].chunk, rolled_back=done[0])])
        self._decided(job)

    def progress(self, job_id: str, **counts: int) -> None:
        """Tell of progress between two stored events."""
        event = self.events_of[job_id][-1]
        data = of_event(event.model_copy(update={"counts": event.counts.model_copy(update=counts)}))
        shown, tags = LiveEvent(job_id, None, "progress", data), self._jobs[job_id].spec.tags
        self.hub.publish(shown)
        self.hub.place(event.tenant, Placed(shown, None, tags))

    def publish(self, event: JobEvent) -> None:
        """Tell those who listen of a stored event."""
        self.hub.publish(self.hub.shown(event))
        self.tail.store(event, self._jobs[event.originator_id].spec.tags)

    # -- insides ------------------------------------------------------------------

    def _past(self, table: str, record_id: int) -> list[Version]:
        if (table, record_id) not in self.past:
            raise RecordNotFound(f"there was never a record {record_id} in {table}")
        return self.past[table, record_id]

    async def _taken(self, lines: AsyncIterator[bytes]) -> list[bytes]:
        text = b""
        try:
            async for block in lines:
                self.uploads_begun += 1
                text += block
        except BaseException as error:
            self.uploads_failed.append(error)
            raise
        return [line for line in text.split(b"\n") if line.strip()]

    def _job_for(self, key: str | None) -> Job:
        job_id = f"job-{len(self._jobs) + 1}"
        if key is not None:
            job_id = self.keys.setdefault(key, job_id)
        return self._jobs.setdefault(job_id, Job(id=job_id))

    def _known(self, tenant: str, job_id: str, if_version: int | None = None) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.tenant != tenant:
            raise JobNotFound(f"there is no job {job_id}; `countermand jobs` lists them")
        job.check_version(tenant, if_version)
        return job

    def _decided(self, job: Job, *, publish: bool = True) -> Decision:
        for event in job.collect_events():
            self.events_of.setdefault(job.id, []).append(event)
            if publish:
                self.publish(event)
        return Decision(job.id, job.version)

    def _views(self, job: Job) -> list[ItemView]:
        fault = Fault("odd", "no", "/n", False)
        views = []
        for position, line in enumerate(self.lines_of[job.id]):
            odd = b'"odd":true' in line
            status = ItemStatus.FAILED if odd else ItemStatus.SUCCEEDED
            if not job.started_at:
                status, odd = ItemStatus.PENDING, False
            result = None if odd else {"n": position}
            views.append(
                ItemView(position, status, result, None, 1.5, fault if odd else None, 0, 1, line)
            )
        return views

    def _stamp(self) -> Stamp:
        return Stamp(actor="local", command_id="test", at=AT)

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault
