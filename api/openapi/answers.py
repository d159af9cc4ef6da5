"""Answers: the documents of jobs as closed models, for who writes clients from the document.

The handlers make these documents from what they have; a test compares the answers of every
route with what is said here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from domain.compensation import Stage
from domain.events import Cause, JobStatus
from domain.outcomes import ItemStatus
from domain.values import Unless, Value
from domain.views import CountsView, JobSummary, JobView
from domain.waiting import Waiting
from streams.diffs import Change
from streams.stores.audit import Kind as FindingKind

Cursor = Annotated[str | None, Field(description="Where the next page begins; null at the end.")]
Percent = Annotated[float, Field(ge=0, le=100)]


class Fault(Value):
    """One fault of a body that has several."""

    pointer: str
    detail: str


class Problem(Value):
    """Why a request was refused (RFC 9457); ``code`` is stable, ``detail`` is for people."""

    type: Annotated[str, Field(pattern=r"^urn:countermand:problem:[a-z0-9_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str
    request_id: Annotated[str, Field(description="Under which the server's log has it.")]
    pointer: Annotated[str, Field(description="A JSON pointer into the body.")] = Unless("")
    errors: tuple[Fault, ...] = Unless(())


class Job(JobView):
    """A job; ``waiting`` says why it does not go on, ``links`` where to go from here."""

    waiting: Waiting | None
    links: dict[str, str]


class ListedJob(JobSummary):
    """A job as lists show it."""

    links: dict[str, str]


class Jobs(Value):
    """A page of jobs."""

    items: tuple[ListedJob, ...]
    next_cursor: Cursor


class Appended(Value):
    """A part of a draft's items that has arrived."""

    job_id: str
    part: int
    version: int


class Shown(Value):
    """What a live stream says of an event, or of progress between two of them."""

    event: str
    job_id: str
    version: int
    at: datetime
    actor: str
    status: JobStatus
    counts: CountsView
    percent: float | None
    items_per_second: float | None
    eta_seconds: float | None


class Event(Shown, extra="allow"):
    """A stored event; which other fields it has is its kind's (docs/asyncapi.json has them)."""

    command_id: str


class Events(Value):
    """A page of events."""

    items: tuple[Event, ...]
    next_after: Annotated[int | None, Field(description="Where to go on; null at the end.")]


class CoursePoint(Value):
    """How far the job was at a moment of its past."""

    version: int
    at: datetime
    status: JobStatus
    counts: CountsView
    percent: float | None
    items_per_second: float | None


class Course(Value):
    """How the job went."""

    items: tuple[CoursePoint, ...]


class ItemFault(Value):
    """Why an item is not done."""

    code: str
    message: str
    pointer: str
    retryable: bool


class Item(Value):
    """Where an item stands."""

    position: Annotated[int, Field(ge=0)]
    status: ItemStatus
    result: Any
    score: float | None
    duration_ms: float | None
    error: ItemFault | None
    chunk: int | None
    attempt: int | None
    changes: Annotated[Any, Field(description="What a dry run would change.")] = Unless(None)
    item: Annotated[Any, Field(description="What was sent.")] = Unless(None)
    shredded: bool = Unless(False)


class Items(Value):
    """A page of items."""

    items: tuple[Item, ...]
    next_cursor: Cursor


class Attempt(Value):
    """What a chunk has said of an item."""

    chunk: int
    cause: Cause
    at: datetime
    status: ItemStatus | None
    result: Any
    error: ItemFault | None
    duration_ms: float | None


class ItemPast(Item):
    """An item with all that has become of it; ``bodies`` are what was sent and each edit."""

    bodies: tuple[Any, ...]
    attempts: tuple[Attempt, ...]


class ErrorGroup(Value):
    """Failures that look alike, with a few of them."""

    code: str
    signature: str
    count: int
    samples: tuple[dict[str, Any], ...]


class ErrorGroups(Value):
    """The failures of a job."""

    items: tuple[ErrorGroup, ...]


class RuleIssues(Value):
    """What one rule has said of a job's items."""

    rule: str
    layer: str
    severity: str
    issues: Annotated[int, Field(ge=0)]
    items: Annotated[int, Field(ge=0)]


class Issues(Value):
    """What an operation that validates has said; ``score`` is the mean of the items' scores."""

    items: Annotated[int, Field(ge=0)]
    items_with_issues: Annotated[int, Field(ge=0)]
    score: float | None
    severities: dict[str, int]
    rules: tuple[RuleIssues, ...]


class Difference(Value):
    """An item of two runs."""

    position: Annotated[int, Field(ge=0)]
    change: Change
    this: Item | None
    other: Item | None


class Differences(Value):
    """A page of items that differ."""

    items: tuple[Difference, ...]
    next_cursor: Cursor


class Moved(Value):
    """How many items went from one status to another."""

    this: str
    other: str
    items: int


class DifferenceSummary(Value):
    """How many items differ, and in which way."""

    changes: dict[Change, int]
    moves: tuple[Moved, ...]


class ChangedRecord(Value):
    """A record that is not as a dry run has seen it; ``version`` is null when it is gone."""

    table: str
    record: int
    planned: int
    version: int | None


class EventHash(Value):
    """The hash of a stored event, in which that of the one before it is."""

    version: int
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Hashes(Value):
    """The hashes of a job's events; ``next_after`` is null at the end."""

    job_id: str
    items: tuple[EventHash, ...]
    next_after: int | None


class AuditFinding(Value):
    """What is wrong, in words; ``version`` is null where it is not about one event."""

    kind: FindingKind
    message: str
    version: int | None


class Verification(Value):
    """What was looked at of a job, and what is wrong with it.

    ``signed`` says whether the signed heads were at hand: without them a changed last event and a
    missing tail are not found. ``more`` findings are counted and not told.
    """

    job_id: str
    sound: bool
    signed: bool
    events: int
    parts: int
    outcomes: int
    findings: tuple[AuditFinding, ...]
    more: int


class FoundPlan(Value):
    """What a dry run has found, and whether it still holds."""

    job_id: str
    operation: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    counts: CountsView
    validated_only: bool
    changed: tuple[ChangedRecord, ...]
    more_changed: bool
    applied_by: str | None


class Obstruction(Value):
    """An item that an undo would not put back; ``by`` is a job, an actor, or empty."""

    position: int
    record: str
    by: str
    reason: str


class UndoPreview(Value):
    """What an undo would do now."""

    job_id: str
    version: int
    direction: Cause
    exact: bool
    items: int
    restored: int
    conflict: int
    failed: int
    outside: tuple[str, ...]
    compensated: int
    compensations: tuple[int, ...]
    obstructions: tuple[Obstruction, ...]
    next_cursor: Cursor


class Compensation(Value):
    """How far the compensation of an item has come."""

    position: int
    stage: Stage
    generation: int
    attempts: int
    error: ItemFault | None
    at: datetime


class Compensations(Value):
    """A page of compensations."""

    items: tuple[Compensation, ...]
    next_cursor: Cursor


class Ticket(Value):
    """A ticket for one request of the job's live stream."""

    ticket: str
    expires_at: datetime
    links: dict[str, str]
