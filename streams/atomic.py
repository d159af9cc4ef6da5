"""Atomic jobs: prepared without effect, and then committed as a whole or not at all.

Called by :mod:`streams.applying` within the worker's transaction. To prepare is to work a
chunk in a savepoint that is rolled back, as a dry run does: what fails is known early, many
workers share it, and nobody waits for a lock. What is kept are the versions of the records
that it would have changed. The commit compares them, with the records locked in the order
of their ids, then works all items again by the same code, in the one transaction that
stores the outcome. Another version, or an item that fails now, and nothing is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from domain.execution import Items, work_chunk
from domain.operation import Context, Operation
from domain.outcomes import Failed, Result
from domain.ranges import Ranges
from domain.records import Writer
from streams.failpoints import Failpoint, Failpoints
from streams.planned import SINCE_PREPARED, Tables, moved_targets
from streams.stores import plans
from streams.stores.records import SqlRecords
from streams.stores.records.changes import seen_targets
from streams.stores.records.scope import Discarded

SECONDS = 60.0
"""How long a commit may work its items."""
SLICE = 500
"""Items that a commit hands to an operation at once, at most."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What became of some items: all their results, or those that failed, and no effect."""

    results: Sequence[Result]
    items: Ranges
    returned: Ranges


class Atomic:
    """Prepares and commits; ``tables`` are those of all operations."""

    def __init__(self, tables: Tables, failpoints: Failpoints) -> None:
        self._tables = tables
        self._failpoints = failpoints

    def prepare(
        self,
        operation: Operation,
        given: Items,
        context: Context,
        records: SqlRecords,
    ) -> Whole:
        """Work a chunk and take it back; what did not fail is returned, for the commit."""
        with records.rehearsal():
            results = work_chunk(operation, context, given, records.is_fault)
            targets = seen_targets(records.images)
        failed = _failures(context.positions, results)
        items = Ranges.of(context.positions)
        kept = [target for target in targets if target.position not in failed]
        plans.replace_targets(records.connection, context.job_id, items, kept)
        self._failpoints.reach(Failpoint.AFTER_PREPARE)
        return _without_effect(items, failed)

    def commit(
        self,
        operation: Operation,
        given: Items,
        context: Context,
        records: SqlRecords,
    ) -> Whole:
        """Do all that was prepared; or nothing, and say which items are at fault."""
        items = Ranges.of(context.positions)
        failed = self._changed(context.job_id, records)
        if failed:
            return _without_effect(items, failed)
        results: list[Result] = []
        with contextlib.suppress(Discarded), records.savepoint():
            failed = self._work(operation, given, context, records, results)
            if failed:
                raise Discarded
        if failed:
            return _without_effect(items, failed)
        plans.forget_targets(records.connection, context.job_id)
        return Whole(results, items, Ranges())

    def _changed(self, job_id: str, records: SqlRecords) -> dict[int, Failed]:
        """The items of which somebody else has changed a record since it was prepared."""
        writer: Writer = records.writer
        changed: dict[int, Failed] = {}
        for seen in plans.prepared_targets(records.connection, job_id):
            table = self._tables[seen[0].table]
            changed |= moved_targets(records.connection, table, writer, seen, SINCE_PREPARED)
        return changed

    def _work(
        self,
        operation: Operation,
        given: Items,
        context: Context,
        records: SqlRecords,
        results: list[Result],
    ) -> dict[int, Failed]:
        """Work slice by slice; goes on after a failure, so that all are named."""
        failed: dict[int, Failed] = {}
        context = replace(context, deadline=context.clock.monotonic() + SECONDS)
        for first in range(0, len(given), SLICE):
            places = context.positions[first : first + SLICE]
            if context.clock.monotonic() > context.deadline:
                return {places[0]: _too_long(first, len(given))}
            some = given.chosen(range(first, first + len(places)))
            at = replace(context, positions=places)
            found = work_chunk(operation, at, some, records.is_fault)
            failed |= _failures(places, found)
            results += found
            self._failpoints.reach(Failpoint.WITHIN_ATOMIC_COMMIT)
        return failed


def _failures(positions: Sequence[int], results: Sequence[Result]) -> dict[int, Failed]:
    pairs = zip(positions, results, strict=True)
    return {position: result for position, result in pairs if isinstance(result, Failed)}


def _too_long(worked: int, items: int) -> Failed:
    return Failed(
        "timeout",
        f"the commit had worked {worked} of {items} items after {SECONDS:g} s; make the job "
        "smaller",
    )


def _without_effect(items: Ranges, failed: dict[int, Failed]) -> Whole:
    named = Ranges.of(failed)
    return Whole([failed[position] for position in named], named, items - named)
