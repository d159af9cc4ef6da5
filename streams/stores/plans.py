"""Plans: what a dry run has found, for a job that is to do just that."""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)

from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.outcomes import ledger_rows
from streams.stores.records.changes import Target
from streams.stores.schema import plan_targets, plans
from streams.stores.statements import Statement, among, insertion, listed

NO_TABLE = ""
BLOCK = 5000
NAMED = 10
"""Changed records that are named; of the others it is said that there are more."""

_INSERT_TARGET = insertion(
    plan_targets, "job_id", "position", "record_table", "record_id", "version", or_ignore=True
)
_DROP_TARGETS = Statement(
    lambda dialect: delete(plan_targets).where(
        plan_targets.c.job_id == bindparam("job"), among(plan_targets.c.position, dialect)
    )
)
_INSERT_PLAN = insertion(plans, "job_id", "tenant", "contents", "digest", or_ignore=True)
_TARGETS = Statement(
    lambda dialect: select(
        plan_targets.c.position,
        plan_targets.c.record_table,
        plan_targets.c.record_id,
        plan_targets.c.version,
    ).where(
        plan_targets.c.job_id == bindparam("plan"),
        among(plan_targets.c.position, dialect),
    )
)


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A finished dry run; ``applied_by`` is the job that does what it has planned."""

    job_id: str
    tenant: str
    contents: str
    digest: str
    applied_by: str | None = None


@dataclass(frozen=True, slots=True)
class ChangedTarget:
    """A record that is not as a dry run has seen it; ``version`` is None when it is gone."""

    table: str
    record: int
    planned: int
    version: int | None

    def __str__(self) -> str:
        now = "is gone" if self.version is None else f"is at version {self.version}"
        return f"{self.table}/{self.record} {now} (planned at {self.planned})"


def no_target(position: int) -> Target:
    """An item that would succeed and change no record."""
    return Target(position, NO_TABLE, 0, 0)


def insert_targets(connection: Connection, job_id: str, targets: Sequence[Target]) -> None:
    """Keep which items are good; what an earlier attempt has seen of a record stays."""
    _INSERT_TARGET.run_many(
        connection,
        [
            {
                "job_id": job_id,
                "position": target.position,
                "record_table": target.table,
                "record_id": target.record,
                "version": target.version,
            }
            for target in targets
        ],
    )


def replace_targets(
    connection: Connection, job_id: str, items: Ranges, targets: Sequence[Target]
) -> None:
    """Keep what has been seen for some items; what an earlier attempt has seen of them goes."""
    _DROP_TARGETS.run(connection, job=job_id, numbers=listed(list(items)))
    insert_targets(connection, job_id, targets)


def forget_targets(connection: Connection, job_id: str) -> None:
    """What a job has seen is of no use once it has done it."""
    connection.execute(delete(plan_targets).where(plan_targets.c.job_id == job_id))


def prepared_targets(connection: Connection, job_id: str) -> Iterator[list[Target]]:
    """What an atomic job has seen, by record, in blocks that each are of one table."""
    target = plan_targets.c
    query = (
        select(target.position, target.record_table, target.record_id, target.version)
        .where(target.job_id == job_id, target.record_table != NO_TABLE)
        .order_by(target.record_table, target.record_id, target.position)
        .limit(BLOCK)
    )
    last: tuple[str, int, int] | None = None
    while True:
        after = tuple_(target.record_table, target.record_id, target.position)
        rows = connection.execute(
            query if last is None else query.where(after > tuple_(*map(literal, last)))
        )
        found = [Target(*row) for row in rows]
        for _, block in itertools.groupby(found, key=lambda seen: seen.table):
            yield list(block)
        if len(found) < BLOCK:
            return
        last = found[-1].table, found[-1].record, found[-1].position


def targets_at(connection: Connection, plan: str, positions: Ranges) -> list[Target]:
    """The good items among some, with their records."""
    rows = _TARGETS.run(connection, plan=plan, numbers=listed(list(positions)))
    return [Target(*row) for row in rows]


def keep_plan(connection: Connection, plan: StoredPlan) -> None:
    """Keep the digests of a finished dry run."""
    given = {"job_id": plan.job_id, "tenant": plan.tenant}
    _INSERT_PLAN.run(connection, **given, contents=plan.contents, digest=plan.digest)


def find_plan(connection: Connection, job_id: str, *, locked: bool = False) -> StoredPlan | None:
    """A dry run whose digest is known; ``locked``, so that one job at a time takes it."""
    query = select(plans.c.tenant, plans.c.contents, plans.c.digest, plans.c.applied_by)
    query = query.where(plans.c.job_id == job_id)
    row = connection.execute(query.with_for_update() if locked else query).one_or_none()
    return None if row is None else StoredPlan(job_id, *row)


def mark_applied(connection: Connection, plan: str, job_id: str) -> None:
    """From now on the plan is that job's."""
    connection.execute(update(plans).where(plans.c.job_id == plan).values(applied_by=job_id))


