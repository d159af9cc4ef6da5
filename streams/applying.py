"""Applying: the items of a chunk are worked, for good, as a rehearsal, by a plan, or as a whole.

Called by :mod:`streams.worker` within its transaction. A dry run goes the same way: the
same code validates and applies, the writes go to a savepoint, what they would change is
read off them, and the savepoint is rolled back. What cannot be rolled back is not applied:
operations that are slow, work in other processes, or have effects outside of the records
are only validated. What only reads is applied: nothing is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from domain.events import Cause
from domain.execution import Items, check_chunk, work_chunk
from domain.operation import Context, Operation
from domain.outcomes import Done, Result, Skipped
from domain.ports import Clock
from domain.ranges import Ranges
from domain.registry import Registry
from streams import planned
from streams.atomic import Atomic
from streams.failpoints import Failpoint, Failpoints
from streams.stores import ledger as ledgers
from streams.stores import plans
from streams.stores.chunks import Claimed, Control
from streams.stores.ledger import Ledger
from streams.stores.records import SqlRecords
from streams.stores.records.changes import Changes, changes_of

NOTHING = Ranges()
NOT_PLANNED = Skipped("the dry run does not have it: it would have failed or been skipped")


@dataclass(frozen=True, slots=True)
class Applied:
    """What a chunk says of its items; those that are ``returned`` have no effect yet."""

    ledger: Ledger
    images: bytes | None
    returned: Ranges = NOTHING


class Applier:
    """Works items; ``registry`` tells which tables there are."""

    def __init__(self, registry: Registry, clock: Clock, failpoints: Failpoints) -> None:
        self._clock = clock
        self._failpoints = failpoints
        self._tables = planned.tables_of(registry)
        self._atomic = Atomic(self._tables, failpoints)

    def work(
        self,
        operation: Operation,
        control: Control,
        claimed: Claimed,
        given: Items,
        context: Context,
        records: SqlRecords,
    ) -> Applied:
        """What became of each item, with the before-images of what was written."""
        started = self._clock.monotonic()
        self._failpoints.reach(Failpoint.BEFORE_HANDLER)
        changes: Changes | None = None
        items, returned = claimed.items, NOTHING
        if control.atomic:
            commits = claimed.cause is Cause.COMMIT
            work = self._atomic.commit if commits else self._atomic.prepare
            whole = work(operation, given, context, records)
            results, items, returned = whole.results, whole.items, whole.returned
        elif control.dry_run:
            results, changes = self._rehearsed(operation, given, context, records)
        elif control.plan is not None:
            results = self._by_plan(operation, control.plan, given, context, records)
        else:
            results = work_chunk(operation, context, given, records.is_fault)
        self._failpoints.reach(Failpoint.AFTER_HANDLER)
        each = round((self._clock.monotonic() - started) * 1000 / len(claimed.items), 4)
        if changes is None:
            ledger = ledgers.encode_results(items, results, duration_ms=each)
            return Applied(ledger, records.encoded_images(), returned)
        self._keep_targets(records, claimed, results, changes)
        told = changes.by_position
        read = operation.read_only
        ledger = ledgers.encode_plan(items, results, told, duration_ms=each, read=read)
        return Applied(ledger, None)

    def _rehearsed(
        self,
        operation: Operation,
        given: Items,
        context: Context,
        records: SqlRecords,
    ) -> tuple[Sequence[Result], Changes]:
        changes = Changes()
        with records.rehearsal():
            if operation.may_be_rehearsed:
                results = work_chunk(operation, context, given, records.is_fault)
                found, tenant, places = records.connection, context.tenant, context.positions
                changes = changes_of(found, self._tables, tenant, records.images, places)
            else:
                known = replace(context, records=None) if operation.waits else context
                results = check_chunk(operation, known, given, records.is_fault)
        return results, changes

    def _by_plan(
        self,
        operation: Operation,
        plan: str,
        given: Items,
        context: Context,
        records: SqlRecords,
    ) -> Sequence[Result]:
        """Work what a dry run has found good, unless a record of it has changed since."""
        items = Ranges.of(context.positions)
        good, changed = planned.heeded(
            records.connection, self._tables, plan, records.writer, items
        )
        results: dict[int, Result] = dict(changed)
        numbered = enumerate(context.positions)
        chosen = [n for n, p in numbered if p in good and p not in changed]
        if chosen:
            places = [context.positions[n] for n in chosen]
            at = replace(context, positions=places)
            worked = work_chunk(operation, at, given.chosen(chosen), records.is_fault)
            results |= zip(places, worked, strict=True)
        return [results.get(position, NOT_PLANNED) for position in context.positions]

    def _keep_targets(
        self,
        records: SqlRecords,
        claimed: Claimed,
        results: Sequence[Result],
        changes: Changes,
    ) -> None:
        """Which records are behind what would succeed."""
        verdicts = zip(claimed.items, results, strict=True)
        good = {position for position, result in verdicts if isinstance(result, Done)}
        targets = [target for target in changes.targets if target.position in good]
        idle = good - {target.position for target in targets}
        targets += [plans.no_target(position) for position in sorted(idle)]
        plans.insert_targets(records.connection, claimed.job_id, targets)
