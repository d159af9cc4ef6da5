"""Undoing: put back what a chunk of a job has changed, within the worker's transaction.

By before-images (:mod:`streams.stores.records`) or by the operation's own inverse. What an
earlier undo of the same chunk has settled is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Table

from domain.compensation import Fellows, Tried, left_alone
from domain.errors import InvalidCommand, NotReversible
from domain.events import Cause, JobStatus
from domain.execution import (
    OF_THE_ITEM,
    Infrastructure,
    invert_items,
    parse_items,
    was_restored,
)
from domain.job import Job
from domain.operation import Context, Operation, Reversible
from domain.outcomes import Conflicted, Failed, ItemStatus, Restored, UndoResult
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from domain.reversal import PLAIN, Terms
from streams.stores import compensations
from streams.stores import ledger as ledgers
from streams.stores.chunks import Claimed, Control
from streams.stores.ledger import Ledger
from streams.stores.payloads import PayloadReader
from streams.stores.records import Ahead, Foresight, SqlRecords, fellows_of, restore
from streams.stores.targets import Target, targets_of
from streams.stores.terms import terms_of

KEPT_TERMS = 256


@dataclass(frozen=True, slots=True)
class Told:
    """Items with their results, in order; ``faults`` is why others cannot be read."""

    items: Sequence[tuple[int, BaseModel, Any]] = ()
    faults: Mapping[int, UndoResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an undo chunk has to put back; ``told`` only for an undo by inverse.

    ``read`` reads that once more.
    """

    target: Target
    positions: Ranges
    told: Told = field(default_factory=Told)
    read: Callable[[], Told] = Told
    terms: Terms = PLAIN
    outside: Mapping[int, UndoResult] | None = None
    """Items that stay as they are, as their effects outside do; None where there are no such."""

    def anew(self) -> Standing:
        """The same, as it was before an inverse had it, which may change what it is given."""
        return replace(self, told=self.read())


@dataclass(frozen=True, slots=True)
class Outside:
    """What an undo chunk has to take back outside; ``items`` with their results, in order.

    ``known`` is what was tried before, ``faults`` why items stay as they are without being
    asked; the items of one of the ``groups`` are put back together.
    """

    items: Sequence[tuple[int, BaseModel, Any]]
    known: Mapping[int, Tried]
    faults: Mapping[int, UndoResult]
    groups: Sequence[Sequence[int]]


def _told(operation: Operation, target: Target, positions: Ranges, lines: Sequence[bytes]) -> Told:
    """What the chunk and its items say; an item that cannot be read keeps no other one back."""
    items: list[tuple[int, BaseModel, Any]] = []
    faults: dict[int, UndoResult] = {}
    entries, parsed = target.entries(positions), parse_items(operation, lines)
    for entry, item in zip(entries, parsed, strict=True):
        if isinstance(item, Failed):
            faults[entry.position] = replace(item, message=_unreadable(item))
        else:
            items.append((entry.position, item, entry.result))
    return Told(items, faults)


def _unreadable(failed: Failed) -> str:
    if failed.code in OF_THE_ITEM:
        return f"the item can no longer be read: {failed.message}"
    return f"the item's model fails ({failed.message}); mend it, and undo again"


def record_tables(registry: Registry) -> dict[str, Table]:
    """All record tables, by name."""
    return {name: table for name, table in registry.tables.items() if isinstance(table, Table)}


def require_undo(operation: Operation) -> None:
    """Raise NotReversible where the operation declares no undo."""
    if operation.reversible is not Reversible.NO:
        return
    if operation.outside:
        effects = " and ".join(operation.outside)
        raise NotReversible(
            f"{operation.kind} has effects outside ({effects}) and no compensation, so they stay"
        )
    if operation.read_only:
        raise NotReversible(f"{operation.kind} only reads, so there is nothing to undo")
    raise NotReversible(f"{operation.kind} declares no undo, so its effects stay")


