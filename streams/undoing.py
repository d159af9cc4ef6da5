"""Undoing: put back what a chunk of a job has changed, within the worker's transaction.

By before-images (:mod:`streams.stores.records`) or by the operation's own inverse. What an
earlier undo of the same chunk has settled is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Table

from domain.errors import InvalidCommand, NotReversible
from domain.events import Cause, JobStatus
from domain.execution import Infrastructure, Parsed, invert_items, parse_items
from domain.job import Job
from domain.operation import Context, Operation, Reversible
from domain.outcomes import Failed, ItemStatus, Restored, UndoResult
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from domain.reversal import PLAIN, Terms
from streams.stores import ledger as ledgers
from streams.stores.chunks import Claimed
from streams.stores.ledger import Ledger, LedgerEntry
from streams.stores.payloads import PayloadReader
from streams.stores.records import Ahead, SqlRecords, restore
from streams.stores.targets import Target, targets_of
from streams.stores.terms import terms_of

KEPT_TERMS = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What an undo chunk has to put back; ``items`` only for an undo by inverse."""

    target: Target
    positions: Ranges
    items: Sequence[tuple[int, BaseModel, Any]] = ()
    terms: Terms = PLAIN


def _readable(
    entries: Sequence[LedgerEntry], parsed: Sequence[Parsed]
) -> list[tuple[int, BaseModel, Any]]:
    items: list[tuple[int, BaseModel, Any]] = []
    for entry, item in zip(entries, parsed, strict=True):
        if not isinstance(item, BaseModel):
            raise InvalidCommand(f"item {entry.position} can no longer be read: {item.message}")
        items.append((entry.position, item, entry.result))
    return items


def record_tables(registry: Registry) -> dict[str, Table]:
    """All record tables, by name."""
    return {name: table for name, table in registry.tables.items() if isinstance(table, Table)}


def require_undo(operation: Operation) -> None:
    """Raise NotReversible where the operation declares no undo."""
    if operation.reversible is Reversible.NO:
        raise NotReversible(f"{operation.kind} declares no undo, so its effects stay")


def require_reversible(operation: Operation, job: Job, *, force: bool = False) -> None:
    """Raise NotReversible where the operation declares no undo, or none of its undo."""
    require_undo(operation)
    if force and operation.reversible is Reversible.INVERSE:
        raise NotReversible(
            f"{operation.kind} is undone by its own inverse; it has no use for force"
        )
    by_inverse = operation.reversible is Reversible.INVERSE
    if by_inverse and job.shredded is not None:
        raise NotReversible(
            f"{operation.kind} is undone by its own inverse, which needs the items: the job is "
            f"{job.status}{job.kept}; undo by another job what must be undone"
        )
    if by_inverse and job.status is JobStatus.ROLLED_BACK:
        raise NotReversible(
            f"the undo of {operation.kind} has no undo itself; submit the items again"
        )


class Undoer:
    """Undoes chunks; ``registry`` tells which tables there are."""

    def __init__(self, registry: Registry) -> None:
        self._tables = record_tables(registry)
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
            items: list[tuple[int, BaseModel, Any]] = []
            if operation.reversible is Reversible.INVERSE:
                lines = payloads.lines(connection, job_id, positions)
                items = _readable(target.entries(positions), parse_items(operation, lines))
            prepared[chunk.chunk] = Standing(target, positions, items, terms)
        return prepared

    def _terms_of(self, connection: Connection, job_id: str, generation: int) -> Terms:
        known, terms = self._terms.get(job_id, (-1, PLAIN))
        if known != generation:
            terms = terms_of(connection, job_id)
            self._terms[job_id] = generation, terms
            while len(self._terms) > KEPT_TERMS:
                self._terms.pop(next(iter(self._terms)), None)
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
        if left.target.images is None:
            return found, None
        restoration = restore(
            ahead,
            left.target.images,
            writer,
            now,
            target=Writer(
                tenant=writer.tenant,
                actor=writer.actor,
                job_id=writer.job_id,
                generation=left.target.generation,
                chunk=_target(claimed),
            ),
            only=set(left.positions),
            terms=left.terms,
        )
        return found | dict(restoration.results), restoration.images

    def invert(
        self,
        operation: Operation,
        context: Context,
        records: SqlRecords,
        left: Standing,
        infrastructure: Infrastructure,
    ) -> tuple[Mapping[int, UndoResult], bytes | None]:
        """Undo by the operation's inverse, the last item first."""
        found = invert_items(operation, context, left.items, infrastructure)
        return found, records.encoded_images()


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
