"""Commands: what a caller may ask of a job. Closed and versioned.

Every command names its job, tenant and actor and has an id; a command that comes
twice (same ``command_id``) takes effect once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MAX_ITEMS = 10_000_000
MAX_CHUNK = 10_000
MAX_PARAMS_BYTES = 256_000
"""Params travel in events, and a message has an end."""
MAX_REASON = 2000
MAX_ATTEMPTS = 20
MAX_DELAY = 86_400.0
MAX_CODES = 50
MAX_LIMITS = 10
MAX_WINDOW = 10_000
MAX_NAMED = 10_000
"""Items that a command may name one by one."""
MAX_RATE = 1_000_000.0
MAX_CONCURRENCY = 10_000

_WORD = r"^[^\x00-\x1f\x7f]+$"
"""No control characters: PostgreSQL keeps no NUL, and a log line ends with the line."""


class Value(BaseModel):
    """An immutable value with no field but those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def Unless(default: Any) -> Any:  # noqa: N802 - stands where pydantic's Field does
    """A field that is written unless it has its default.

    What came later than others of its kind: who does not use it writes what was written
    before, byte by byte, and who does not know it reads that.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


class Start(StrEnum):
    """When the first chunk may run."""

    SEALED = "sealed"
    EAGER = "eager"


Code = Annotated[str, Field(min_length=1, max_length=100, pattern=_WORD)]
"""Why an item failed, as its operation calls it."""
Seconds = Annotated[float, Field(ge=0, le=MAX_DELAY, allow_inf_nan=False)]


class Backoff(Value):
    """How often items are tried, and how long they wait in between.

    ``attempts`` counts the first one. Before attempt n + 1 an item waits for a random part
    of ``delay * factor ** (n - 1)`` seconds, or of ``cap`` where that is less.
    """

    attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] = 3
    delay: Seconds = 1.0
    factor: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = 2.0
    cap: Seconds = 60.0

    def window(self, attempt: int) -> float:
        """Of how many seconds an item waits a part, after ``attempt`` attempts have failed."""
        return float(min(self.cap, self.delay * self.factor ** (attempt - 1)))


class RetryPolicy(Backoff):
    """Which failures are tried again by the job itself.

    Those that say they are ``retryable``; those of a code in ``codes`` by what stands there,
    whatever they say.
    """

    codes: Annotated[dict[Code, Backoff], Field(max_length=MAX_CODES)] = {}

    def backoff(self, code: str, *, retryable: bool) -> Backoff | None:
        """By what a failure is tried again; None when it is not."""
        return self.codes.get(code, self if retryable else None)


class Reaction(StrEnum):
    """What a job does that has more failures than it tolerates."""

    PAUSE = "pause"
    FAIL = "fail"


class Limit(Value):
    """Failures that a job tolerates: with more of them it pauses or fails.

    Either ``failed`` items, or ``percent`` of the job's items; with ``window``, of the last
    so many items that were settled (rounded up to whole chunks). ``codes`` are the failures
    that count, all of them when there is none.
    """

    failed: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] | None = None
    codes: Annotated[tuple[Code, ...], Field(max_length=MAX_CODES)] = ()
    then: Reaction = Reaction.FAIL

    def __str__(self) -> str:
        whose = f" of the last {self.window}" if self.window is not None else ""
        how = f" with {' or '.join(self.codes)}" if self.codes else ""
        if self.failed is None:
            return f"more than {self.percent:g} %{whose} failed{how}"
        more = f"more than {self.failed} items" if self.failed else "an item"
        return f"{more}{whose} failed{how}"


class OnError(StrEnum):
    """What becomes of what a job has done when it fails by a limit."""

    KEEP = "keep"
    ROLL_BACK = "roll_back"


JobId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Plan(Value):
    """A dry run that a job is to do for good, and nothing else: its digest says what."""

    job_id: JobId
    digest: Digest


Rate = Annotated[float, Field(gt=0, le=MAX_RATE, allow_inf_nan=False)]
Concurrency = Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)]
Priority = Annotated[int, Field(ge=0, le=10)]


class Caps(Value):
    """How fast a job may go; None is no cap.

    ``rate`` is items a second. ``concurrency`` is calls of the handler at once over all
    workers: items of a slow operation, chunks of any other.
    """

    rate: Rate | None = None
    concurrency: Concurrency | None = None

    def __bool__(self) -> bool:
        return self.rate is not None or self.concurrency is not None

    def lowers(self, other: Caps) -> bool:
        """Whether one of these caps is below that of the other."""
        return _below(self.rate, other.rate) or _below(self.concurrency, other.concurrency)


def _below(cap: float | None, other: float | None) -> bool:
    return cap is not None and (other is None or cap < other)


NO_CAPS = Caps()


class JobOptions(Value):
    """How a job is to be run; every field has a default.

    ``chunk_size`` bounds the failure domain (items that are worked in one chunk);
    several chunks may share a transaction. ``stop_on_error`` is short for a limit of no
    failed item. ``on_error`` says what is done when a limit is hit; with ``roll_back`` and no
    limit, no failed item is tolerated. A ``dry_run`` says what would become of each item, and
    changes nothing; a job with a ``plan`` does what a dry run has said. ``rate`` and
    ``concurrency`` are the caps that the job begins with.
    """

    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK)] | Literal["auto"] = "auto"
    start: Start = Start.SEALED
    retry: RetryPolicy | None = Unless(None)
    tolerate: Annotated[tuple[Limit, ...], Field(max_length=MAX_LIMITS)] = Unless(())
    stop_on_error: bool = Unless(False)
    on_error: OnError = Unless(OnError.KEEP)
    dry_run: bool = Unless(False)
    plan: Plan | None = Unless(None)
    rate: Rate | None = Unless(None)
    concurrency: Concurrency | None = Unless(None)

    @property
    def caps(self) -> Caps:
        """How fast the job may go at first."""
        if self.rate is None and self.concurrency is None:
            return NO_CAPS
        return Caps(rate=self.rate, concurrency=self.concurrency)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits of failures."""
        strict = self.on_error is OnError.ROLL_BACK and not self.tolerate
        return (Limit(failed=0),) if self.stop_on_error or strict else self.tolerate

    @property
    def codes(self) -> frozenset[str]:
        """The codes that the options name."""
        named = {code for limit in self.limits for code in limit.codes}
        return frozenset(named | (self.retry.codes.keys() if self.retry else set()))