def require_reversible(operation: Operation, job: Job, *, force: bool = False) -> None:
    """Raise NotReversible where the operation declares no undo, or none of its undo."""
    require_undo(operation)
    if force and operation.reversible is not Reversible.BEFORE_IMAGE:
        raise NotReversible(
            f"{operation.kind} is undone by its {_way(operation)}; it has no use for force"
        )
    final = operation.reversible is Reversible.INVERSE or operation.compensate is not None
    if final and job.shredded is not None:
        raise NotReversible(
            f"{operation.kind} is undone by its {_way(operation)}, which needs the items: the job "
            f"is {job.status}{job.kept}; undo by another job what must be undone"
        )
    if final and job.status is JobStatus.ROLLED_BACK:
        raise NotReversible(
            f"the undo of {operation.kind} has no undo itself; submit the items again"
        )


def _way(operation: Operation) -> str:
    return "own inverse" if operation.compensate is None else "compensation"


class Undoer:
    """Undoes chunks; ``registry`` tells which tables there are."""

    def __init__(self, registry: Registry) -> None:
        self._tables = record_tables(registry)
        self._payloads = PayloadReader()
        self._terms: dict[str, tuple[int, Terms]] = {}
        """By job, the generation of an undo and its terms, which never change."""

    def prepare(
        self,
        connection: Connection,
        operation: Operation,
        claimed: Sequence[Claimed],
        payloads: PayloadReader,
    ) -> dict[int, Standing]:
        """Read what undo chunks of one job need, outside of their transaction; by chunk."""
        if not claimed:
            return {}
        prepared: dict[int, Standing] = {}
        job_id = claimed[0].job_id
        targets = targets_of(connection, job_id, [_target(chunk) for chunk in claimed])
        terms = self._terms_of(connection, job_id, claimed[0].generation)
        for chunk in claimed:
            target = targets[_target(chunk)]
            positions = target.standing(chunk.items)
            read: Callable[[], Told] = Told
            outside: Mapping[int, UndoResult] | None = None
            if operation.compensate is not None:
                outside = _left_alone(connection, chunk, target, positions)
            if operation.reversible is Reversible.INVERSE:
                lines = payloads.lines(connection, job_id, positions)
                read = partial(_told, operation, target, positions, lines)
            prepared[chunk.chunk] = Standing(
                target, positions, read(), read, terms_for(operation, terms), outside
            )
        return prepared

    def outside(
        self, operation: Operation, control: Control, claimed: Claimed, connection: Connection
    ) -> Outside:
        """What a chunk has to take back outside, and what is in the way of its records."""
        target = targets_of(connection, claimed.job_id, [_target(claimed)])[_target(claimed)]
        positions = target.standing(claimed.items)
        lines = self._payloads.lines(connection, claimed.job_id, positions)
        told = _told(operation, target, positions, lines)
        faults = dict(told.faults)
        if target.images is not None:
            terms = self._terms_of(connection, claimed.job_id, claimed.generation)
            foresight = Foresight(self._tables, control.tenant, terms_for(operation, terms))
            writer = _writer_of(control, claimed, target)
            found = foresight.foresee(connection, target.images, writer, set(positions))
            faults |= {p: result for p, result in found.items() if not was_restored(result)}
        return Outside(
            items=told.items,
            known=compensations.tried(connection, claimed.job_id, positions),
            faults=faults,
            groups=fellows_of(target.images),
        )

    def _terms_of(self, connection: Connection, job_id: str, generation: int) -> Terms:
        known, terms = self._terms.get(job_id, (-1, PLAIN))
        if known != generation:
            terms = terms_of(connection, job_id)
            self._terms[job_id] = generation, terms
            # Several threads undo: what one forgets the other may.
            for oldest in list(self._terms)[:-KEPT_TERMS]:
                self._terms.pop(oldest, None)
        return terms

    def ahead(
        self, connection: Connection, operation: Operation, tenant: str, left: Iterable[Standing]
    ) -> Ahead:
        """What the records are that one transaction is going to put back, in their order."""
        ahead = Ahead(connection, self._tables, tenant)
        if operation.reversible is not Reversible.INVERSE:
            images = (standing.target.images for standing in left)
            ahead.read(found for found in images if found is not None)
        return ahead

    def put_back(
        self, ahead: Ahead, claimed: Claimed, writer: Writer, now: float, left: Standing
    ) -> tuple[Mapping[int, UndoResult], bytes | None]:
        """Restore before-images; returns what became of each position, and new images."""
        # An item that wrote nothing has nothing to put back.
        found: dict[int, UndoResult] = dict.fromkeys(left.positions, Restored())
        alone = dict(left.outside or {})
        only = {position for position in left.positions if position not in alone}
        if left.target.images is None or not only:
            return found | alone, None
        restoration = restore(
            ahead,
            left.target.images,
            writer,
            now,
            target=_writer_of(writer, claimed, left.target),
            only=only,
            terms=left.terms,
        )
        restored = dict(restoration.results)
        if left.outside is not None:
            restored = {p: _after_compensation(result) for p, result in restored.items()}
        return found | alone | restored, restoration.images

    def invert(
        self,
        operation: Operation,
        context: Context,
        records: SqlRecords,
        left: Standing,
        infrastructure: Infrastructure,
    ) -> tuple[Mapping[int, UndoResult], bytes | None]:
        """Undo by the operation's inverse, the last item first."""
        found = invert_items(operation, context, left.told.items, infrastructure)
        return found | dict(left.told.faults), records.encoded_images()


