"""Worker: work messages in, outcomes out. The stage that changes records.

Called by :mod:`streams.agents` for every message of a work topic. A message is a hint;
the chunk rows say what is to be done. Records, before-images, history and the outcome
row of a chunk are one transaction, under the fence of epoch and attempt: what comes late
or twice writes nothing. Slow operations are in :mod:`streams.slow`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection, Table, exc

from domain.errors import InvalidCommand, Unavailable
from domain.events import Cause
from domain.execution import Parsed, invert_items, parse_items, work_chunk
from domain.operation import Context, Operation, Reversible
from domain.outcomes import ClosedChunk, Failed, ItemStatus, Restored, UndoResult
from domain.ports import Clock, Ids
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from streams import topics
from streams.envelope import (
    ChunkCompleted,
    ChunkFailed,
    Outgoing,
    Work,
    encode,
    record_outcomes,
)
from streams.failpoints import Failpoint, Failpoints
from streams.slow import SlowPool
from streams.stores import chunks as chunk_store
from streams.stores import ledger as ledgers
from streams.stores import outcomes
from streams.stores.chunks import Claimed, Control
from streams.stores.database import Database
from streams.stores.ledger import Ledger
from streams.stores.payloads import PayloadReader
from streams.stores.records import SqlRecords, restore

log = structlog.get_logger(__name__)

INFRASTRUCTURE = (exc.OperationalError, exc.InterfaceError, exc.InternalError)
KEPT_CONTROLS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """``lease`` and ``heartbeat`` in seconds; ``name`` is written into claimed chunks."""

    name: str
    lease: float = 5.0
    heartbeat: float = 1.5


NOTHING = Ranges()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A claimed chunk with its items parsed; for an undo, with what is to be put back."""

    claimed: Claimed
    parsed: Sequence[Parsed] = ()
    inverse: Sequence[tuple[int, BaseModel, Any]] = ()
    standing: Ranges = NOTHING


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a chunk wrote."""

    closed: ClosedChunk
    attempt: int


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
        self._controls: dict[str, Control] = {}

    async def handle(self, work: Work) -> list[Outgoing]:
        """Work the chunks of one message; returns the hints and events to send."""
        operation = self._registry.get(work.operation)
        self._failpoints.reach(Failpoint.BEFORE_CLAIM)
        control, claimed = await self._database.write(partial(self._claim, work))
        self._failpoints.reach(Failpoint.AFTER_CLAIM)
        if control is None:
            return []
        if not claimed:
            return [self._look(control)]
        if operation.slow or operation.cpu_bound:
            forward = [chunk for chunk in claimed if not chunk.cause.undoing]
            if forward:
                self._slow.start(operation, control, forward)
            claimed = [chunk for chunk in claimed if chunk.cause.undoing]
            if not claimed:
                return []
        effects = await self._effects(operation, control, claimed)
        return [self._look(control), *(_published(control, effect) for effect in effects)]

    async def _effects(
        self, operation: Operation, control: Control, claimed: Sequence[Claimed]
    ) -> list[_Effect]:
        try:
            prepared = await self._database.read(partial(self._prepare, operation, claimed))
            effects = await self._in_time(
                operation, partial(self._work, operation, control, prepared)
            )
        except Unavailable:
            raise
        except Exception as error:
            log.exception("chunk_failed", job_id=control.job_id, operation=operation.kind)
            effects = await self._database.write(partial(self._fail, claimed, error))
        undo = any(chunk.cause.undoing for chunk in claimed)
        self._failpoints.reach(
            Failpoint.AFTER_UNDO_COMMIT if undo else Failpoint.AFTER_EFFECT_COMMIT
        )
        return effects

    async def _in_time(
        self, operation: Operation, work: Callable[[Connection], list[_Effect]]
    ) -> list[_Effect]:
        running = asyncio.ensure_future(self._database.write(work))
        done, _ = await asyncio.wait({running}, timeout=operation.timeout)
        if not done:
            self._hung(f"{operation.kind} did not come back within {operation.timeout:g} s")
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
        claimed = chunk_store.claim(
            connection,
            work,
            worker=self._settings.name,
            now=self._clock.now().timestamp(),
            lease=self._settings.lease,
        )
        return control, claimed

    # -- prepare: outside of the transaction ------------------------------------------

    def _prepare(
        self, operation: Operation, claimed: Sequence[Claimed], connection: Connection
    ) -> list[_Prepared]:
        return [self._prepare_one(operation, chunk, connection) for chunk in claimed]

    def _prepare_one(
        self, operation: Operation, claimed: Claimed, connection: Connection
    ) -> _Prepared:
        if not claimed.cause.undoing:
            lines = self._payloads.lines(connection, claimed.job_id, claimed.items)
            return _Prepared(claimed, parse_items(operation, lines))
        standing = _standing(connection, claimed)
        inverse: Sequence[tuple[int, BaseModel, Any]] = ()
        if operation.reversible is Reversible.INVERSE:
            inverse = self._inverse_items(operation, claimed, standing, connection)
        return _Prepared(claimed, inverse=inverse, standing=standing)

    def _inverse_items(
        self, operation: Operation, claimed: Claimed, standing: Ranges, connection: Connection
    ) -> list[tuple[int, BaseModel, Any]]:
        done = [
            entry
            for entry in outcomes.entries_of(connection, claimed.job_id, _target(claimed))
            if entry.position in standing
        ]
        lines = self._payloads.lines(connection, claimed.job_id, standing)
        items: list[tuple[int, BaseModel, Any]] = []
        for entry, item in zip(done, parse_items(operation, lines), strict=True):
            if not isinstance(item, BaseModel):
                raise InvalidCommand(f"item {entry.position} can no longer be read: {item.message}")
            items.append((entry.position, item, entry.result))
        return items

    # -- work: one transaction ---------------------------------------------------------

    def _work(
        self,
        operation: Operation,
        control: Control,
        prepared: Sequence[_Prepared],
        connection: Connection,
    ) -> list[_Effect]:
        effects: list[_Effect] = []
        for chunk in prepared:
            if chunk_store.holds(connection, chunk.claimed):
                effects.append(self._work_one(operation, control, chunk, connection))
        undo = any(chunk.claimed.cause.undoing for chunk in prepared)
        self._failpoints.reach(
            Failpoint.BEFORE_UNDO_COMMIT if undo else Failpoint.BEFORE_EFFECT_COMMIT
        )
        return effects

    def _work_one(
        self, operation: Operation, control: Control, chunk: _Prepared, connection: Connection
    ) -> _Effect:
        started = self._clock.monotonic()
        claimed = chunk.claimed
        if claimed.cause.undoing:
            ledger, images = self._put_back(operation, control, chunk, connection)
        else:
            ledger, images = self._apply(operation, control, chunk, connection)
        elapsed = (self._clock.monotonic() - started) * 1000
        closed = outcomes.summary_of(claimed.chunk, ledger, duration_ms=elapsed)
        self._failpoints.reach(Failpoint.BEFORE_IMAGES)
        self._close(connection, claimed, closed, ledger, images)
        return _Effect(closed, claimed.attempt)

    def _apply(
        self, operation: Operation, control: Control, chunk: _Prepared, connection: Connection
    ) -> tuple[Ledger, bytes | None]:
        claimed = chunk.claimed
        records = self._records(control, claimed, connection)
        started = self._clock.monotonic()
        context = Context(
            job_id=claimed.job_id,
            tenant=control.tenant,
            actor=control.actor,
            params=operation.params.model_validate(control.params),
            chunk=claimed.chunk,
            attempt=claimed.attempt,
            positions=list(claimed.items),
            deadline=started + operation.timeout,
            clock=self._clock,
            records=records,
        )
        self._failpoints.reach(Failpoint.BEFORE_HANDLER)
        results = work_chunk(operation, context, chunk.parsed, INFRASTRUCTURE)
        self._failpoints.reach(Failpoint.AFTER_HANDLER)
        elapsed = (self._clock.monotonic() - started) * 1000
        return (
            ledgers.encode_results(claimed.items, results, duration_ms=elapsed / len(results)),
            records.encoded_images(),
        )

    def _put_back(
        self, operation: Operation, control: Control, chunk: _Prepared, connection: Connection
    ) -> tuple[Ledger, bytes | None]:
        claimed = chunk.claimed
        started = self._clock.monotonic()
        self._failpoints.reach(Failpoint.BEFORE_RESTORE)
        found, images = self._restored(operation, control, chunk, connection)
        self._failpoints.reach(Failpoint.AFTER_RESTORE)
        forward = claimed.cause is Cause.REAPPLY
        ledger = ledgers.encode_undo(
            found,
            restored=ItemStatus.SUCCEEDED if forward else ItemStatus.ROLLED_BACK,
            duration_ms=(self._clock.monotonic() - started) * 1000 / max(len(found), 1),
        )
        return ledger, images

    def _restored(
        self, operation: Operation, control: Control, chunk: _Prepared, connection: Connection
    ) -> tuple[Mapping[int, UndoResult], bytes | None]:
        claimed = chunk.claimed
        if operation.reversible is Reversible.INVERSE:
            records = self._records(control, claimed, connection)
            context = Context(
                job_id=claimed.job_id,
                tenant=control.tenant,
                actor=control.actor,
                params=operation.params.model_validate(control.params),
                chunk=claimed.chunk,
                attempt=claimed.attempt,
                positions=(),
                deadline=self._clock.monotonic() + operation.timeout,
                clock=self._clock,
                records=records,
            )
            return invert_items(operation, context, chunk.inverse), records.encoded_images()
        left = outcomes.left_by(connection, claimed.job_id, _target(claimed))
        unchanged: dict[int, UndoResult] = {position: Restored() for position in chunk.standing}
        if left.images is None:
            return unchanged, None
        restoration = restore(
            connection,
            left.images,
            self._writer(control, claimed.generation, claimed.chunk),
            self._clock.now().timestamp(),
            target=self._writer(control, left.generation, _target(claimed)),
            tables=self._tables(),
            only=chunk.standing,
        )
        return unchanged | dict(restoration.results), restoration.images

    def _tables(self) -> dict[str, Table]:
        return {
            table.name: table
            for operation in self._registry
            for table in operation.tables
            if isinstance(table, Table)
        }

    def _fail(
        self, claimed: Sequence[Claimed], error: Exception, connection: Connection
    ) -> list[_Effect]:
        """Close chunks that no item can be blamed for: a fault of ours, or of a plug-in."""
        failed = Failed("internal", f"{type(error).__name__}: {error}"[:500], retryable=True)
        effects: list[_Effect] = []
        for chunk in claimed:
            if chunk_store.holds(connection, chunk):
                ledger = _failed_ledger(connection, chunk, failed)
                closed = outcomes.summary_of(chunk.chunk, ledger, duration_ms=0.0)
                self._close(connection, chunk, closed, ledger, None)
                effects.append(_Effect(closed, chunk.attempt))
        return effects

    def _close(
        self,
        connection: Connection,
        claimed: Claimed,
        closed: ClosedChunk,
        ledger: Ledger,
        images: bytes | None,
    ) -> None:
        outcomes.insert_outcome(
            connection,
            claimed.job_id,
            closed,
            ledger,
            attempt=claimed.attempt,
            sequence=outcomes.sequence_at(self._clock.now()),
            images=images,
        )

    def _records(self, control: Control, claimed: Claimed, connection: Connection) -> SqlRecords:
        writer = self._writer(control, claimed.generation, claimed.chunk)
        return SqlRecords(connection, writer, self._clock.now().timestamp())

    def _writer(self, control: Control, generation: int, chunk: int) -> Writer:
        return Writer(
            tenant=control.tenant,
            actor=control.actor,
            job_id=control.job_id,
            generation=generation,
            chunk=chunk,
        )

    def _look(self, control: Control) -> Outgoing:
        return record_outcomes(control.job_id, control.tenant, self._ids.new(), topics.COMMANDS)


def _standing(connection: Connection, claimed: Claimed) -> Ranges:
    return outcomes.standing(connection, claimed.job_id, _target(claimed), claimed.items)


def _failed_ledger(connection: Connection, claimed: Claimed, failed: Failed) -> Ledger:
    """A chunk of which every item fails, or cannot be put back, for the same reason."""
    if claimed.cause.undoing:
        standing = _standing(connection, claimed)
        return ledgers.encode_undo(
            dict.fromkeys(standing, failed), restored=ItemStatus.ROLLED_BACK, duration_ms=0.0
        )
    items = claimed.items
    return ledgers.encode_results(items, [failed] * len(items), duration_ms=0.0)


def _target(claimed: Claimed) -> int:
    if claimed.target is None:
        raise InvalidCommand(f"undo chunk {claimed.chunk} of job {claimed.job_id} has no target")
    return claimed.target


def _published(control: Control, effect: _Effect) -> Outgoing:
    """The completion or failure event of a chunk, for whoever listens."""
    closed = effect.closed
    failed = closed.failed > 0 and not (closed.succeeded or closed.skipped)
    common = {
        "job_id": control.job_id,
        "tenant": control.tenant,
        "operation": control.operation,
        "chunk": closed.chunk,
        "attempt": effect.attempt,
        "duration_ms": closed.duration_ms,
        "failed": closed.failed,
    }
    message: ChunkFailed | ChunkCompleted
    if failed:
        message = ChunkFailed.model_validate(common)
    else:
        message = ChunkCompleted.model_validate(
            common
            | {
                "succeeded": closed.succeeded,
                "skipped": closed.skipped,
                "rolled_back": closed.rolled_back,
                "conflict": closed.conflict,
            }
        )
    return Outgoing(topic=topics.OUTCOMES, key=control.job_id.encode(), value=encode(message))