Signature = Annotated[str, Field(min_length=1, max_length=2000)]
_NAMED = Field(max_length=MAX_NAMED)
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class JobSpec(Value):
    """What is to be done, without the items."""

    operation: Annotated[str, Field(min_length=1, max_length=200)]
    params: dict[str, Any] = {}
    options: JobOptions = JobOptions()
    name: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=50)] = ()
    priority: Priority = 5


class InlineItems(Value):
    """Items that travel in the command itself (up to 900 KB)."""

    kind: Literal["inline"] = "inline"
    items: tuple[Any, ...]


class UploadedItems(Value):
    """Items that were stored as payload parts before the command was sent."""

    kind: Literal["upload"] = "upload"
    upload_id: JobId
    items: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


ItemSource = Annotated[InlineItems | UploadedItems, Field(discriminator="kind")]


class BaseCommand(Value):
    """The envelope that all commands share."""

    schema_version: Literal[1] = 1
    command_id: Annotated[str, Field(min_length=1, max_length=100, pattern=_WORD)]
    job_id: JobId
    tenant: Annotated[str, Field(min_length=1, max_length=100, pattern=_WORD)]
    actor: Annotated[str, Field(min_length=1, max_length=200, pattern=_WORD)]


class SubmitJob(BaseCommand):
    """A whole job: what to do and all its items."""

    type: Literal["submit_job"] = "submit_job"
    spec: JobSpec
    source: ItemSource


class OpenJob(BaseCommand):
    """A draft whose items follow in parts."""

    type: Literal["open_job"] = "open_job"
    spec: JobSpec


class AppendItems(BaseCommand):
    """One more part of a draft's items; parts are numbered from 0 and each counts once."""

    type: Literal["append_items"] = "append_items"
    part: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    source: ItemSource


class SealJob(BaseCommand):
    """No more parts; ``items``, when given, must equal what has arrived."""

    type: Literal["seal_job"] = "seal_job"
    items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None


class PauseJob(BaseCommand):
    """Stop; once confirmed, nothing more takes effect."""

    type: Literal["pause_job"] = "pause_job"
    reason: Reason = ""


class ResumeJob(BaseCommand):
    """Go on after a pause."""

    type: Literal["resume_job"] = "resume_job"
    reason: Reason = ""