def changed_targets(
    connection: Connection, plan: str, tenant: str, tables: Mapping[str, Table]
) -> list[ChangedTarget]:
    """Records that are not as the dry run has seen them; one more than are named, at most.

    One query a table, whatever the number of records. A table that nobody declares any more
    is as gone as its records.
    """
    found: list[ChangedTarget] = []
    for name in _tables_of(connection, plan):
        query = _changed(plan, tenant, name, tables.get(name)).limit(NAMED + 1 - len(found))
        found += [ChangedTarget(name, *row) for row in connection.execute(query)]
        if len(found) > NAMED:
            break
    return found


def _tables_of(connection: Connection, plan: str) -> list[str]:
    query = select(plan_targets.c.record_table).where(plan_targets.c.job_id == plan).distinct()
    return sorted(name for name in connection.scalars(query) if name != NO_TABLE)


def _changed(plan: str, tenant: str, name: str, table: Table | None) -> Select[Any]:
    target = plan_targets.c
    ours = and_(target.job_id == plan, target.record_table == name)
    if table is None:
        gone: Select[Any] = select(target.record_id, target.version, null())
        return gone.where(ours).distinct().order_by(target.record_id)
    present = and_(table.c.id == target.record_id, table.c.tenant == tenant)
    version = table.c.version
    return (
        select(target.record_id, target.version, version)
        .select_from(plan_targets.outerjoin(table, present))
        .where(ours, or_(version.is_(None), version != target.version))
        .distinct()
        .order_by(target.record_id)
    )


# -- the digest ---------------------------------------------------------------------------

_NONE, _PLANNED, _SKIPPED = 0, 1, 2


def digest_of(connection: Connection, job_id: str, contents: str, items: int) -> str:
    """The SHA-256 of verdicts and versions: the same however the items were cut into chunks."""
    digest = hashlib.sha256(contents.encode())
    for verdict, count in _runs(connection, job_id, items):
        digest.update(f"\n{count} {verdict}".encode())
    rows = connection.execute(
        select(*plan_targets.c["position", "record_table", "record_id", "version"])
        .where(plan_targets.c.job_id == job_id)
        .order_by(plan_targets.c.position, plan_targets.c.record_table, plan_targets.c.record_id)
        .execution_options(yield_per=5000)
    )
    for position, table, record, version in rows:
        digest.update(f"\n{position} {table}/{record} {version}".encode())
    return digest.hexdigest()


def _runs(connection: Connection, job_id: str, items: int) -> Iterator[tuple[str, int]]:
    """Verdicts by position, each with how often it follows itself."""
    names = ["", "planned", "skipped"]
    numbered = {name: number for number, name in enumerate(names)}
    said = array("L", bytes(array("L").itemsize * items))
    for _chunk, _attempt, data in ledger_rows(connection, job_id):
        for entry in ledgers.entries(data):
            if said[entry.position] != _NONE or entry.status is None:
                continue
            if entry.status is ItemStatus.PLANNED:
                said[entry.position] = _PLANNED
            elif entry.status is ItemStatus.SKIPPED:
                said[entry.position] = _SKIPPED
            else:
                name = f"failed {entry.code}"
                number = numbered.setdefault(name, len(names))
                if number == len(names):
                    names.append(name)
                said[entry.position] = number
    for number, group in itertools.groupby(said):
        yield names[number], sum(1 for _ in group)
