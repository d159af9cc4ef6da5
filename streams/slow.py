"""Slow operations: model calls, pipelines, work in other processes.

Their hint is acknowledged once the chunk is claimed; the items run in a bounded pool with
lease heartbeats and no transaction open. Each result is stored as it comes, under the same
fence as any effect, first wins; the chunk is closed by folding them. A chunk whose lease
was handed back or ran out goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection

from domain.errors import BrokerUnavailable, Unavailable
from domain.execution import failure_of, parse_items, placed, words_of
from domain.operation import Context, Operation
from domain.outcomes import Closing, Done, Failed, Result
from domain.ports import Clock, Ids
from domain.ranges import Ranges
from domain.returned import results_of
from streams import topics
from streams.calls import Calls
from streams.envelope import ItemsProgressed, Outgoing, encode, look_at
from streams.failpoints import Failpoint, Failpoints
from streams.leased import Leased, cancelled_at_exit
from streams.metrics import Metrics
from streams.recalls import Recalls
from streams.stores import chunks as chunk_store
from streams.stores import outcomes
from streams.stores.chunks import Claimed, Control
from streams.stores.database import Database
from streams.stores.infrastructure import FAULTS
from streams.stores.outcomes import ItemResult
from streams.stores.payloads import PayloadReader
from streams.stores.recalled import recalled
from streams.tracing import OFF, Tracing, Value

Send = Callable[[Outgoing], Awaitable[None]]
QUEUED_RESULTS = 256

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Finished:
    """The result of an item, or none of one given back; ``stored`` is set once that is saved."""

    result: ItemResult | None = None
    stored: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A chunk at work: a task an item, the items that have begun, and what has ended.

    ``counts`` are those of what is stored, ``news`` is set when they are more than was told.
    ``over`` is set when no more results are stored; ``cut`` are items that a drain cut off.
    """

    results: asyncio.Queue[_Finished]
    counts: Counter[str] = field(default_factory=Counter)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    unstored: dict[int, asyncio.Event] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)
    whole: asyncio.Task[None] | None = field(default_factory=asyncio.current_task)

    def begin_no_more(self) -> None:
        """Leave what has not begun to the next worker that has the chunk."""
        self.cut.update(self.tasks.keys() - self.begun)
        for position in self.cut:
            self.tasks[position].cancel()

    @property
    def ends(self) -> list[asyncio.Task[None]]:
        """What to wait for: the whole chunk, unless it was cut; then the items that have begun."""
        if self.cut or not self.tasks or self.whole is None:
            return [self.tasks[position] for position in self.begun]
        return [self.whole]

    def end(self, _saver: asyncio.Task[bool]) -> None:
        """Nothing is stored any more: have no call wait for that."""
        self.over.set()
        for stored in self.unstored.values():
            stored.set()

    async def give_back(self, recalled: asyncio.Event) -> None:
        """Have no more items begin, once the chunk is called back."""
        await recalled.wait()
        left = [position for position in self.tasks if position not in self.begun]
        for position in left:
            self.tasks[position].cancel()
        for _ in left:
            await self.results.put(_Finished())


