"""Worker: work messages in, outcomes out. The stage that changes records.

Called by :mod:`streams.agents` for every message of a work topic. A message is a hint;
the chunk rows say what is to be done. Records, before-images, history and the outcome
row of a chunk are one transaction, under the fence of epoch and attempt: what comes late
or twice writes nothing. Slow operations are in :mod:`streams.slow`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from domain.errors import Unavailable
from domain.events import Cause
from domain.execution import Parsed, parse_items
from domain.operation import Context, Operation, Reversible
from domain.outcomes import ClosedChunk, Closing, Failed
from domain.ports import Clock, Ids
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from streams import atomic, undoing
from streams.applying import Applied, Applier
from streams.completions import completions
from streams.envelope import Outgoing, Work, look_at
from streams.failpoints import Failpoint, Failpoints
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores import outcomes
from streams.stores.chunks import Claimed, Control
from streams.stores.database import INFRASTRUCTURE, Database
from streams.stores.outcomes import OutcomeRow
from streams.stores.payloads import PayloadReader
from streams.stores.records import Ahead, Contention, Crowds, SqlRecords, Together
from streams.undoing import Standing, Undoer

log = structlog.get_logger(__name__)

R = TypeVar("R")
Begin = Callable[[], object]
"""To be called when the time of a handler begins."""

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
class _Prepared:
    """A claimed chunk with its items parsed, or with what is to be put back."""

    claimed: Claimed
    parsed: Sequence[Parsed] = ()
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was claimed, with its outcomes or its failure where it was worked at once."""

    control: Control | None
    claimed: list[Claimed]
    rows: list[OutcomeRow] | None = None
    failure: Exception | None = None


