"""What the edge asks of the streams: commands in, questions, and what happens live.

Each protocol is as small as its users need; :mod:`streams` has the implementations and
the values that go to and fro.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from aiohttp import web

from api.live_ports import TenantLog
from domain.buckets import SharedLimit
from domain.commands import Adjustment, Editing, JobSpec
from domain.compensation import Stage
from domain.events import JobEvent
from domain.job import Job
from domain.retention import KnownRule, Rule, RuleChange
from domain.waiting import Waiting
from streams.attempts import ItemPast
from streams.callers import Caller
from streams.deadletters import Listed, Redriven
from streams.diffs import Change, Difference, Run, Summary
from streams.identity import ApiKeys, Identity, Tickets
from streams.intake import Memory
from streams.items import ItemView, Wanted
from streams.messaging import PartitionView
from streams.plans import PlanView
from streams.previewing import Page as PreviewPage
from streams.previewing import Preview, WantedUndo
from streams.saying import NOTHING_MORE, More
from streams.situation import LimitView
from streams.stores.compensations import CompensationView
from streams.stores.decisions import Decision
from streams.stores.error_groups import ErrorGroup
from streams.stores.read_model import Page
from streams.stores.records.past import Standing, Version
from streams.stores.workers import WorkerRow

Verb = Literal[
    "pause",
    "resume",
    "cancel",
    "retry",
    "undo",
    "approve",
    "reject",
    "hold",
    "release",
    "shred",
    "archive",
]


class Gateway(Protocol):
    """Commands in. Each call returns when the command is decided.

    Raises CommandRefused when it is refused and DecisionPending when it is not decided in
    time. ``lines`` are blocks of NDJSON of any size, cut anywhere; when the iterator
    raises, nothing runs and the error comes out of the call.
    """

    async def submit(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: AsyncIterator[bytes],
        *,
        key: str | None,
        job_id: str | None = None,
    ) -> Decision:
        """A whole job; ``key`` makes it one job however often it is sent.

        A new one has the id ``job_id``, where one is given.
        """
        ...

    async def submit_selected(self, caller: Caller, spec: JobSpec, *, key: str | None) -> Decision:
        """A job on the records that its filter matches now."""
        ...

    async def open(self, caller: Caller, spec: JobSpec, *, key: str | None) -> Decision:
        """A draft whose items follow."""
        ...

    async def submit_batch(
        self,
        caller: Caller,
        spec: JobSpec,
        lines: Sequence[AsyncIterator[bytes] | None],
        *,
        key: str | None,
    ) -> Decision:
        """A batch with the items of each of its steps; None for a step that has none."""
        ...

    async def append(
        self, caller: Caller, job_id: str, part: int, lines: AsyncIterator[bytes]
    ) -> Decision:
        """One more part of a draft's items; a part sent again counts once."""
        ...

    async def seal(
        self,
        caller: Caller,
        job_id: str,
        items: int | None,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """No more parts; ``items``, when given, must equal what has arrived."""
        ...

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
        """Anything else that may be asked of a job; with the same ``key``, once.

        ``more`` is what the verb needs beside its reason.
        """
        ...

    async def edit(
        self,
        caller: Caller,
        job_id: str,
        wanted: Editing,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """Other bodies for items of a draft, and items out of it."""
        ...

    async def adjust(
        self,
        caller: Caller,
        job_id: str,
        wanted: Adjustment,
        *,
        key: str | None = None,
        if_version: int | None = None,
    ) -> Decision:
        """Other caps, another priority, from now on."""
        ...


class JobLookup(Protocol):
    """One job."""

    async def job(self, tenant: str, job_id: str, version: int | None = None) -> Job:
        """The job as it is, or as it was at ``version``."""
        ...


class EventLog(JobLookup, Protocol):
    """The stored events of a job."""

    async def events(self, tenant: str, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """At most ``limit`` events with a version above ``after``, in order."""
        ...

    async def course(self, tenant: str, job_id: str, points: int) -> list[JobEvent]:
        """At most ``points`` events, spread evenly over the job's past, with the last one."""
        ...


class Ledger(Protocol):
    """What became of a job's items."""

    def items(
        self,
        tenant: str,
        job_id: str,
        wanted: Wanted,
        *,
        after: int = -1,
        limit: int | None = None,
        payload: bool = True,
    ) -> AsyncGenerator[ItemView, None]:
        """The wanted items behind position ``after``, in order; ``payload`` adds what was sent."""
        ...

    async def codes(self, tenant: str, job_id: str) -> list[str]:
        """What the error code of an item of the job can be."""
        ...

    async def errors(self, tenant: str, job_id: str) -> list[ErrorGroup]:
        """The failed items, grouped."""
        ...

    async def item_past(self, tenant: str, job_id: str, position: int) -> ItemPast:
        """All that has become of an item that the job has."""
        ...


class Diffs(Protocol):
    """Two runs compared."""

    def diff(
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
        """The items that differ in one of the ways, behind ``after``; ``key`` names them."""
        ...

    async def diff_summary(
        self, tenant: str, this: Run, other: Run, *, key: str | None = None
    ) -> Summary:
        """How many items differ, and in which way."""
        ...


class Records(Protocol):
    """What happened to records; raises RecordNotFound for one that the tenant never had."""

    async def history(
        self, tenant: str, table: str, record_id: int, *, cursor: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Versions below ``cursor``, the latest first, and the cursor of the next page."""
        ...

    async def blame(self, tenant: str, table: str, record_id: int) -> Standing:
        """Who wrote what the record has now."""
        ...


class Undos(Protocol):
    """What undos would do, and what they have done outside of the database."""

    async def undo_preview(
        self, tenant: str, job_id: str, page: PreviewPage, wanted: WantedUndo
    ) -> Preview:
        """What an undo would do now; raises CommandRefused as the undo itself would."""
        ...

    async def compensations(
        self, tenant: str, job_id: str, stages: Collection[Stage], *, after: int, limit: int
    ) -> list[CompensationView]:
        """Items whose effects outside were to be taken back, behind position ``after``."""
        ...


class JobList(Protocol):
    """All jobs."""

    async def jobs(self, tenant: str, **filters: Any) -> Page:
        """A page of the list of jobs, which may lag behind."""
        ...


class Queries(EventLog, JobList, Ledger, Diffs, Records, Undos, TenantLog, Protocol):
    """Questions; each sees only the jobs of the tenant and raises JobNotFound otherwise."""

    async def just_decided(self, tenant: str, job_id: str) -> Job:
        """The job after a decision on it, which its caller mostly follows next."""
        ...


class Plans(Protocol):
    """What finished dry runs have found; raises JobNotFound and WrongState."""

    async def plan(self, tenant: str, job_id: str) -> PlanView:
        """The plan, and whether it still holds."""
        ...

    async def to_apply(self, tenant: str, job_id: str, digest: str | None) -> JobSpec:
        """The job that does it; raises PlanChanged when the plan has another digest."""
        ...

    def lines(self, tenant: str, job_id: str) -> AsyncIterator[bytes]:
        """Its items as they were sent, in blocks of NDJSON."""
        ...


class Situation(Protocol):
    """What is around jobs: who works, and whose work they have."""

    async def waiting(self, job: Job) -> Waiting | None:
        """Why the job waits, if it does."""
        ...

    async def workers(self) -> list[WorkerRow]:
        """Workers that are alive, by name."""
        ...

    async def weights(self) -> dict[str, float]:
        """The shares of tenants that were given one; all others have 1."""
        ...

    async def weigh(self, tenant: str, weight: float) -> None:
        """Give a tenant another share."""
        ...

    async def limits(self) -> list[LimitView]:
        """The limits of providers and queues that somebody has set."""
        ...

    async def limit(self, name: str, wanted: SharedLimit, *, by: str) -> LimitView:
        """Change one; raises InvalidCommand for one that nobody draws from."""
        ...


class Messaging(Protocol):
    """The broker, as an operator looks at it; raises BrokerUnavailable."""

    async def partitions(self) -> list[PartitionView]:
        """Every partition on which somebody works, in the order of the flow."""
        ...

    async def letters(self) -> Listed:
        """Messages that could not be handled, in groups."""
        ...

    async def redrive(self, code: str) -> Redriven:
        """Send those of a code again, some at a time."""
        ...


class Callers(Protocol):
    """Who calls, and how that is known."""

    @property
    def mode(self) -> str:
        """How, in a word: ``local``, ``named`` or ``proven``."""
        ...

    @property
    def keys(self) -> ApiKeys | None:
        """The API keys, where callers are asked for one."""
        ...

    @property
    def tickets(self) -> Tickets | None:
        """The tickets for live streams, where callers are asked for something."""
        ...

    async def identify(self, request: web.Request) -> Identity:
        """Who calls; raises RequestRefused, CredentialRefused or Unavailable."""
        ...

    def asks_later(self, request: web.Request) -> bool:
        """Whether who opens a WebSocket so is to say in its first message who it is."""
        ...

    async def prove(self, request: web.Request, *, token: str, ticket: str) -> Identity:
        """Whom a token, or a ticket, speaks of; raises as ``identify`` does."""
        ...

    async def holds(self, identity: Identity) -> bool:
        """Whether somebody who was let in a while ago would be let in now."""
        ...


class Retention(Protocol):
    """The rules by which jobs at rest are kept."""

    async def rules(self) -> list[KnownRule]:
        """All rules, by tenant and kind."""
        ...

    async def set_rule(self, rule: Rule, *, keep: bool, actor: str, reason: str) -> KnownRule:
        """Another rule from now on; raises InvalidCommand, which points at the field."""
        ...

    async def remove_rule(self, tenant: str, kind: str, *, actor: str, reason: str) -> None:
        """No such rule any more; raises RuleNotFound."""
        ...

    async def changes(self, cursor: int | None, limit: int) -> tuple[list[RuleChange], int | None]:
        """Who has changed what, the latest first, and the cursor of the next page."""
        ...


class Health(Protocol):
    """``reasons`` say what is wrong; there is none when ``ready``."""

    @property
    def ready(self) -> bool:
        """Whether commands are decided and chunks are worked."""
        ...

    @property
    def reasons(self) -> list[str]:
        """Sentences for an operator."""
        ...

    @property
    def waiting(self) -> int:
        """Messages that were not handled yet, as the broker last said."""
        ...

    @property
    def retained(self) -> Mapping[str, int]:
        """What the process has done by the rules of retention, by what it was."""
        ...

    @property
    def notes(self) -> list[str]:
        """What makes it slower than it could be."""
        ...

    @property
    def memory(self) -> Memory | None:
        """What a process that works has of it."""
        ...


class Vitals(Protocol):
    """How the engine is."""

    @property
    def ending(self) -> str:
        """Why it is about to take no more; empty when it is not."""
        ...

    async def health(self) -> Health:
        """Whether the engine takes work, and if not, why."""
        ...
