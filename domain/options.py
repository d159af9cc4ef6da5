"""Options: how a job is to be worked, as its caller says it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, Field

from domain.values import WORD, Unless, Value

MAX_ITEMS = 10_000_000
MAX_CHUNK = 10_000
MAX_ATTEMPTS = 20
MAX_DELAY = 86_400.0
MAX_CODES = 50
MAX_LIMITS = 10
MAX_WINDOW = 10_000
MAX_RATE = 1_000_000.0
MAX_CONCURRENCY = 10_000
MAX_AFTER = 100
MAX_TAKEN = 20
MAX_ATOMIC_ITEMS = 100_000
MAX_ATOMIC_BYTES = 50_000_000
"""What one transaction is to hold, and the memory of one worker."""


class Start(StrEnum):
    """When the first chunk may run."""

    SEALED = "sealed"
    EAGER = "eager"


Code = Annotated[str, Field(min_length=1, max_length=100, pattern=WORD)]
"""Why an item failed, as its operation calls it."""
Seconds = Annotated[float, Field(ge=0, le=MAX_DELAY, allow_inf_nan=False)]
Limited = Annotated[float, Field(gt=0, le=MAX_DELAY, allow_inf_nan=False)]
Timeout = Annotated[float, Field(gt=0, le=30 * MAX_DELAY, allow_inf_nan=False)]


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

    codes: Annotated[dict[Code, Backoff], Field(max_length=MAX_CODES)] = {}  # noqa: RUF012 - pydantic copies it

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


class Ending(StrEnum):
    """How a job must have ended before another one starts."""

    SUCCEEDED = "succeeded"
    PARTLY = "partly"
    ANY = "any"


FieldName = Annotated[str, Field(min_length=1, max_length=100, pattern=WORD)]


class After(Value):
    """A job that must have ended before the one that says so starts.

    ``consume``: each item of it that has succeeded becomes an item of this one. The fields of
    that item are named, each with the field of the result that it is taken from:
    ``{"id": "id"}``.
    """

    job_id: JobId
    end: Ending = Ending.SUCCEEDED
    consume: Annotated[dict[FieldName, FieldName], Field(max_length=MAX_TAKEN)] = Unless({})


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

    def within(self, other: Caps) -> Caps:
        """The lower of both, each."""
        if not other:
            return self
        return Caps(
            rate=_lower(self.rate, other.rate),
            concurrency=_lower(self.concurrency, other.concurrency),
        )

    def lowers(self, other: Caps) -> bool:
        """Whether one of these caps is below that of the other."""
        return _below(self.rate, other.rate) or _below(self.concurrency, other.concurrency)


N = TypeVar("N", int, float)


def _lower(cap: N | None, other: N | None) -> N | None:
    both = [one for one in (cap, other) if one is not None]
    return min(both, default=None)


def _below(cap: float | None, other: float | None) -> bool:
    return cap is not None and (other is None or cap < other)


NO_CAPS = Caps()


class Schedule(Value):
    """When a job may start, and by when it should have ended; None is at once, and never."""

    start_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = None


NO_SCHEDULE = Schedule()


class OnDeadline(StrEnum):
    """What a job does whose deadline passes before its end."""

    WARN = "warn"
    STOP = "stop"


class Duplicates(StrEnum):
    """What becomes of items of a batch that are called the same."""

    REFUSE = "refuse"
    FIRST = "first"
    LAST = "last"


Pointer = Annotated[str, Field(max_length=200, pattern=r"^(/[^/\x00-\x1f\x7f]*)+$")]
"""A JSON pointer (RFC 6901)."""


class JobOptions(Value):
    """How a job is to be run; every field has a default.

    ``chunk_size`` bounds the failure domain (items that are worked in one chunk);
    several chunks may share a transaction. ``stop_on_error`` is short for a limit of no
    failed item. ``on_error`` says what is done when a limit is hit; with ``roll_back`` and no
    limit, no failed item is tolerated. A ``dry_run`` says what would become of each item, and
    changes nothing; a job with a ``plan`` does what a dry run has said. ``rate`` and
    ``concurrency`` are the caps that the job begins with. Nothing of it runs before ``start_at``;
    when the ``deadline`` passes it says so, or with ``on_deadline: stop`` fails, as by a limit.
    ``after`` are the jobs that must have ended before this one starts. Of an ``atomic`` job all
    items take effect at once, or none does. ``key`` points to what an item is called; of several
    called the same the ``first`` or ``last`` is worked and the others are skipped, or all of them
    are refused. ``item_timeout`` is how many seconds an item of a slow operation may take, where
    that is less than the operation allows. A job is cancelled when a run of it, from its start,
    a resume or a retry, takes longer than ``timeout`` seconds.
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
    start_at: AwareDatetime | None = Unless(None)
    deadline: AwareDatetime | None = Unless(None)
    on_deadline: OnDeadline = Unless(OnDeadline.WARN)
    after: Annotated[tuple[After, ...], Field(max_length=MAX_AFTER)] = Unless(())
    atomic: bool = Unless(False)
    key: Pointer | None = Unless(None)
    duplicates: Duplicates = Unless(Duplicates.REFUSE)
    item_timeout: Limited | None = Unless(None)
    timeout: Timeout | None = Unless(None)

    @property
    def schedule(self) -> Schedule:
        """When the job may start and should have ended, as it was submitted."""
        if self.start_at is None and self.deadline is None:
            return NO_SCHEDULE
        return Schedule(start_at=self.start_at, deadline=self.deadline)

    @property
    def consumed(self) -> After | None:
        """The job whose results become the items of this one."""
        return next((after for after in self.after if after.consume), None)

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