def terms_for(operation: Operation, terms: Terms) -> Terms:
    """The terms of an undo, for the records of an operation.

    What could not be compensated stands, and what it wrote is no conflict: it may go later.
    """
    return replace(terms, partial=True) if operation.compensate is not None else terms


def _left_alone(
    connection: Connection, claimed: Claimed, target: Target, positions: Ranges
) -> Mapping[int, UndoResult]:
    stands = target.standing(Ranges())
    tried = compensations.tried(connection, claimed.job_id, stands)
    known = {p: tried[p].of(claimed.generation) if p in tried else None for p in stands}
    return left_alone(positions, known, Fellows(fellows_of(target.images)))


def _after_compensation(result: UndoResult) -> UndoResult:
    """What became of records between the compensation of their item and its undo."""
    if not isinstance(result, Conflicted):
        return result
    reason = f"{result.reason}, when its effects outside were taken back already,"
    return Conflicted(result.record, result.by, reason)


def _writer_of(who: Control | Writer, claimed: Claimed, target: Target) -> Writer:
    """Whoever wrote what a chunk puts back."""
    return Writer(
        tenant=who.tenant,
        actor=who.actor,
        job_id=claimed.job_id,
        generation=target.generation,
        chunk=_target(claimed),
    )


def undo_ledger(claimed: Claimed, found: Mapping[int, UndoResult], duration_ms: float) -> Ledger:
    """What an undo chunk says of its items."""
    forward = claimed.cause is Cause.REAPPLY
    return ledgers.encode_undo(
        found,
        restored=ItemStatus.SUCCEEDED if forward else ItemStatus.ROLLED_BACK,
        duration_ms=duration_ms,
    )


def failed_ledger(connection: Connection, claimed: Claimed, failed: Failed) -> Ledger:
    """A chunk of which every item fails, or cannot be put back, for the same reason."""
    if claimed.cause.undoing:
        target = targets_of(connection, claimed.job_id, [_target(claimed)])[_target(claimed)]
        return undo_ledger(claimed, dict.fromkeys(target.standing(claimed.items), failed), 0.0)
    items = claimed.items
    return ledgers.encode_results(items, [failed] * len(items), duration_ms=0.0)


def _target(claimed: Claimed) -> int:
    if claimed.target is None:
        raise InvalidCommand(f"undo chunk {claimed.chunk} of job {claimed.job_id} has no target")
    return claimed.target