class Worker:
    """Works chunks; ``hung`` is called when a handler does not come back in time."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        ids: Ids,
        settings: WorkerSettings,
        failpoints: Failpoints,
        slow: SlowPool,
        hung: Callable[[str], None],
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._failpoints = failpoints
        self._slow = slow
        self._hung = hung
        self._payloads = PayloadReader()
        self._undoer = Undoer(registry)
        self._applier = Applier(registry, clock, failpoints)
        self._controls: dict[str, Control] = {}
        self._crowds = Crowds()

    async def handle(self, work: Work) -> list[Outgoing]:
        """Work the chunks of one message; returns the hints and events to send."""
        operation = self._registry.get(work.operation)
        self._failpoints.reach(Failpoint.BEFORE_CLAIM)
        taken = await self._in_time(operation, partial(self._take, operation, work))
        control, claimed = taken.control, taken.claimed
        if control is None:
            return []
        if operation.waits and not control.dry_run:
            forward = [chunk for chunk in claimed if not chunk.cause.undoing]
            if forward:
                self._slow.start(operation, control, forward)
                claimed = [chunk for chunk in claimed if chunk.cause.undoing]
                if not claimed:
                    return []
        if not claimed:
            return [self._look(control)]
        rows = taken.rows
        if taken.failure is not None:
            rows = await self._closed(operation, control, claimed, taken.failure)
        elif rows is None:
            rows = await self._effects(operation, control, claimed)
        self._failpoints.reach(_places(claimed)[1])
        return [self._look(control), *completions(control, rows)]

    def _take(self, operation: Operation, work: Work, begin: Begin) -> _Taken:
        """Claim chunks; little work is done at once, in the thread that is at hand."""
        control, claimed = self._database.write_now(partial(self._claim, work), lasting=False)
        self._failpoints.reach(Failpoint.AFTER_CLAIM)
        if control is None or not _is_little(operation, claimed):
            return _Taken(control, claimed)
        prepared = partial(self._prepare, operation, claimed)
        try:
            rows = self._settle(operation, control, prepared, begin, at_once=True)
        except Unavailable:
            raise
        except Exception as error:
            return _Taken(control, claimed, failure=error)
        return _Taken(control, claimed, rows)

    async def _effects(
        self, operation: Operation, control: Control, claimed: Sequence[Claimed]
    ) -> list[OutcomeRow]:
        try:
            prepared = await self._database.read(partial(self._prepare, operation, claimed))
            work = partial(self._settle, operation, control, lambda _: prepared)
            whole = any(chunk.cause is Cause.COMMIT for chunk in claimed)
            return await self._in_time(operation, work, beside=atomic.SECONDS if whole else 0.0)
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
            return [
                row for one in claimed for row in await self._effects(operation, control, [one])
            ]
        log.error("chunk_failed", job_id=control.job_id, operation=operation.kind, exc_info=failure)
        return await self._database.write(partial(self._fail, claimed, failure))

    async def _in_time(
        self, operation: Operation, work: Callable[[Begin], R], *, beside: float = 0.0
    ) -> R:
        """Time counts from when work begins: a wait for its turn is not its fault.

        ``beside`` is what is allowed beyond the time of a chunk.
        """
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        begin = partial(loop.call_soon_threadsafe, begun.set)
        running = self._database.series(partial(work, begin))
        running.add_done_callback(lambda _: begun.set())
        await begun.wait()
        seconds = operation.timeout + beside
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done:
            self._hung(f"{operation.kind} did not come back within {seconds:g} s")
        return await running

    def _claim(self, work: Work, connection: Connection) -> tuple[Control | None, list[Claimed]]:
        control = self._controls.get(work.job_id)
        if control is None:
            control = chunk_store.find_control(connection, work.job_id)
            if control is None:
                return None, []
            self._controls[work.job_id] = control
            while len(self._controls) > KEPT_CONTROLS:
                self._controls.pop(next(iter(self._controls)))
        if control.operation != work.operation:
            # Nobody of ours sends this: another operation on these items is no work.
            log.warning("forged_work", job_id=work.job_id, operation=work.operation)
            return None, []
        claimed = chunk_store.claim(
            connection,
            work,
            worker=self._settings.name,
            now=self._clock.now().timestamp(),
            lease=self._settings.lease,
        )
        return control, claimed

    # -- prepare: outside of the transaction, unless it is little ----------------------

    def _prepare(
        self, operation: Operation, claimed: Sequence[Claimed], connection: Connection
    ) -> list[_Prepared]:
        forward = [chunk for chunk in claimed if not chunk.cause.undoing]
        items = Ranges.from_spans(span for chunk in forward for span in chunk.items.spans)
        lines = self._payloads.lines(connection, claimed[0].job_id, items)
        parsed = dict(zip(items, parse_items(operation, lines), strict=True))
        undo = [chunk for chunk in claimed if chunk.cause.undoing]
        standing = self._undoer.prepare(connection, operation, undo, self._payloads)
        return [
            _Prepared(chunk, standing=standing[chunk.chunk])
            if chunk.cause.undoing
            else _Prepared(chunk, [parsed[position] for position in chunk.items])
            for chunk in claimed
        ]

    # -- work: one transaction ---------------------------------------------------------

    def _settle(
        self,
        operation: Operation,
        control: Control,
        prepared: Callable[[Connection], Sequence[_Prepared]],
        begin: Begin,
        *,
        at_once: bool = False,
    ) -> list[OutcomeRow]:
        contention = self._crowds.expected(operation.kind)

        def work(connection: Connection) -> list[OutcomeRow]:
            begin()
            contention.begin()
            rows = self._work(operation, control, prepared(connection), connection, contention)
            if at_once and rows:
                outcomes.announce(connection, control.job_id)
            return rows

        try:
            return self._database.write_now(work, lasting=self._settings.lasting)
        finally:
            self._crowds.learn(operation.kind, contention)

    def _work(
        self,
        operation: Operation,
        control: Control,
        prepared: Sequence[_Prepared],
        connection: Connection,
        contention: Contention,
    ) -> list[OutcomeRow]:
        held = set(chunk_store.held(connection, [chunk.claimed for chunk in prepared]))
        ours = [chunk for chunk in prepared if chunk.claimed in held]
        left = [chunk.standing for chunk in ours if chunk.standing is not None]
        ahead = self._undoer.ahead(connection, operation, control.tenant, left)
        together = Together(connection, writers=len(ours), contention=contention)
        rows = [self._work_one(operation, control, chunk, ahead, together) for chunk in ours]
        together.flush()
        self._failpoints.reach(Failpoint.BEFORE_IMAGES)
        if rows:
            outcomes.insert_outcomes(connection, rows)
        self._failpoints.reach(_places([chunk.claimed for chunk in prepared])[0])
        return rows

    def _work_one(
        self,
        operation: Operation,
        control: Control,
        chunk: _Prepared,
        ahead: Ahead,
        together: Together,
    ) -> OutcomeRow:
        started = self._clock.monotonic()
        writer, now = self._writer(control, chunk.claimed), self._clock.now().timestamp()
        records = SqlRecords(ahead.connection, writer, now, together)
        context = self._context(operation, control, chunk.claimed, records)
        if chunk.standing is not None:
            found = self._put_back(
                operation, context, records, chunk.claimed, chunk.standing, ahead
            )
        else:
            found = self._applier.work(
                operation, control, chunk.claimed, chunk.parsed, context, records
            )
        closed = outcomes.summary_of(
            chunk.claimed.chunk,
            found.ledger,
            duration_ms=(self._clock.monotonic() - started) * 1000,
            closing=Closing.PREPARED if found.returned else Closing.DONE,
            returned=found.returned,
        )
        return self._row(chunk.claimed, closed, found)

    def _put_back(
        self,
        operation: Operation,
        context: Context,
        records: SqlRecords,
        claimed: Claimed,
        left: Standing,
        ahead: Ahead,
    ) -> Applied:
        started = self._clock.monotonic()
        self._failpoints.reach(Failpoint.BEFORE_RESTORE)
        if operation.reversible is Reversible.INVERSE:
            found, images = self._undoer.invert(operation, context, records, left, INFRASTRUCTURE)
        else:
            now = self._clock.now().timestamp()
            writer = self._writer(context, claimed)
            found, images = self._undoer.put_back(ahead, claimed, writer, now, left)
        self._failpoints.reach(Failpoint.AFTER_RESTORE)
        each = (self._clock.monotonic() - started) * 1000 / max(len(found), 1)
        return Applied(undoing.undo_ledger(claimed, found, round(each, 4)), images)

    def _fail(
        self, claimed: Sequence[Claimed], error: Exception, connection: Connection
    ) -> list[OutcomeRow]:
        """Close chunks that no item can be blamed for: a fault of ours, or of a plug-in."""
        failed = Failed("internal", f"{type(error).__name__}: {error}"[:500], retryable=True)
        rows: list[OutcomeRow] = []
        for chunk in chunk_store.held(connection, claimed):
            ledger = undoing.failed_ledger(connection, chunk, failed)
            closed = outcomes.summary_of(chunk.chunk, ledger, duration_ms=0.0)
            rows.append(self._row(chunk, closed, Applied(ledger, None)))
        if rows:
            outcomes.insert_outcomes(connection, rows)
        return rows

    def _row(self, claimed: Claimed, closed: ClosedChunk, said: Applied) -> OutcomeRow:
        sequence = outcomes.sequence_at(self._clock.now())
        images = said.images
        if images is not None:
            digest = hashlib.sha256(images).hexdigest()
            closed = closed.model_copy(update={"images": digest})
        return OutcomeRow(claimed.job_id, closed, said.ledger, claimed.attempt, sequence, images)

    def _context(
        self, operation: Operation, control: Control, claimed: Claimed, records: SqlRecords
    ) -> Context:
        return Context(
            job_id=claimed.job_id,
            tenant=control.tenant,
            actor=control.actor,
            params=operation.params.model_validate(control.params),
            chunk=claimed.chunk,
            attempt=claimed.attempt,
            positions=list(claimed.items),
            deadline=self._clock.monotonic() + operation.timeout,
            clock=self._clock,
            records=records,
        )

    def _writer(self, who: Control | Context, claimed: Claimed) -> Writer:
        return Writer(
            tenant=who.tenant,
            actor=who.actor,
            job_id=claimed.job_id,
            generation=claimed.generation,
            chunk=claimed.chunk,
        )

    def _look(self, control: Control) -> Outgoing:
        return look_at(control.job_id, self._ids.new())


def _places(claimed: Sequence[Claimed]) -> tuple[Failpoint, Failpoint]:
    """Where a test may end the process before and after the commit of these chunks."""
    if any(chunk.cause.undoing for chunk in claimed):
        return Failpoint.BEFORE_UNDO_COMMIT, Failpoint.AFTER_UNDO_COMMIT
    if any(chunk.cause is Cause.COMMIT for chunk in claimed):
        return Failpoint.BEFORE_ATOMIC_COMMIT, Failpoint.AFTER_ATOMIC_COMMIT
    return Failpoint.BEFORE_EFFECT_COMMIT, Failpoint.AFTER_EFFECT_COMMIT


def _is_little(operation: Operation, claimed: Sequence[Claimed]) -> bool:
    """Whether nobody minds that the items are read within the transaction."""
    waits = operation.waits or any(c.cause.undoing for c in claimed)
    return not waits and 0 < sum(len(chunk.items) for chunk in claimed) <= AT_ONCE_ITEMS
