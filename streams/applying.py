"""Applying: the items of a chunk are worked, for good or as a rehearsal.

Called by :mod:`streams.worker` within its transaction. A dry run goes the same way: the
same code validates and applies, the writes go to a savepoint, what they would change is
read off them, and the savepoint is rolled back. What cannot be rolled back is not applied:
operations that are slow, work in other processes, or have effects outside of the records
are only validated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Table

from domain.execution import Parsed, check_chunk, work_chunk
from domain.operation import Context, Operation
from domain.outcomes import Done, Result
from domain.ports import Clock
from domain.registry import Registry
from streams.failpoints import Failpoint, Failpoints
from streams.stores import ledger as ledgers
from streams.stores import plans
from streams.stores.chunks import Claimed, Control
from streams.stores.database import INFRASTRUCTURE
from streams.stores.ledger import Ledger
from streams.stores.records import SqlRecords
from streams.stores.records.changes import Changes, changes_of


class _Discarded(Exception):
    """Ends the savepoint of a rehearsal, so that its writes vanish."""


class Applier:
    """Works items; ``registry`` tells which tables there are."""

    def __init__(self, registry: Registry, clock: Clock, failpoints: Failpoints) -> None:
        self._clock = clock
        self._failpoints = failpoints
        self._tables: dict[str, Table] = {
            table.name: table
            for operation in registry
            for table in operation.tables
            if isinstance(table, Table)
        }

    def work(
        self,
        operation: Operation,
        control: Control,
        claimed: Claimed,
        parsed: Sequence[Parsed],
        context: Context,
        records: SqlRecords,
    ) -> tuple[Ledger, bytes | None]:
        """What became of each item, with the before-images of what was written."""
        started = self._clock.monotonic()
        self._failpoints.reach(Failpoint.BEFORE_HANDLER)
        if control.dry_run:
            results, changes = self._rehearsed(operation, parsed, context, records)
        else:
            results, changes = work_chunk(operation, context, parsed, INFRASTRUCTURE), None
        self._failpoints.reach(Failpoint.AFTER_HANDLER)
        each = round((self._clock.monotonic() - started) * 1000 / len(results), 4)
        if changes is None:
            ledger = ledgers.encode_results(claimed.items, results, duration_ms=each)
            return ledger, records.encoded_images()
        self._keep_targets(records, claimed, results, changes)
        told = changes.by_position
        return ledgers.encode_plan(claimed.items, results, told, duration_ms=each), None

    def _rehearsed(
        self,
        operation: Operation,
        parsed: Sequence[Parsed],
        context: Context,
        records: SqlRecords,
    ) -> tuple[list[Result], Changes]:
        results: list[Result] = []
        changes = Changes()
        with contextlib.suppress(_Discarded), records.savepoint():
            if operation.only_writes_records:
                results = work_chunk(operation, context, parsed, INFRASTRUCTURE)
                found, tenant, places = records.connection, context.tenant, context.positions
                changes = changes_of(found, self._tables, tenant, records.images, places)
            else:
                known = replace(context, records=None) if operation.waits else context
                results = check_chunk(operation, known, parsed, INFRASTRUCTURE)
            raise _Discarded
        return results, changes

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
        plans.insert_targets(records.connection, claimed.job_id, targets)