class SlowPool:
    """Runs slow chunks in the background; ``close`` hands back what is not done.

    ``hung`` is called when only another process can go on. What else takes as long uses its
    leases and its threads.
    """

    def __init__(  # noqa: PLR0913 - its ports, by name
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        failpoints: Failpoints,
        send: Send,
        lease: float,
        heartbeat: float,
        hung: Callable[[str], None],
        metrics: Metrics | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._metrics = metrics or Metrics()
        self._database = database
        self._clock = clock
        self._ids = ids
        self._failpoints = failpoints
        self.send = send
        self.leased = Leased(database=database, clock=clock, lease=lease, heartbeat=heartbeat)
        self.calls = Calls(hung)
        self._payloads = PayloadReader()
        self._recalls = Recalls(database)
        self._at_work: set[_Running] = set()

    def start(self, operation: Operation, control: Control, claimed: Sequence[Claimed]) -> None:
        """Begin to work chunks, unless they run already; returns at once."""
        for chunk in claimed:
            self.leased.start(chunk, partial(self._traced, operation, control, chunk))

    async def drain(self, seconds: float) -> None:
        """Begin no more items; return when those that have begun are stored, or time is up.

        A call that is cancelled is made again by the next worker, and paid for twice.
        """
        self.leased.draining = True
        for running in self._at_work:
            running.begin_no_more()
        ends = [*self.leased.ends, *(end for running in self._at_work for end in running.ends)]
        if ends:
            await asyncio.wait(ends, timeout=seconds)

    async def close(self) -> None:
        """Stop, and give up the leases of what is not done; the results so far are stored."""
        await self.leased.close()
        self.calls.close()

    async def _traced(self, operation: Operation, control: Control, chunk: Claimed) -> None:
        said: dict[str, Value] = {"countermand.job_id": chunk.job_id}
        said |= {"countermand.operation": operation.kind, "countermand.chunks": str(chunk.chunk)}
        with self._tracing.span("work slowly", said=said):
            try:
                await self._run(operation, control, chunk)
            except Exception as error:
                if _may_pass(error):
                    raise
                await self._failed(operation, control, chunk, error)

    async def _failed(
        self, operation: Operation, control: Control, chunk: Claimed, error: Exception
    ) -> None:
        """Close a chunk that would come to the same end with every worker that finds it."""
        log.error("chunk_failed", job_id=chunk.job_id, operation=control.operation, exc_info=error)
        failed = Failed("internal", words_of(_first(error)), retryable=True)
        await self._ended(operation, control, chunk, partial(self._give_up, chunk, failed))

    async def _run(self, operation: Operation, control: Control, chunk: Claimed) -> None:
        running = _Running(asyncio.Queue(QUEUED_RESULTS))
        self._at_work.add(running)
        try:
            if await self._worked(operation, control, chunk, running):
                await self._ended(operation, control, chunk, partial(self._close, chunk))
        finally:
            self._at_work.discard(running)

    async def _worked(
        self, operation: Operation, control: Control, chunk: Claimed, running: _Running
    ) -> bool:
        """Whether all results are there; false when the fence has moved."""
        items, done, late = await self._database.read(partial(self._prepare, operation, chunk))
        async with (
            self._recalls.watched(chunk) as called_back,
            cancelled_at_exit(running.give_back(called_back)),
            cancelled_at_exit(self._tell_progress(control, chunk, running)),
            asyncio.TaskGroup() as group,
        ):
            if late:
                called_back.set()
            wanted = len(items) - len(done)
            saver = group.create_task(self._save(chunk, running, wanted))
            saver.add_done_callback(running.end)
            for position, item in items:
                if position not in done:
                    work = self._item(operation, control, chunk, position, item, running)
                    running.tasks[position] = group.create_task(work)
            if self.leased.draining:
                running.begin_no_more()
            is_ours = await saver
            if not is_ours:
                for task in running.tasks.values():
                    task.cancel()
        return is_ours

    async def _ended(
        self,
        operation: Operation,
        control: Control,
        chunk: Claimed,
        close: Callable[[Connection], outcomes.OutcomeRow | None],
    ) -> None:
        """Close a chunk, if it is still ours, and say so."""
        self.leased.closing()
        row = await self.leased.write(close)
        if row is not None:
            self._metrics.closed(operation.kind, [chunk], [row])
            for message in self._closing_messages(control):
                self._failpoints.reach(Failpoint.BEFORE_OUTCOME_SEND)
                await self._tell(message)
                self._failpoints.reach(Failpoint.AFTER_OUTCOME_SEND)

    def _prepare(
        self, operation: Operation, chunk: Claimed, connection: Connection
    ) -> tuple[list[tuple[int, BaseModel | Failed]], set[int], bool]:
        """The items, those of them that are done, and whether the chunk was called back."""
        lines = self._payloads.lines(connection, chunk.job_id, chunk.items)
        parsed = parse_items(operation, lines)
        done = outcomes.item_results_of(connection, chunk.job_id, chunk.chunk)
        before = recalled(connection, [chunk.job_id]).get(chunk.job_id, 0)
        items = list(zip(chunk.items, parsed, strict=True))
        return items, {result.item for result in done}, chunk.chunk < before

    async def _item(
        self,
        operation: Operation,
        control: Control,
        chunk: Claimed,
        position: int,
        item: BaseModel | Failed,
        running: _Running,
    ) -> None:
        """Work an item; it keeps its place until the result is stored.

        So no more than the operation's ``concurrency`` are ever repeated after a crash.
        """
        if isinstance(item, Failed):
            running.begun.add(position)
            failed = placed(item, position)
            await running.results.put(_Finished(ItemResult(position, failed, 0.0)))
            return
        async with self.calls.place(operation, control.item_timeout) as place:
            running.begun.add(position)
            started = self._clock.monotonic()
            context = self._context(operation, control, chunk, position)
            self._failpoints.reach(Failpoint.BEFORE_HANDLER)
            try:
                result = results_of(operation, await place.call(context, item), 1)[0]
            except Exception as error:
                result = failure_of(error)
            self._failpoints.reach(Failpoint.AFTER_HANDLER)
            if running.over.is_set():
                # A call that took its cancellation for nothing; nobody waits for what it says.
                return
            elapsed = (self._clock.monotonic() - started) * 1000
            finished = _Finished(ItemResult(position, result, round(elapsed, 3)))
            running.unstored[position] = finished.stored
            await running.results.put(finished)
            # Ends with the saver: whoever it leaves unsaved is cancelled by the group.
            await finished.stored.wait()
            running.unstored.pop(position, None)

    def _context(
        self, operation: Operation, control: Control, chunk: Claimed, position: int
    ) -> Context:
        return Context(
            job_id=chunk.job_id,
            tenant=control.tenant,
            actor=control.actor,
            params=operation.params.model_validate(control.params),
            chunk=chunk.chunk,
            attempt=chunk.attempt,
            positions=[position],
            deadline=self._clock.monotonic() + operation.within(control.item_timeout).timeout,
            clock=self._clock,
        )

    # -- results as they come ----------------------------------------------------------

    async def _save(self, chunk: Claimed, running: _Running, wanted: int) -> bool:
        """Store results until all ``wanted`` are there; false when the fence has moved.

        Those of calls that were paid for outlast a database that is away.
        """
        results = running.results
        while wanted > 0:
            batch = [await results.get()]
            while not results.empty():
                batch.append(results.get_nowait())
            self._failpoints.reach(Failpoint.BEFORE_ITEM_RESULTS)
            rows = [finished.result for finished in batch if finished.result is not None]
            if rows and not await self.leased.write(partial(self._store, chunk, rows)):
                return False
            self._failpoints.reach(Failpoint.AFTER_ITEM_RESULTS)
            wanted -= len(batch)
            for finished in batch:
                finished.stored.set()
            running.counts.update(_kind_of(row.result) for row in rows)
            if wanted > 0:
                running.news.set()
        return True

    def _store(self, chunk: Claimed, batch: list[ItemResult], connection: Connection) -> bool:
        if not chunk_store.held(connection, [chunk]):
            return False
        outcomes.store_item_results(connection, chunk.job_id, chunk.chunk, batch)
        return True

    def _give_up(
        self, chunk: Claimed, failed: Failed, connection: Connection
    ) -> outcomes.OutcomeRow | None:
        """Fail the items that have no result yet; those that have one keep it."""
        if not chunk_store.held(connection, [chunk]):
            return None
        done = outcomes.item_results_of(connection, chunk.job_id, chunk.chunk)
        left = chunk.items - Ranges.of(result.item for result in done)
        rows = [ItemResult(position, failed, 0.0) for position in left]
        outcomes.store_item_results(connection, chunk.job_id, chunk.chunk, rows)
        return self._close(chunk, connection)

    def _close(self, chunk: Claimed, connection: Connection) -> outcomes.OutcomeRow | None:
        if not chunk_store.held(connection, [chunk]):
            return None
        done = outcomes.item_results_of(connection, chunk.job_id, chunk.chunk)
        folded = outcomes.folded(done)
        spent = sum(result.duration_ms for result in done)
        self._failpoints.reach(Failpoint.BEFORE_EFFECT_COMMIT)
        # All of them, unless the chunk was called back.
        returned = chunk.items - Ranges.of(result.item for result in done)
        closed = outcomes.summary_of(
            chunk.chunk,
            folded,
            duration_ms=spent,
            closing=Closing.REVOKED if returned else Closing.DONE,
            returned=returned,
        )
        sequence = outcomes.sequence_at(self._clock.now())
        row = outcomes.OutcomeRow(chunk.job_id, closed, folded, chunk.attempt, sequence)
        outcomes.insert_outcomes(connection, [row])
        outcomes.drop_item_results(connection, chunk.job_id, chunk.chunk)
        return row

    # -- messages ----------------------------------------------------------------------

    async def _tell_progress(self, control: Control, chunk: Claimed, running: _Running) -> None:
        """Tell what is stored, again and again; cancelled when the chunk ends, which says it all.

        Beside the storing, which waits for no broker. It is worth no call that is under way: the
        next one says it all again.
        """
        while True:
            await running.news.wait()
            running.news.clear()
            try:
                await self._tell(self._progressed(control, chunk, running.counts))
            except Unavailable as error:
                log.warning("progress_untold", job_id=chunk.job_id, reason=error.message)

    async def _tell(self, message: Outgoing) -> None:
        """Send; whatever hinders that, as the end of this process, is no fault of a chunk."""
        try:
            await self.send(message)
        except Unavailable:
            raise
        except Exception as error:
            # Should it be one of ours after all: as something that is away it has no traceback.
            log.exception("message_unsent", topic=message.topic)
            raise BrokerUnavailable(f"not sent: {type(error).__name__}: {error}") from error

    def _closing_messages(self, control: Control) -> list[Outgoing]:
        return [look_at(control.job_id, self._ids.new())]

    def _progressed(self, control: Control, chunk: Claimed, counts: Counter[str]) -> Outgoing:
        message = ItemsProgressed(
            job_id=control.job_id,
            tenant=control.tenant,
            chunk=chunk.chunk,
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            skipped=counts["skipped"],
        )
        return Outgoing(topic=topics.OUTCOMES, key=control.job_id.encode(), value=encode(message))


def _first(error: BaseException) -> BaseException:
    """What went wrong first, of all that did."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _may_pass(error: BaseException) -> bool:
    """Whether another try may end otherwise: nobody is to blame for a database that is away."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_may_pass, error.exceptions))
    return isinstance(error, (Unavailable, *FAULTS))


def _kind_of(result: Result) -> str:
    if isinstance(result, Done):
        return "succeeded"
    return "failed" if isinstance(result, Failed) else "skipped"