class CancelJob(BaseCommand):
    """Stop for good; what was not attempted is skipped.

    What was done stays, or with ``roll_back`` is put back. What is in flight is stopped, or
    with ``graceful`` ends first.
    """

    type: Literal["cancel_job"] = "cancel_job"
    reason: Reason = ""
    roll_back: bool = Unless(False)
    graceful: bool = Unless(False)


class Edit(Value):
    """The new body of an item."""

    item: Annotated[int, Field(ge=0, le=MAX_ITEMS)]
    body: Any


class Selection(Value):
    """Which items are worked again: the failed ones, unless one field says otherwise.

    ``items`` names positions of failed or unattempted items; ``codes`` and ``signatures``
    keep those of the failed that have one of each; ``unattempted`` takes those that were
    left when the job was stopped. ``edits`` names items and gives them other bodies;
    ``patch`` is merged (RFC 7396) into the body of each chosen item.
    """

    items: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    codes: Annotated[tuple[Code, ...], Field(max_length=MAX_CODES)] = ()
    signatures: Annotated[tuple[Signature, ...], Field(max_length=MAX_CODES)] = ()
    unattempted: bool = False
    edits: Annotated[tuple[Edit, ...], _NAMED] = ()
    patch: dict[str, Any] | None = None

    @property
    def by_error(self) -> bool:
        """Whether the failed ones are chosen by what is wrong with them."""
        return bool(self.codes or self.signatures)


class RetryJob(BaseCommand):
    """Work items again, as new chunks of the same job: the failed ones, or those selected."""

    type: Literal["retry_job"] = "retry_job"
    reason: Reason = ""
    select: Selection = Unless(Selection())


RecordName = Annotated[str, Field(max_length=200, pattern=r"^[^/\x00-\x1f]+/[0-9]{1,18}$")]
"""A record as conflicts name it: table and id."""


class UndoSelection(Value):
    """What of a job is undone: all that stands, unless one field names a part of it.

    ``items`` are positions, ``chunks`` numbers of chunks, ``records`` stand for the items
    that wrote to them. Items that are put back only together are taken together.
    """

    items: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    chunks: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_ITEMS)], ...], _NAMED] = ()
    records: Annotated[tuple[RecordName, ...], _NAMED] = ()

    @property
    def whole(self) -> bool:
        """Whether all that stands is meant."""
        return not (self.items or self.chunks or self.records)


class UndoJob(BaseCommand):
    """Restore what the job changed; on a job rolled back, restore what the undo changed.

    With ``force`` what others wrote since is overwritten as well, and kept for an undo of it.
    """

    type: Literal["undo_job"] = "undo_job"
    reason: Reason = ""
    select: UndoSelection = Unless(UndoSelection())
    force: bool = Unless(False)


class ApproveJob(BaseCommand):
    """Let a job start that awaits approval; its actor must not be one of those who made it."""

    type: Literal["approve_job"] = "approve_job"
    reason: Reason = ""


class RejectJob(BaseCommand):
    """End a job that awaits approval; its actor as in ApproveJob."""

    type: Literal["reject_job"] = "reject_job"
    reason: Reason = ""


class Cap(StrEnum):
    """The caps, by name."""

    RATE = "rate"
    CONCURRENCY = "concurrency"


class Adjustment(Value):
    """Other caps, another priority; what is not named stays as it is.

    ``lift`` names caps that hold no longer.
    """

    rate: Rate | None = None
    concurrency: Concurrency | None = None
    lift: Annotated[tuple[Cap, ...], Field(max_length=len(Cap))] = ()
    priority: Priority | None = None
    reason: Reason = ""


class AdjustJob(Adjustment, BaseCommand):
    """Change caps and priority while the job runs."""

    type: Literal["adjust_job"] = "adjust_job"


class RecordOutcomes(BaseCommand):
    """A hint: outcome rows of this job may be waiting to be recorded."""

    type: Literal["record_outcomes"] = "record_outcomes"


Command = Annotated[
    SubmitJob
    | OpenJob
    | AppendItems
    | SealJob
    | PauseJob
    | ResumeJob
    | CancelJob
    | RetryJob
    | UndoJob
    | ApproveJob
    | RejectJob
    | AdjustJob
    | RecordOutcomes,
    Field(discriminator="type"),
]

COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
