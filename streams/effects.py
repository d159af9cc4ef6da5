"""Effects: what chunks do to records, and their outcomes, in one transaction. What a worker does.

Records, before-images, history and the outcome row of a chunk are written together, under
the fence of epoch and attempt: what comes late or twice writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from domain.events import Cause
from domain.execution import NO_ITEMS, Items, parse_items, words_of
from domain.operation import Context, Operation, Reversible
from domain.outcomes import ClosedChunk, Closing, Failed
from domain.ports import Clock
from domain.ranges import Ranges
from domain.records import Writer
from streams import undoing
from streams.applying import Applied, Applier
from streams.failpoints import Failpoint, Failpoints
from streams.stores import chunks as chunk_store
from streams.stores import outcomes
from streams.stores.chunks import Claimed, Control
from streams.stores.database import Database
from streams.stores.outcomes import OutcomeRow
from streams.stores.payloads import PayloadReader
from streams.stores.records import Ahead, Contention, Crowds, SqlRecords, Together
from streams.stores.records.parts import JobParts
from streams.undoing import Standing, Undoer

Begin = Callable[[], object]
"""To be called when the time of a handler begins."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claimed chunk with its items parsed, or with what is to be put back."""

    claimed: Claimed
    items: Items = NO_ITEMS
    standing: Standing | None = None

    def anew(self) -> Prepared:
        """The same, as it was before handlers had it: they may change what they are given."""
        standing = None if self.standing is None else self.standing.anew()
        return replace(self, items=self.items.anew(), standing=standing)


def each_time(prepared: Sequence[Prepared]) -> Callable[[Connection], Sequence[Prepared]]:
    """What was prepared, for each run of a transaction that may have to be run again."""

    def runs() -> Iterator[Sequence[Prepared]]:
        yield prepared
        while True:
            yield [chunk.anew() for chunk in prepared]

    run = runs()
    return lambda _: next(run)


