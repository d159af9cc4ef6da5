"""Planned: a job that does what a dry run has found, and nothing when that no longer holds.

Checked twice. The coordinator compares all records with the versions that the dry run has
seen, before the job is accepted and before it is approved. The worker does so again for the
items of a chunk, within its transaction and with the records locked: an item of which a
record has changed meanwhile fails, and is not begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, Table

from domain.commands import JobSpec
from domain.errors import InvalidCommand, PlanApplied, PlanChanged
from domain.options import Plan
from domain.outcomes import Failed
from domain.ranges import Ranges
from domain.records import Writer
from domain.registry import Registry
from streams.stores import plans
from streams.stores.plans import NAMED, StoredPlan
from streams.stores.records import record_table_id
from streams.stores.records.changes import Target
from streams.stores.records.goals import Goal
from streams.stores.records.rows import load
from streams.stores.records.shape import shape_of
from streams.stores.records.standing import LaterWrite, later_writes

Tables = Mapping[str, Table]


def tables_of(registry: Registry) -> dict[str, Table]:
    """All record tables that operations declare, by name."""
    return {
        table.name: table
        for operation in registry
        for table in operation.tables
        if isinstance(table, Table)
    }


def contents_of(spec: JobSpec, items_sha256: str) -> str:
    """A digest of what is done to which items."""
    document = [spec.operation, spec.params, items_sha256]
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


# -- the coordinator ------------------------------------------------------------------------


def require_applicable(
    connection: Connection, tables: Tables, tenant: str, spec: JobSpec, sha256: str
) -> None:
    """Raise unless a job may do what its plan says, and name the records; holds the plan."""
    if spec.options.plan is None:
        return
    plan = _known(connection, tenant, spec.options.plan)
    if plan.contents != contents_of(spec, sha256):
        raise InvalidCommand(
            "operation, params and items must be those of the plan; make a new dry run of these",
            pointer="/options/plan",
        )
    if plan.applied_by is not None:
        raise PlanApplied(
            f"job {plan.applied_by} does what dry run {plan.job_id} has planned; to do it once "
            "more, make a new dry run",
            pointer="/options/plan",
        )
    require_unchanged(connection, tables, tenant, plan.job_id)


def hand_over(connection: Connection, spec: JobSpec, job_id: str) -> None:
    """Give a plan that may be applied to the job that does it, once nothing else is refused."""
    if spec.options.plan is not None:
        plans.mark_applied(connection, spec.options.plan.job_id, job_id)


def require_unchanged(connection: Connection, tables: Tables, tenant: str, plan: str) -> None:
    """Raise PlanChanged, which names the records, unless all are as the dry run has seen them."""
    changed = plans.changed_targets(connection, plan, tenant, tables)
    if not changed:
        return
    named = ", ".join(map(str, changed[:NAMED])) + (" and more" if len(changed) > NAMED else "")
    raise PlanChanged(
        f"records have changed since the dry run: {named}; nothing was touched, make a new dry run",
        pointer="/options/plan",
    )


def _known(connection: Connection, tenant: str, wanted: Plan) -> StoredPlan:
    found = plans.find_plan(connection, wanted.job_id, locked=True)
    if found is None or found.tenant != tenant:
        raise InvalidCommand(
            f"{wanted.job_id} is no plan; let a dry run finish and ask for its plan first",
            pointer="/options/plan/job_id",
        )
    if found.digest != wanted.digest:
        raise PlanChanged(
            f"the digest of plan {wanted.job_id} is {found.digest}; look at it again",
            pointer="/options/plan/digest",
        )
    return found


# -- the worker -----------------------------------------------------------------------------


def heeded(
    connection: Connection, tables: Tables, plan: str, writer: Writer, items: Ranges
) -> tuple[set[int], dict[int, Failed]]:
    """The good items of a plan among some, and those of which a record has changed since."""
    targets = plans.targets_at(connection, plan, items)
    by_table: dict[str, list[Target]] = {}
    for target in targets:
        if target.table != plans.NO_TABLE:
            by_table.setdefault(target.table, []).append(target)
    changed: dict[int, Failed] = {}
    for name, wanted in sorted(by_table.items()):
        changed |= moved_targets(connection, tables[name], writer, wanted, SINCE_PLAN)
    return {target.position for target in targets}, changed


@dataclass(frozen=True, slots=True)
class Since:
    """How it is said that a record has changed."""

    code: str
    when: str
    remedy: str


SINCE_PLAN = Since("changed_since_plan", "the dry run had seen version {}", "make a new dry run")
SINCE_PREPARED = Since(
    "changed_since_prepared", "the job had prepared it at version {}", "retry the job"
)


def moved_targets(
    connection: Connection, table: Table, writer: Writer, targets: Sequence[Target], since: Since
) -> dict[int, Failed]:
    """The items of which a record is not at the version that was seen; locks all the records."""
    shape = shape_of(table, connection.dialect)
    present = load(connection, shape, writer.tenant, [target.record for target in targets])
    versions = {record: version for record, (version, _) in present.items()}
    moved = [target for target in targets if versions.get(target.record) != target.version]
    if not moved:
        return {}
    goals = [Goal(table.name, t.record, 0, (), None, t.version, False, []) for t in moved]
    later = later_writes(connection, record_table_id(connection, table.name), goals)
    changed: dict[int, Failed] = {}
    for target in moved:
        writes = later.get(target.record, [])
        if not _is_own(writes, versions.get(target.record), writer):
            changed[target.position] = _fault(target, writes, writer, since)
    return changed


def _is_own(writes: list[LaterWrite], version: int | None, writer: Writer) -> bool:
    """Whether only items of this very job have changed a record: the plan has seen them too."""
    if not writes or any(write.writer.job_id != writer.job_id for write in writes):
        return False
    return version == (None if writes[-1].deleted else writes[-1].version)


def _fault(target: Target, writes: list[LaterWrite], writer: Writer, since: Since) -> Failed:
    others = [write for write in writes if write.writer.job_id != writer.job_id]
    who = f" by {others[-1].writer.name}" if others else ""
    return Failed(
        since.code,
        f"{target.table}/{target.record} was changed{who} after "
        f"{since.when.format(target.version)}; {since.remedy}",
    )
