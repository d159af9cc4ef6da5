"""The state of a job, and what can be read off it. No decision is taken here.

:mod:`domain.job_fold` tells how events change it, :class:`~domain.job.Job` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field, PrivateAttr

from domain import planning
from domain.archiving import ArchiveFile
from domain.caps import Bucket
from domain.commands import JobSpec
from domain.events import Cause, Child, JobStatus, Run
from domain.metering import Meter
from domain.options import After, Caps, JobOptions, Limit, Schedule
from domain.outcomes import Counts, Deferred, ItemStatus
from domain.ranges import Ranges
from domain.reversal import Part
from domain.schedule import Measured
from domain.tolerance import Tally, exceeded
from domain.values import Shared, Unless, Value
from domain.verbs import kept_verbs, verbs_of

OF_UNDOS = frozenset({JobStatus.ROLLING_BACK, JobStatus.ROLLED_BACK, JobStatus.ROLLBACK_INCOMPLETE})
"""The statuses of a job that is being undone, or was."""


class Backlog(BaseModel):
    """Items that wait for a chunk. ``whole`` ones are not cut further."""

    items: Ranges
    cause: Cause
    parent: int | None = None
    target: int | None = None
    whole: bool = False
    trial: int = 1

    def pieces(self, size: int) -> Iterator[Ranges]:
        """The chunks of ``size`` items that the entry is cut into, lazily."""
        if self.whole:
            yield self.items
            return
        rest = self.items
        while rest:
            head, rest = rest.take(size)
            yield head

    def most(self, size: int, *, chunks: int, items: int) -> tuple[int, int]:
        """How many pieces may begin when so much may, and how many items they have."""
        if self.whole:
            return 1, len(self.items)
        items = min(len(self.items), items, chunks * size)
        return -(-items // size), items


class OpenChunk(BaseModel):
    """A chunk that was dispatched and has no recorded outcome yet."""

    items: Ranges
    cause: Cause
    target: int | None = None
    trial: int = 1


@dataclass(frozen=True, slots=True)
class Effect:
    """A closed chunk whose records stand as it left them, with the number of such items.

    A job of a million items has some ten thousand of them: they are light, and copies of the
    job share them.
    """

    chunk: int
    items: int


class Word(Value):
    """Who has decided something about the keeping of a job, when and why."""

    by: str
    at: datetime
    reason: str


class Archived(Word):
    """Who has put a job away; ``was`` is how it had ended, ``file`` has what is given up."""

    was: JobStatus
    file: ArchiveFile | None = None


class JobState(BaseModel):
    """State of one job: what its events say, and what waits, runs and stands."""

    id: str
    version: int = 0
    traceparent: str = Unless("")
    tenant: str = ""
    created_by: str = ""
    authors: list[str] = []
    """Who else has had a hand in what the job is to do; none of them approves it."""
    never_agreed: bool = Unless(False)
    """Whether it has ended as a draft, or before it was approved: then nothing of it may run."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    spec: JobSpec = Shared(JobSpec(operation="none"))
    status: JobStatus = JobStatus.DRAFT
    status_before_undo: JobStatus | None = None
    direction: Cause | None = None
    counts: Counts = Shared(Counts())
    sealed: bool = False
    parts: list[int] = []
    size: int = 0
    epoch: int = 0
    generation: int = 0
    next_chunk: int = 0
    backlog: list[Backlog] = []
    prepared: Ranges = Shared(Ranges())
    """What of an atomic job is ready for its commit, and pending until then."""
    dropped: Ranges = Shared(Ranges())
    """What was left unattempted when the job was stopped."""
    withdrawn: Ranges = Shared(Ranges())
    """What was taken out of the draft."""
    repeated: Ranges = Shared(Ranges())
    """What is skipped, as other items are called the same."""
    deferred: list[Deferred] = []
    """What failed and is tried again; as long as it waits it is pending."""
    tallies: list[Tally] = []
    """What each of the job's limits has counted."""
    edits: int = 0
    """How often items got new bodies."""
    limit: Limit | None = None
    """Which limit has stopped the job, until it goes on."""
    open: dict[int, OpenChunk] = {}
    applied: list[Effect] = []
    undone: list[Effect] = []
    undo_total: int = 0
    ms_per_item: float | None = None
    undo_ms_per_item: float | None = None
    last_items: int = planning.FIRST_ITEMS
    reason: str = ""
    free: bool = False
    """Whether the jobs that it was to come after have ended as they should."""
    skipped: str = ""
    """Why it was not done, if that is because of another job."""
    taken_at: int | None = None
    """The version of the job whose results become its items, once some were taken."""
    children: list[Child] = []
    """The jobs of a batch, by step."""
    undoing: list[int] = []
    """Steps of a batch whose undo has not begun yet."""
    forced: bool = False
    """Whether the undo of a batch that is under way overwrites what others wrote."""
    roll_back: bool = False
    """Whether the cancel that is under way puts back what was done."""
    adjusted_caps: Caps | None = None
    """What the caps were changed to after the job was submitted."""
    adjusted_priority: int | None = None
    bucket: Bucket = Field(default_factory=Bucket)
    """What the cap of the rate has left."""
    capped_at: datetime | None = None
    """Since when the present caps hold."""
    meter: Meter = Field(default_factory=Meter)
    """How fast the present run goes; other caps begin another one."""
    running_since: datetime | None = None
    """When the job began, or was last resumed or retried: from then on its timeout counts."""
    start_at: datetime | None = None
    """The moment for which the job waits; None once it may start."""
    deadline: datetime | None = None
    missed_at: datetime | None = None
    """When the deadline had passed unmet, or a retry began beyond it; it is not heeded again."""
    measured: Measured | None = None
    """How fast jobs of the operation went before this one."""
    held: Word | None = None
    """Who says that it may be neither shredded nor put away."""
    shredded: Word | None = None
    """Who has made what was sent unreadable."""
    archived: Archived | None = None
    """Who has put the job away for good."""
    _target_ms: float = PrivateAttr(planning.TARGET_MS)

    # -- questions ----------------------------------------------------------------

    @property
    def options(self) -> JobOptions:
        """The caller's options."""
        return self.spec.options

    @property
    def caps(self) -> Caps:
        """How fast the job may go now."""
        return self.options.caps if self.adjusted_caps is None else self.adjusted_caps

    @property
    def schedule(self) -> Schedule:
        """For which moment the job waits, and its deadline of now."""
        return Schedule(start_at=self.start_at, deadline=self.deadline)

    @property
    def priority(self) -> int:
        """The job's priority now; ``spec`` has that of its submission."""
        return self.spec.priority if self.adjusted_priority is None else self.adjusted_priority

    @property
    def pace(self) -> planning.Pace:
        """What the planner may know of the work so far, in its present direction."""
        total = self.counts.total
        undoing = self.status is JobStatus.ROLLING_BACK
        return planning.Pace(
            ms_per_item=(self.undo_ms_per_item if undoing else None) or self.ms_per_item,
            bytes_per_item=self.size / total if total else 0.0,
            last_items=self.last_items,
            target_ms=self._target_ms,
        )

    def aim(self, target_ms: float) -> None:
        """Have fast chunks take so many milliseconds: the installation says so, not the job."""
        self._target_ms = target_ms

    @property
    def percent(self) -> float:
        """How much of the present direction of work is settled, 0 to 100."""
        if self.status is JobStatus.ROLLING_BACK:
            return self._percent_undone()
        total = self.counts.total
        if not total:
            return 100.0 if self.status is JobStatus.COMPLETED else 0.0
        return 100.0 * (total - self.counts.pending) / total

    def _percent_undone(self) -> float:
        if self.undo_total:
            return 100.0 * (self.undo_total - self.left) / self.undo_total
        if self.children and self.run and (size := self.counts.total - self.run.settled):
            return 100.0 * max(size - self._left_of_steps(), 0) / size
        back = self.counts.rolled_back + self.counts.conflict
        return 100.0 * back / ((back + self.counts.succeeded) or 1)

    def _left_of_steps(self) -> int:
        """How many items the jobs of a batch have still to put back: it puts none back itself."""
        moving = [child for n, child in enumerate(self.children) if self._goes_back(n)]
        return sum(child.counts.succeeded for child in moving)

    def _goes_back(self, step: int) -> bool:
        """Whether the undo of a batch that is under way puts a step back."""
        return step in self.undoing or self.children[step].status in OF_UNDOS

    def possible(self) -> list[str]:
        """What a caller may ask of the job in its present status."""
        if self.emptied is not None and not self.emptied.sealed:
            return []
        verbs = verbs_of(
            self.status,
            sealed=self.sealed,
            dry_run=self.options.dry_run,
            fed=self.options.consumed is not None,
            batch=bool(self.spec.steps),
        )
        if self.never_agreed:
            verbs -= {"retry"}
        held, shredded = self.held is not None, self.shredded is not None
        return sorted(kept_verbs(verbs, held=held, shredded=shredded))

    @property
    def kept(self) -> str:
        """How the job is kept, for a sentence that begins with its status."""
        said = ""
        if self.archived is not None:
            reason = f" ({self.archived.reason})" if self.archived.reason else ""
            said = f" by {self.archived.by}{reason}"
        if self.shredded is not None:
            said += f" and its items were shredded by {self.shredded.by} ({self.shredded.reason})"
        return f"{said} and held by {self.held.by} ({self.held.reason})" if self.held else said

    @property
    def emptied(self) -> ArchiveFile | None:
        """The file that has what the job was worked with, once that is given up here."""
        return None if self.archived is None else self.archived.file

    @property
    def ended(self) -> JobStatus | None:
        """How the job has ended, whether or not it was put away since; None while it goes on."""
        if self.archived is not None:
            return self.archived.was
        return self.status if self.status.terminal else None

    @property
    def awaited(self) -> tuple[After, ...]:
        """The jobs whose ends keep it from its start, as long as nothing else does."""
        if self.free or not self.options.after:
            return ()
        fed = self.status is JobStatus.DRAFT and self.options.consumed is not None
        return self.options.after if fed or self.status is JobStatus.PENDING else ()

    @property
    def run(self) -> Run | None:
        """The present run, or the last one; None before the first."""
        began = self.meter.began
        return None if began is None else Run(at=began, settled=self.meter.before)

    @property
    def left(self) -> int:
        """Items that wait to be settled, in the present direction of work."""
        if self.status is JobStatus.ROLLING_BACK:
            return self._undo_waiting()
        return self.counts.pending

    def _undo_waiting(self) -> int:
        """How many items the present undo has still to put back."""
        sizes = {effect.chunk: effect.items for effect in (*self.applied, *self.undone)}
        undos: list[Backlog | OpenChunk] = [*self.backlog, *self.open.values()]
        return sum(len(undo.items) or sizes.get(undo.target or 0, 0) for undo in undos)

    @property
    def undo_direction(self) -> Literal[Cause.ROLLBACK, Cause.REAPPLY]:
        """Which way an undo would go: back, or forward again after an undo that was done.

        After ``rollback_incomplete`` it goes on in the same direction with what is left.
        """
        forward = self.status is JobStatus.ROLLED_BACK or self._reapply_incomplete()
        return Cause.REAPPLY if forward else Cause.ROLLBACK

    def undo_targets(self, direction: Cause) -> list[Effect]:
        """What stands that an undo in that direction would put back, in its order."""
        targets = self.applied if direction is Cause.ROLLBACK else self.undone
        return targets[::-1]

    def to_put_back(self, direction: Cause, parts: Sequence[Part]) -> int:
        """How many items an undo in that direction puts back: of those parts, or all."""
        if parts:
            return sum(len(part.items) for part in parts)
        return sum(effect.items for effect in self.undo_targets(direction))

    def _standing(self, undo: Backlog | OpenChunk) -> int:
        """How many items an undo chunk has still to put back."""
        if undo.items:
            return len(undo.items)
        effects = self.applied if undo.cause is Cause.ROLLBACK else self.undone
        for effect in reversed(effects):
            if effect.chunk == undo.target:
                return effect.items
        return 0

    def items_of(self, chunk: int) -> int:
        """How many items the outcome of an open chunk must speak of."""
        opened = self.open[chunk]
        return self._standing(opened) if opened.cause.undoing else len(opened.items)

    def _reapply_incomplete(self) -> bool:
        incomplete = self.status is JobStatus.ROLLBACK_INCOMPLETE
        return incomplete and self.direction is Cause.REAPPLY

    def _stood(self) -> JobStatus:
        """The status before the first undo of a row; a retry in between starts a new row."""
        undone = self.status in (JobStatus.ROLLED_BACK, JobStatus.ROLLBACK_INCOMPLETE)
        return self.status_before_undo if undone and self.status_before_undo else self.status

    @property
    def waiting(self) -> Ranges:
        """The pending items: they wait for a chunk, or for the outcome of theirs."""
        found = Ranges()
        entries: list[Backlog | OpenChunk] = [*self.backlog, *self.open.values()]
        for entry in entries:
            if not entry.cause.undoing:
                found |= entry.items
        return found | self.prepared | self.put_off

    @property
    def put_off(self) -> Ranges:
        """The pending items that have failed and are tried again; a part of ``waiting``."""
        again: list[Deferred | Backlog | OpenChunk] = [*self.deferred]
        again += [entry for entry in self.backlog if entry.trial > 1]
        again += [chunk for chunk in self.open.values() if chunk.trial > 1]
        return Ranges.from_spans(span for entry in again for span in entry.items.spans)

    @property
    def next_due(self) -> datetime | None:
        """When the next attempt may begin; None when nothing waits for one, or may not."""
        if not self.deferred or self.status is not JobStatus.RUNNING:
            return None
        return min(entry.due for entry in self.deferred)

    @property
    def is_to_roll_back(self) -> bool:
        """Whether a cancel is under way that puts back what was done; no other takes that back."""
        return self.status is JobStatus.CANCELLING and self.roll_back

    @property
    def minds_failures(self) -> bool:
        """Whether ``record`` must be told which items of a chunk have failed, and why."""
        return self.options.retry is not None or any(limit.codes for limit in self.options.limits)

    @property
    def limit_hit(self) -> Limit | None:
        """The limit that the job's failures exceed, so that it must be stopped.

        The caller then closes every open chunk, and with the last one recorded it is.
        """
        if not self.tallies or self.status is not JobStatus.RUNNING:
            return None
        return exceeded(self.options.limits, self.tallies, self.counts.total)

    def as_it_stands(self) -> Self:
        """A copy that later events do not change; what is immutable is shared."""
        return self.model_copy(
            update={
                "parts": list(self.parts),
                "children": list(self.children),
                "undoing": list(self.undoing),
                "authors": list(self.authors),
                "backlog": [entry.model_copy() for entry in self.backlog],
                "open": dict(self.open),
                "applied": list(self.applied),
                "undone": list(self.undone),
                "deferred": list(self.deferred),
                "meter": self.meter.as_it_stands(),
                "tallies": [tally.as_it_stands() for tally in self.tallies],
            }
        )

    def _abandoned(self) -> Counts:
        """The counts once nothing more is tried: what waits for another attempt has failed."""
        failed = len(self.put_off)
        counts = self.counts.moved(ItemStatus.PENDING, ItemStatus.FAILED, failed)
        return counts.moved(ItemStatus.PENDING, ItemStatus.SKIPPED, counts.pending)

    def _is_done(self) -> bool:
        # A batch has nothing to do itself, and ends with its children.
        return self._nothing_waits() and not self.prepared and not self.spec.steps

    def _is_prepared(self) -> bool:
        """Whether all of an atomic job waits for its commit, but for what has failed."""
        running = self.status is JobStatus.RUNNING
        return running and bool(self.prepared) and self._nothing_waits()

    def _nothing_waits(self) -> bool:
        return not (self.open or self.backlog or self.deferred) and self.sealed

    def _resting_status(self) -> JobStatus:
        """In which status it ends, when nothing is left to do."""
        if self.status is not JobStatus.ROLLING_BACK:
            return self._final_status()
        if self.direction is None or self.undo_targets(self.direction):
            # Some could not be put back, or were not to be.
            return JobStatus.ROLLBACK_INCOMPLETE
        if self.direction is Cause.REAPPLY and self.status_before_undo:
            return self.status_before_undo
        return JobStatus.ROLLED_BACK

    def _final_status(self) -> JobStatus:
        if self.counts.failed == 0:
            # Some may be left of a stopped job of which only a part was retried.
            return JobStatus.COMPLETED_WITH_ERRORS if self.dropped else JobStatus.COMPLETED
        if self.counts.succeeded + self.counts.planned == 0:
            return JobStatus.FAILED
        return JobStatus.COMPLETED_WITH_ERRORS
