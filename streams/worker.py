"""Worker: work messages in, outcomes out. The stage that changes records.

Called by :mod:`streams.agents` for every message of a work topic. A message is a hint;
the chunk rows say what is to be done. What chunks do to records is in
:mod:`streams.effects`, slow operations are in :mod:`streams.slow`, and what is taken back
outside of the database is in :mod:`streams.compensating`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from domain.errors import Unavailable
from domain.events import Cause
from domain.operation import Operation
from domain.ports import Clock, Ids
from domain.registry import Registry
from domain.retrying import Draw
from streams import atomic
from streams.applying import Applier
from streams.compensating import Compensator
from streams.completions import Completing, completions
from streams.effects import Begin, Effects, each_time, places
from streams.envelope import Outgoing, Work, look_at
from streams.failpoints import Failpoint, Failpoints
from streams.leased import kept
from streams.metrics import Metrics
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores.chunks import Claimed, Control
from streams.stores.database import Database
from streams.stores.outcomes import OutcomeRow
from streams.tracing import OFF, Tracing, Value
from streams.undoing import Undoer

log = structlog.get_logger(__name__)

R = TypeVar("R")

AT_ONCE_ITEMS = 200
KEPT_CONTROLS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """``lease`` and ``heartbeat`` in seconds; ``name`` is written into claimed chunks.

    ``lasting``: effects must outlive the machine before their events are sent. They need
    not where no event leaves the process before the coordinator has stored its own.
    """

    name: str
    lease: float = 5.0
    heartbeat: float = 1.5
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was claimed, with its outcomes or its failure where it was worked at once."""

    control: Control | None
    claimed: list[Claimed]
    rows: list[OutcomeRow] | None = None
    failure: Exception | None = None


