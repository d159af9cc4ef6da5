"""Models: what the server answers, as far as it is promised; fields that are new are let pass."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

AT_REST = frozenset(
    {
        "cancelled",
        "completed",
        "completed_with_errors",
        "failed",
        "rolled_back",
        "rollback_incomplete",
        "rejected",
        "archived",
    }
)
"""Statuses in which a job does nothing more by itself."""


class Model(BaseModel):
    """Read-only, and open to fields of servers that are newer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Counts(Model):
    """How many items stand where; they add up to ``total``."""

    total: int
    pending: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    rolled_back: int = 0
    conflict: int = 0
    planned: int = 0


class Job(Model):
    """A job as it was when the server answered."""

    job_id: str
    operation: str
    status: str
    version: int
    counts: Counts
    name: str = ""
    tags: tuple[str, ...] = ()
    priority: int = 5
    params: dict[str, Any] = {}
    percent: float | None = None
    items_per_second: float | None = None
    eta_seconds: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    created_by: str = ""
    reason: str = ""
    possible: tuple[str, ...] = ()
    steps: tuple[dict[str, Any], ...] = ()
    """Of a batch: each with ``name``, ``job_id``, ``status`` and ``counts``."""

    @property
    def at_rest(self) -> bool:
        """Whether it does nothing more by itself."""
        return self.status in AT_REST


class Event(Model):
    """Something that happened to a job; progress in between has no ``version``."""

    name: str
    version: int | None
    job_id: str
    status: str
    counts: Counts
    percent: float | None = None
    items_per_second: float | None = None
    eta_seconds: float | None = None
    data: dict[str, Any] = {}
    """All that the server said."""


class ChangedRecord(Model):
    """A record that is not as a dry run has seen it; ``version`` is None when it is gone."""

    table: str
    record: int
    planned: int
    version: int | None = None


class Plan(Model):
    """What a dry run has found, and whether it still holds: nothing is ``changed`` then."""

    job_id: str
    operation: str
    digest: str
    counts: Counts
    validated_only: bool = False
    changed: tuple[ChangedRecord, ...] = ()
    more_changed: bool = False
    applied_by: str | None = None


class ApiKey(Model):
    """A key of a service; ``key`` is its text, which only making and rotating it show."""

    key_id: str
    name: str
    roles: tuple[str, ...]
    created_by: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    key: str = Field(default="", repr=False)


class Message(Model):
    """What a WebSocket says: ``progress``, ``completion``, ``subscribed``, ``error``, ..."""

    type: str
    data: dict[str, Any] = {}


class ItemError(Model):
    """Why an item failed."""

    code: str
    message: str = ""
    pointer: str = ""
    retryable: bool = False


class Item(Model):
    """What became of an item."""

    position: int
    status: str
    result: Any = None
    score: float | None = None
    duration_ms: float | None = None
    error: ItemError | None = None
    chunk: int | None = None
    attempt: int | None = None
    changes: Any = None


class ErrorGroup(Model):
    """Failures that look alike; ``samples`` are a few of them."""

    code: str
    count: int
    signature: str = ""
    samples: tuple[dict[str, Any], ...] = ()


class Operation(Model):
    """What can be done, with the JSON Schemas of an item and of the params."""

    kind: str
    description: str = ""
    item: dict[str, Any] = {}
    params: dict[str, Any] = {}
