"""Outcomes: what became of an item, of a chunk, of all items of a job. Closed vocabularies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from domain.ranges import Ranges
from domain.values import Unless, Value


class ItemStatus(StrEnum):
    """Where an item stands; every item is in exactly one."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    ROLLED_BACK = "rolled_back"
    CONFLICT = "conflict"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Done:
    """The item took effect. ``result`` is any JSON document, ``score`` a number for reports."""

    result: Any = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The item took no effect. ``pointer`` is a JSON pointer into the item.

    ``details`` is a JSON document for who wants to know more; it becomes the item's result.
    """

    code: str
    message: str
    pointer: str = ""
    retryable: bool = False
    details: Any = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The item was left alone on purpose."""

    reason: str


Result = Done | Failed | Skipped


@dataclass(frozen=True, slots=True)
class Restored:
    """Undo put the item's records back as they were."""


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Undo left the item's records alone: somebody changed them after the job.

    ``by`` is the job id or the actor of the later change, ``record`` names table and id.
    """

    record: str
    by: str
    reason: str


UndoResult = Restored | Conflicted | Failed


class Counts(Value):
    """How many items are in each status; they add up to ``total``.

    ``planned`` are those that would succeed, as a dry run says; other jobs have none.
    """

    pending: int = Field(default=0, ge=0)
    succeeded: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    skipped: int = Field(default=0, ge=0)
    rolled_back: int = Field(default=0, ge=0)
    conflict: int = Field(default=0, ge=0)
    planned: int = Field(default=0, ge=0, exclude_if=lambda value: value == 0)

    @property
    def total(self) -> int:
        """All items of the job."""
        return (
            self.pending
            + self.succeeded
            + self.failed
            + self.skipped
            + self.rolled_back
            + self.conflict
            + self.planned
        )

    def moved(self, source: ItemStatus, target: ItemStatus, count: int) -> Counts:
        """The counts after ``count`` items went from one status to another."""
        return self.spread(source, {target: count})

    def spread(self, source: ItemStatus, targets: Mapping[ItemStatus, int]) -> Counts:
        """The counts after items went from one status to others, so many to each."""
        values = dict(self)
        for target, count in targets.items():
            values[source] -= count
            values[target] += count
        return Counts(**values)

    def added(self, count: int) -> Counts:
        """The counts after ``count`` new items arrived, pending."""
        return self.model_copy(update={"pending": self.pending + count})


class Closing(StrEnum):
    """How a chunk came to its end."""

    DONE = "done"
    REVOKED = "revoked"
    DIED = "died"
    PREPARED = "prepared"


class ClosedChunk(Value):
    """One outcome row, as the aggregate records it.

    ``returned`` are items that have no effect and need a new chunk: they were not worked
    (``revoked``, or the halves of a killer), or are to be committed with all others of their
    job (``prepared``); ``sha256`` is the digest of the stored per-item ledger,
    ``images`` that of the before-images, empty when there are none.
    """

    chunk: int
    closing: Closing = Closing.DONE
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    rolled_back: int = 0
    conflict: int = 0
    planned: int = Unless(0)
    returned: Ranges = Ranges()
    duration_ms: float = 0.0
    sha256: str = ""
    images: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """That an item failed in a chunk, and why."""

    position: int
    code: str
    retryable: bool


class Deferred(Value):
    """Items that failed in ``chunk`` with ``code`` and wait for their next attempt.

    ``attempt`` is its number, the first one being 1; it may begin at ``due``.
    """

    chunk: int
    items: Ranges
    attempt: int
    due: datetime
    code: str


class CodeCounts(Value):
    """How many items of a chunk have failed with each code, of those that a limit names."""

    chunk: int
    codes: dict[str, int]