class _Begun:
    """When work in another thread began; None as long as it waits for its turn."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.at: float | None = None

    def __call__(self) -> None:
        """Begin; work that is done again has begun before."""
        if self.at is None:
            self.at = self._monotonic()

    def left(self, seconds: float) -> float:
        """Of so many seconds those that are left; all of them before it began."""
        return seconds if self.at is None else self.at + seconds - self._monotonic()


class Worker:
    """Works chunks; ``hung`` is called when a handler does not come back in time.

    ``moved`` is called again and again until then: what has its time does not stand still.
    ``told`` takes a job of which the database has told that little work is committed, and says
    whether it sees to the hint.
    """

    def __init__(  # noqa: PLR0913 - its ports, by name
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        ids: Ids,
        settings: WorkerSettings,
        failpoints: Failpoints,
        slow: SlowPool,
        draw: Draw,
        hung: Callable[[str], None],
        moved: Callable[[], None] = lambda: None,
        told: Callable[[str], bool] = lambda _: False,
        completing: Completing = completions,
        metrics: Metrics | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._metrics = metrics or Metrics()
        self._database = database
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._failpoints = failpoints
        self._slow = slow
        self._hung = hung
        self._moved = moved
        self._sees_to_hint = told
        self._completions = completing
        undoer = Undoer(registry)
        self._effects = Effects(
            database=database,
            clock=clock,
            failpoints=failpoints,
            applier=Applier(registry, clock, failpoints),
            undoer=undoer,
            lasting=settings.lasting,
        )
        self._compensator = Compensator(
            database=database,
            undoer=undoer,
            clock=clock,
            failpoints=failpoints,
            slow=slow,
            draw=draw,
            close=self._close_compensated,
        )
        self._controls: dict[str, Control] = {}

    async def handle(self, work: Work) -> list[Outgoing]:
        """Work the chunks of one message; returns the hints and events to send."""
        numbers = ",".join(str(chunk.chunk) for chunk in work.chunks)
        said: dict[str, Value] = {"countermand.job_id": work.job_id}
        said |= {"countermand.operation": work.operation, "countermand.chunks": numbers}
        with self._tracing.span("work", said=said):
            return await self._handle(work)

    async def _handle(self, work: Work) -> list[Outgoing]:
        operation = self._registry.get(work.operation)
        self._failpoints.reach(Failpoint.BEFORE_CLAIM)
        taken = await self._in_time(operation, partial(self._take, operation, work))
        control, claimed = taken.control, taken.claimed
        if control is None:
            return []
        if not claimed:
            return [self._look(control)]
        self._metrics.claimed(operation.kind, claimed)
        if await self._begun(operation, control, claimed):
            return []
        rows = taken.rows
        if taken.failure is not None:
            rows = await self._closed(operation, control, claimed, taken.failure)
        elif rows is None:
            rows = await self._worked(operation, control, claimed)
        self._failpoints.reach(places(claimed)[1])
        if taken.rows and self._sees_to_hint(control.job_id):
            return self._completed(control, claimed, rows)
        return self._told(control, claimed, rows)

    async def _begun(
        self, operation: Operation, control: Control, claimed: Sequence[Claimed]
    ) -> bool:
        """Whether the chunks are worked in the background, as no transaction may take so long."""
        if claimed[0].cause.undoing:
            return await self._compensator.start(operation, control, claimed)
        if operation.waits and not control.dry_run:
            self._slow.start(operation, control, claimed)
            return True
        return False

    async def _close_compensated(
        self, operation: Operation, control: Control, claimed: Claimed
    ) -> list[Outgoing]:
        rows = await self._worked(operation, control, [claimed])
        self._failpoints.reach(places([claimed])[1])
        return self._told(control, [claimed], rows)

    def _take(self, operation: Operation, work: Work, begin: Begin) -> _Taken:
        """Claim chunks; little work is done at once, in the thread that is at hand."""
        control, claimed = self._database.write_now(partial(self._claim, work), lasting=False)
        self._failpoints.reach(Failpoint.AFTER_CLAIM)
        if control is None or not _is_little(operation, claimed):
            return _Taken(control, claimed)
        prepared = partial(self._effects.prepare, operation, claimed)
        try:
            rows = self._effects.settle(operation, control, prepared, begin, at_once=True)
        except Unavailable:
            raise
        except Exception as error:
            return _Taken(control, claimed, failure=error)
        return _Taken(control, claimed, rows)

    async def _worked(
        self, operation: Operation, control: Control, claimed: Sequence[Claimed]
    ) -> list[OutcomeRow]:
        whole = any(chunk.cause is Cause.COMMIT for chunk in claimed)
        beside = atomic.SECONDS if whole else 0.0
        try:
            # Whoever reads for long has not died. What it then writes holds the chunk itself.
            async with kept(
                self._database,
                self._clock,
                claimed,
                lease=self._settings.lease,
                heartbeat=self._settings.heartbeat,
                longest=operation.timeout + beside,
                moved=self._moved,
            ):
                prepare = partial(self._effects.prepare, operation, claimed)
                prepared = await self._database.read(prepare)
            work = partial(self._effects.settle, operation, control, each_time(prepared))
            return await self._in_time(operation, work, beside=beside)
        except Unavailable:
            raise
        except Exception as error:
            return await self._closed(operation, control, claimed, error)

    async def _closed(
        self,
        operation: Operation,
        control: Control,
        claimed: Sequence[Claimed],
        failure: Exception,
    ) -> list[OutcomeRow]:
        if len(claimed) > 1:
            # In the same order, each by itself: who is at fault must fail alone.
            return [row for one in claimed for row in await self._worked(operation, control, [one])]
        log.error("chunk_failed", job_id=control.job_id, operation=operation.kind, exc_info=failure)
        return await self._database.write(partial(self._effects.fail, claimed, failure))

    async def _in_time(
        self, operation: Operation, work: Callable[[Begin], R], *, beside: float = 0.0
    ) -> R:
        """Time counts from when work begins: a wait for its turn is not its fault.

        ``beside`` is what is allowed beyond the time of a chunk.
        """
        loop, seconds = asyncio.get_running_loop(), operation.timeout + beside
        # Noted in the thread that works, and looked at here: to wake the loop for each would cost.
        begun = _Begun(loop.time)
        running = self._database.series(partial(work, begun))
        look = min(self._settings.heartbeat, seconds)
        await asyncio.wait({running}, timeout=look)
        while not running.done() and (left := begun.left(seconds)) > 0:
            if begun.at is not None:
                self._moved()
            await asyncio.wait({running}, timeout=min(left, look))
        if not running.done():
            self._hung(f"{operation.kind} did not come back within {seconds:g} s")
        return await running

    def _claim(self, work: Work, connection: Connection) -> tuple[Control | None, list[Claimed]]:
        control = self._controls.get(work.job_id)
        if control is None:
            control = chunk_store.find_control(connection, work.job_id)
            if control is None:
                return None, []
            self._controls[work.job_id] = control
            # A slot claims in several threads: what one forgets the other may.
            for oldest in list(self._controls)[:-KEPT_CONTROLS]:
                self._controls.pop(oldest, None)
        if not self._names(control, work.operation):
            # Nobody of ours sends this: another operation on these items is no work.
            log.warning("forged_work", job_id=work.job_id, operation=work.operation)
            return None, []
        claimed = chunk_store.claim(
            connection,
            work,
            worker=self._settings.name,
            now=self._clock.now().timestamp(),
            lease=self._settings.lease,
            in_order=self._registry.get(work.operation).in_order,
        )
        return control, claimed

    def _names(self, control: Control, kind: str) -> bool:
        """Whether an operation that is installed is the job's, whatever it was called before."""
        stored = control.operation
        return stored in self._registry and self._registry.get(stored) is self._registry.get(kind)

    def _told(
        self, control: Control, claimed: Sequence[Claimed], rows: Sequence[OutcomeRow]
    ) -> list[Outgoing]:
        ended = tuple(sorted({row.closed.chunk for row in rows}))
        return [self._look(control, ended), *self._completed(control, claimed, rows)]

    def _completed(
        self, control: Control, claimed: Sequence[Claimed], rows: Sequence[OutcomeRow]
    ) -> list[Outgoing]:
        # By its present name, under which it is claimed, whatever it is stored under.
        kind = self._registry.get(control.operation).kind
        self._metrics.closed(kind, claimed, rows)
        return self._completions(control, rows)

    def _look(self, control: Control, chunks: tuple[int, ...] = ()) -> Outgoing:
        return look_at(control.job_id, self._ids.new(), chunks)


def _is_little(operation: Operation, claimed: Sequence[Claimed]) -> bool:
    """Whether nobody minds that the items are read within the transaction.

    A commit never is: it may take longer than a chunk, and what is done along with the claim
    has the time of a chunk.
    """
    waits = operation.waits or any(c.cause.undoing or c.cause is Cause.COMMIT for c in claimed)
    return not waits and 0 < sum(len(chunk.items) for chunk in claimed) <= AT_ONCE_ITEMS