class Effects:
    """Works chunks that are claimed; ``lasting``: see :class:`~streams.worker.WorkerSettings`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        failpoints: Failpoints,
        applier: Applier,
        undoer: Undoer,
        lasting: bool,
    ) -> None:
        self._database = database
        self._clock = clock
        self._failpoints = failpoints
        self._applier = applier
        self._undoer = undoer
        self._lasting = lasting
        self._payloads = PayloadReader()
        self._crowds = Crowds()
        self._tables: dict[str, int] = {}
        """Numbers of record tables whose rows outlive the machine: they never change."""

    # -- prepare: outside of the transaction, unless it is little ----------------------

    def prepare(
        self, operation: Operation, claimed: Sequence[Claimed], connection: Connection
    ) -> list[Prepared]:
        """Read what the chunks of one job need, outside of their transaction or within it."""
        forward = [chunk for chunk in claimed if not chunk.cause.undoing]
        items = Ranges.from_spans(span for chunk in forward for span in chunk.items.spans)
        lines = self._payloads.lines(connection, claimed[0].job_id, items)
        sent = dict(zip(items, lines, strict=True))
        undo = [chunk for chunk in claimed if chunk.cause.undoing]
        standing = self._undoer.prepare(connection, operation, undo, self._payloads)
        return [
            Prepared(chunk, standing=standing[chunk.chunk])
            if chunk.cause.undoing
            else Prepared(chunk, parse_items(operation, [sent[p] for p in chunk.items]))
            for chunk in claimed
        ]

    # -- work: one transaction ---------------------------------------------------------

    def settle(
        self,
        operation: Operation,
        control: Control,
        prepared: Callable[[Connection], Sequence[Prepared]],
        begin: Begin,
        *,
        at_once: bool = False,
    ) -> list[OutcomeRow]:
        """Work chunks in one transaction; returns the outcomes of those that are still ours.

        Of little work, which is done ``at_once``, the database tells whoever drives the job.
        """
        contention = self._crowds.expected(operation.kind)

        def work(connection: Connection) -> tuple[list[OutcomeRow], Mapping[str, int]]:
            begin()
            contention.begin()
            chunks = prepared(connection)
            rows, tables = self._work(operation, control, chunks, connection, contention)
            if at_once and rows:
                outcomes.announce(connection, control.job_id)
            return rows, tables

        try:
            rows, tables = self._database.write_now(work, lasting=self._lasting)
        finally:
            self._crowds.learn(operation.kind, contention)
        if self._lasting:
            self._tables |= tables
        return rows

    def _work(
        self,
        operation: Operation,
        control: Control,
        prepared: Sequence[Prepared],
        connection: Connection,
        contention: Contention,
    ) -> tuple[list[OutcomeRow], Mapping[str, int]]:
        """The outcomes, and the numbers of record tables, which hold once this is committed."""
        held = set(chunk_store.held(connection, [chunk.claimed for chunk in prepared]))
        ours = [chunk for chunk in prepared if chunk.claimed in held]
        left = [chunk.standing for chunk in ours if chunk.standing is not None]
        ahead = self._undoer.ahead(connection, operation, control.tenant, left)
        together = Together(
            connection,
            writers=len(ours),
            tables=self._tables,
            contention=contention,
            sole=True,
        )
        rows = [self._work_one(operation, control, chunk, ahead, together) for chunk in ours]
        together.flush()
        self._failpoints.reach(Failpoint.BEFORE_IMAGES)
        if rows:
            outcomes.insert_outcomes(connection, rows)
        self._failpoints.reach(places([chunk.claimed for chunk in prepared])[0])
        return rows, together.tables

    def _work_one(
        self,
        operation: Operation,
        control: Control,
        chunk: Prepared,
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
                operation, control, chunk.claimed, chunk.items, context, records
            )
        closed = outcomes.summary_of(
            chunk.claimed.chunk,
            found.ledger,
            duration_ms=(self._clock.monotonic() - started) * 1000,
            closing=Closing.PREPARED if found.returned else Closing.DONE,
            returned=found.returned,
            images=found.images,
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
            found, images = self._undoer.invert(operation, context, records, left, records.is_fault)
        else:
            now = self._clock.now().timestamp()
            writer = self._writer(context, claimed)
            found, images = self._undoer.put_back(ahead, claimed, writer, now, left)
        self._failpoints.reach(Failpoint.AFTER_RESTORE)
        each = (self._clock.monotonic() - started) * 1000 / max(len(found), 1)
        return Applied(undoing.undo_ledger(claimed, found, round(each, 4)), images)

    def fail(
        self, claimed: Sequence[Claimed], error: Exception, connection: Connection
    ) -> list[OutcomeRow]:
        """Close chunks that no item can be blamed for: a fault of ours, or of a plug-in."""
        failed = Failed("internal", words_of(error), retryable=True)
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
        return OutcomeRow(
            claimed.job_id, closed, said.ledger, claimed.attempt, sequence, said.images
        )

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
            parts=JobParts(records, claimed.job_id),
        )

    def _writer(self, who: Control | Context, claimed: Claimed) -> Writer:
        return Writer(
            tenant=who.tenant,
            actor=who.actor,
            job_id=claimed.job_id,
            generation=claimed.generation,
            chunk=claimed.chunk,
        )


def places(claimed: Sequence[Claimed]) -> tuple[Failpoint, Failpoint]:
    """Where a test may end the process before and after the commit of these chunks."""
    if any(chunk.cause.undoing for chunk in claimed):
        return Failpoint.BEFORE_UNDO_COMMIT, Failpoint.AFTER_UNDO_COMMIT
    if any(chunk.cause is Cause.COMMIT for chunk in claimed):
        return Failpoint.BEFORE_ATOMIC_COMMIT, Failpoint.AFTER_ATOMIC_COMMIT
    return Failpoint.BEFORE_EFFECT_COMMIT, Failpoint.AFTER_EFFECT_COMMIT
