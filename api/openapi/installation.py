"""Installation: the documents of everything that is no job, as closed models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.openapi.answers import Cursor
from domain.buckets import BucketName
from domain.operation import Reversible
from domain.permissions import Permission
from domain.retention import KnownRule, RuleChange
from domain.values import Unless, Value


class Operation(Value):
    """What a job can be told to do, with the JSON Schemas of ``params`` and of an ``item``."""

    kind: str
    system: str
    description: str
    reversible: Reversible
    slow: bool
    destructive: bool
    selectable: str | None
    codes: tuple[str, ...]
    provider: str | None
    outside: tuple[str, ...]
    compensated: bool
    params: dict[str, Any]
    item: dict[str, Any]


class Operations(Value):
    """All operations that are installed."""

    items: tuple[Operation, ...]


class Me(Value):
    """Whom the server takes the caller for, and how it knows."""

    mode: Literal["local", "named", "proven"]
    tenant: str
    actor: str
    permissions: tuple[Permission, ...]
    projects: Annotated[
        dict[str, tuple[Permission, ...]],
        Field(description="What is allowed besides, by the project for whose jobs it is."),
    ]
    expires_at: datetime | None


class Key(Value):
    """An API key, without its secret."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    name: str
    roles: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    rotated_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class ShownKey(Key):
    """An API key with its secret, which is shown this once."""

    key: str


class Keys(Value):
    """A page of API keys."""

    items: tuple[Key, ...]
    next_cursor: Cursor


class Worker(Value):
    """A worker that is alive; memory in bytes."""

    name: str
    systems: tuple[str, ...]
    slots: int
    host: str
    process: int
    memory_bytes: int
    memory_budget_bytes: int
    held_since: datetime | None
    cpu_seconds: float
    cpu_percent: float | None
    alive_seconds: float


class Workers(Value):
    """The workers that are alive."""

    items: tuple[Worker, ...]


class Weight(Value):
    """A tenant's share of the workers; who has none has 1."""

    tenant: str
    weight: float


class Weights(Value):
    """Tenants with another share than 1."""

    items: tuple[Weight, ...]


class Rules(Value):
    """All rules of retention."""

    items: tuple[KnownRule, ...]


class RuleChanges(Value):
    """A page of changes of rules, the latest first."""

    items: tuple[RuleChange, ...]
    next_cursor: Cursor


class Removed(Value):
    """A rule that is no more."""

    tenant: str
    kind: str
    removed: Literal[True]


class LimitInForce(Value):
    """What all jobs together may ask of a provider, or have in a queue."""

    name: BucketName
    rate: float | None
    concurrency: int | None
    calls: int
    jobs: int
    waiting: int
    changed_by: str | None
    changed_at: datetime


class LimitsInForce(Value):
    """The limits that somebody has set."""

    items: tuple[LimitInForce, ...]


class Partition(Value):
    """A partition of a topic, and how far the group that works on it has come.

    ``end`` is the offset of the next message, ``done`` that up to which all is worked off.
    ``waiting`` is what lies between; both are null where the group has never been.
    """

    topic: str
    partition: int
    group: str
    end: int
    done: int | None
    waiting: int | None


class Partitions(Value):
    """All partitions on which somebody works."""

    items: tuple[Partition, ...]


class Letters(Value):
    """Dead letters with one code that were in one topic; the rest is of the latest of them."""

    code: str
    topic: str
    letters: int
    reason: str
    key: str
    place: Annotated[str, Field(description="Partition and offset, as `3:1017`.")]


class LetterGroups(Value):
    """Dead letters in groups, the largest first; ``others`` are no letters of ours, or too many."""

    items: tuple[Letters, ...]
    others: int


class Redriven(Value):
    """What was sent again, and what was left because it is not whole or nobody works on its topic.

    With ``more`` it ended at its limit: ask again.
    """

    sent: int
    left: int
    more: bool


class Writer(Value):
    """Who wrote a version of a record: a job's chunk, or an actor alone."""

    actor: str
    job_id: str | None
    generation: int | None
    chunk: int | None
    cause: str | None


class Write(Value):
    """A write of a record."""

    version: int
    deleted: bool
    at: datetime
    by: Writer
    links: dict[str, str]


class BeforeAndAfter(Value):
    """A value of a column, before and after a write."""

    before: Any
    after: Any


class RecordVersion(Write):
    """A version of a record; ``values`` is all that it has left."""

    changed: dict[str, BeforeAndAfter] | None
    values: dict[str, Any] | None = Unless(None)


class RecordHistory(Value):
    """A page of versions, the latest first."""

    items: tuple[RecordVersion, ...]
    next_cursor: Cursor


class ColumnValue(Write):
    """A present value, and the write that it is of; or without ``certain``, of an earlier one."""

    value: Any
    certain: bool


class Blame(Write):
    """A record's last write, and who wrote each of its values."""

    table: str
    id: int
    columns: dict[str, ColumnValue]


class Alive(Value):
    """The process lives."""

    status: Literal["alive"]


class Ready(Value):
    """The engine takes work; ``notes`` say what slows it."""

    status: Literal["ready"]
    notes: tuple[str, ...] = Unless(())
