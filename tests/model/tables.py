"""What the model keeps: one job's tables, its records, and the bus.

Every method that writes is one transaction: it runs to its end, or was not called at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from eventsourcing.persistence import StoredEvent

from domain.commands import COMMAND, Command, Selection
from domain.compensation import Stage, Tried
from domain.events import Cause, JobStatus
from domain.options import After, Caps, JobOptions, Start
from domain.outcomes import ClosedChunk, Fault, ItemStatus
from domain.ranges import Ranges
from domain.reversal import Part
from domain.steps import Step
from tests.model.buckets import BUCKETS, SharedRow

LEASE = 5
CLAIM_BY = 5

Nature = Literal["s", "n", "f", "t", "x", "k", "u", "b", "l"]
"""What an operation does with an item.

``s`` succeeds; ``n`` succeeds and changes no record; ``f`` fails; ``t`` fails until it is
mended; ``x`` is skipped; ``k`` kills the worker; ``u`` succeeds, and its undo kills the
worker; ``b`` succeeds, and its undo fails until it is mended; ``l`` takes long, where the work is
slow: it fails when its job has less patience.
"""

NATURES: tuple[Nature, ...] = ("s", "n", "f", "t", "x", "k", "u", "b", "l")
LONG = 4
"""Seconds that an item takes which takes long."""
TIMEOUT = ("timeout", True)
"""With which code an item fails that takes too long; it says that it is retryable."""


WRONG: dict[str, tuple[str, bool]] = {
    "f": ("bad", False),
    "t": ("later", True),
    "k": ("worker_died", False),
}
"""With which code an item fails, by its nature, and whether it says that it is retryable."""


def wrong(nature: str) -> tuple[str, bool]:
    """The code of a failure, and whether it is retryable."""
    # Any item fails whose worker was killed as often as a killer kills its own.
    return WRONG.get(nature, WRONG["k"])


def is_like(select: Selection, code: str, position: int) -> bool:
    """Whether an item that has failed with a code is wrong in the way that a retry names."""
    signatures = select.signatures
    by_code = not select.codes or code in select.codes
    return by_code and (not signatures or signature(code, position) in signatures)


def signature(code: str, position: int) -> str:
    """What the message of a failure is like: that of every other item is another."""
    return f"{code} {'odd' if position % 2 else 'even'}"


@dataclass(slots=True)
class Record:
    """A record as somebody sees it who knows nothing of the engine.

    ``effects`` is the counter that is not idempotent. ``base`` is the value without the
    job's effect; ``pinned`` the value of an edit that an undo must not touch, unless by force:
    then it is ``buried``, until that is undone. ``outside`` counts what stands elsewhere.
    """

    version: int = 1
    value: str = "original"
    base: str = "original"
    pinned: str | None = None
    buried: str | None = None
    effects: int = 0
    outside: int = 0

    def edit(self, value: str) -> None:
        """An actor changes the record by hand."""
        self.version += 1
        self.value = value
        if self.effects:
            self.pinned = value
        else:
            self.base, self.pinned = value, None


@dataclass(frozen=True, slots=True)
class Image:
    """A record before a chunk changed it, and the version that the chunk left."""

    value: str
    left: int


@dataclass(slots=True)
class ChunkRow:
    """A dispatched chunk; the fields of the table ``chunks``."""

    chunk: int
    cause: Cause
    items: Ranges
    parent: int | None
    target: int | None
    epoch: int
    claim_by: int
    attempt: int = 1
    starts: int = 0
    lease_until: int | None = None
    open: bool = True

    def overdue(self, now: int) -> bool:
        """Whether nobody has claimed it in time, or who did is silent."""
        return (self.claim_by if self.lease_until is None else self.lease_until) < now


Ledger = dict[int, ItemStatus | None]
"""What a chunk says of items; None: an undo failed, the item stays what it was."""


@lru_cache(maxsize=2048)
def _closed(summary: bytes) -> ClosedChunk:
    return ClosedChunk.model_validate_json(summary)


@dataclass(slots=True)
class OutcomeRow:
    """The first row of a chunk wins, for ever. ``summary`` is a ClosedChunk as JSON."""

    summary: bytes
    ledger: Ledger
    sequence: int
    images: dict[int, Image] = field(default_factory=dict)
    recorded: bool = False

    @property
    def closed(self) -> ClosedChunk:
        """What the aggregate is told."""
        return _closed(self.summary)


@dataclass(frozen=True, slots=True)
class File:
    """What an archive has of a job; ``clear``: the items can be read there."""

    outcomes: Mapping[int, OutcomeRow]
    clear: bool


@dataclass(slots=True)
class Control:
    """The job's row: the fence, and the version that a live aggregate must have.

    ``open``: somebody must see to it that the job goes on.
    """

    epoch: int = 0
    version: int = 0
    open: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A skip, a retry, an edit, or a cancel or stop, at its place: before chunk ``at``.

    ``bodies`` are the new natures of items that were edited.
    """

    at: int
    kind: Literal["skip", "retry", "edit", "end"]
    items: Ranges = field(default_factory=Ranges)
    bodies: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class JobTables:
    """All rows of one job. ``natures`` belong to the operation, by position.

    ``grave``: it must be approved, unless it is a draft that runs before its seal. What it does
    ``outside`` an undo must take back first; ``tried`` is what became of that, item by item.
    It ``draws`` from those buckets. ``timer`` is when the job is to be looked at, ``due`` what
    was last asked of it.
    ``awaits`` are the jobs whose ends it waits for. A batch has ``steps``, and each of its
    jobs ``parent``; ``moved``: the batch has not heard how the job is now. Of a job that is put
    away ``was`` is how it had ended, ``written`` names the file that has what was ``cleared``,
    and of which version of the job it is.
    """

    job_id: str
    natures: str
    slow: bool = False
    grave: bool = False
    outside: bool = False
    draws: tuple[str, ...] = ()
    options: JobOptions = field(default_factory=JobOptions)
    steps: tuple[Step, ...] = ()
    parent: str | None = None
    moved: bool = False
    awaits: tuple[After, ...] = ()
    timer: float | None = None
    due: float | None = None
    events: list[StoredEvent] = field(default_factory=list)
    status: JobStatus | None = None
    was: JobStatus | None = None
    written: tuple[int, str] | None = None
    cleared: bool = False
    snapshot: StoredEvent | None = None
    control: Control = field(default_factory=Control)
    chunks: dict[int, ChunkRow] = field(default_factory=dict)
    outcomes: dict[int, OutcomeRow] = field(default_factory=dict)
    results: dict[int, Ledger] = field(default_factory=dict)
    decisions: dict[str, str] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    to_undo: dict[int, set[int]] = field(default_factory=dict)
    generation: int = 0
    tried: dict[int, Tried] = field(default_factory=dict)
    bodies: dict[int, str] = field(default_factory=dict)
    """The natures of items that were edited."""
    errors: dict[tuple[int, int], tuple[str, bool]] = field(default_factory=dict)
    """With which code an item of a chunk has failed, and whether it says that it is retryable,
    where that is not told by its nature: it has taken too long."""
    forced: bool = False
    """Whether the undo overwrites what others wrote."""
    manifest: str | None = None
    seen: dict[int, int] = field(default_factory=dict)
    """Of an atomic job, a dry run, a job with a plan or a filter: the versions that it has seen."""

    @property
    def approval(self) -> str:
        """Why the job must be approved; empty when it need not."""
        eager = self.options.start is Start.EAGER
        return "grave" if self.grave and not (eager or self.options.dry_run) else ""

    @property
    def fed(self) -> bool:
        """Whether its items are results of another job."""
        return self.options.consumed is not None

    @property
    def ended(self) -> JobStatus | None:
        """How the job is, or had ended before it was put away."""
        return self.was or self.status

    def nature(self, position: int) -> str:
        """What the operation does with the item."""
        return self.bodies.get(position) or self.natures[position % len(self.natures)]

    @property
    def impatient(self) -> bool:
        """Whether items that take long take too long for it."""
        allowed = self.options.item_timeout
        return self.slow and allowed is not None and allowed < LONG

    def faults_in(self, chunk: int, ledger: Ledger) -> list[Fault]:
        """The failed items that a chunk's ledger names, as workers or their natures tell it."""
        said = ledger.items()
        return [Fault(p, *self.wrong(chunk, p)) for p, s in said if s is ItemStatus.FAILED]

    def wrong(self, chunk: int, position: int) -> tuple[str, bool]:
        """With which code an item has failed there, and whether it says that it is retryable."""
        return self.errors.get((chunk, position)) or wrong(self.nature(position))

    def settle(self, chunk: int, row: OutcomeRow) -> None:
        """Store an outcome; the results of slow items are part of it now."""
        assert chunk not in self.outcomes, "the first outcome wins"
        self.outcomes[chunk] = row
        self.results.pop(chunk, None)
        target = self.chunks[chunk].target
        if target is not None:
            self._undone(target, set(row.ledger))

    def begin_undo(self, status: ItemStatus, parts: Sequence[Part]) -> None:
        """What stands now is to be put back, the last commit first; or only a part of it."""
        commits = sorted(self.outcomes, key=lambda chunk: -self.outcomes[chunk].sequence)
        self.generation += 1
        self.to_undo = {target: set(self.standing(target, status)) for target in commits}
        if parts:
            named = {part.target: set(part.items) for part in parts}
            assert all(items <= self.to_undo[target] for target, items in named.items())
            self.to_undo = {t: named[t] for t in commits if t in named}

    def ask_outside(self, target: int, position: int) -> None:
        """Somebody outside is asked to take back what an item has done, the last one first."""
        known = self.tried.get(position)
        assert known is None or known.stage is not Stage.DONE, "asked for again what was done"
        behind = {p for p in self.to_undo[target] if p > position}
        spoken = {p for p in behind if p in self.tried and self.tried[p].of(self.generation)}
        assert behind == spoken, f"item {position} is taken back before {behind - spoken}"

    def _undone(self, target: int, positions: set[int]) -> None:
        for other, left in self.to_undo.items():
            if other == target:
                break
            assert not (left and positions), f"chunk {target} is undone before chunk {other}"
        self.to_undo[target] -= positions

    def standing(self, target: int, status: ItemStatus) -> Ranges:
        """The items whose latest word is that of ``target``, and is ``status``."""
        spoken: set[int] = set()
        for chunk in sorted(self.outcomes, reverse=True):
            said = {p: s for p, s in self.outcomes[chunk].ledger.items() if s is not None}
            if chunk == target:
                return Ranges.of(p for p, s in said.items() if s is status and p not in spoken)
            spoken |= set(said)
        return Ranges()

    def to_put_back(self, row: ChunkRow) -> Ranges:
        """The items of an undo chunk: its own, or all of its target that stand."""
        if row.items:
            return row.items
        assert row.target is not None
        rollback = row.cause is Cause.ROLLBACK
        return self.standing(
            row.target, ItemStatus.SUCCEEDED if rollback else ItemStatus.ROLLED_BACK
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A work message: chunks and the attempts that may claim them."""

    job_id: str
    epoch: int
    chunks: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Store:
    """All jobs' tables, the two topics, and the time in seconds."""

    jobs: dict[str, JobTables] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    commits: list[list[tuple[str, StoredEvent]]] = field(default_factory=list)
    """The events of all jobs, a list for each transaction that had some."""
    now: int = 0
    mended: bool = False
    names: int = 0
    asked: dict[str, Command] = field(default_factory=dict)
    """What callers have asked for, by command."""
    files: dict[str, File] = field(default_factory=dict)
    manifests: dict[str, tuple[str, dict[int, int]]] = field(default_factory=dict)
    """By upload, of which job a filter has found records, and at which version each."""
    shared: dict[str, SharedRow] = field(
        default_factory=lambda: {name: SharedRow(name) for name in BUCKETS}
    )
    limited: list[tuple[int, datetime, str, Caps]] = field(default_factory=list)
    """After how many transactions, and when, a bucket had which limits from then on."""

    def name(self, kind: str) -> str:
        """A fresh identifier."""
        return f"{kind}-{self.next()}"

    def next(self) -> int:
        """A number above all before."""
        self.names += 1
        return self.names

    def chance(self) -> float:
        """A number from 0 up to 1, not like the one before."""
        return self.next() * 0.37 % 1

    def send(self, command: Command) -> None:
        """Put a command, or a hint, on the commands topic."""
        self.commands.append(COMMAND.dump_json(command))
