"""Paces: how fast jobs of an operation went, by tenant; what a forecast rests on.

Lock order: chunks, paces, grants, events. One row a tenant and operation, written when a job
ends.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from domain.commands import JobSpec
from domain.events import JobStatus
from domain.job import Job
from domain.schedule import Measured
from streams.stores.schema import operation_paces as paces
from streams.stores.statements import INSERTS, Statement, fixed

KEEPS = 0.8
"""What earlier jobs count with each later one."""
LEAST_ITEMS = 20
LEAST_SECONDS = 1.0
"""A run that is smaller and shorter tells how long a job takes to start, not how fast it goes."""

_LEARN = Statement(
    lambda dialect: (
        INSERTS[dialect.name](paces)
        .values(
            tenant=bindparam("of_tenant"),
            operation=bindparam("of_operation"),
            jobs=1,
            items=bindparam("more_items"),
            recent_items=bindparam("fresh_items"),
            recent_seconds=bindparam("fresh_seconds"),
        )
        .on_conflict_do_update(
            index_elements=["tenant", "operation"],
            set_={
                "jobs": paces.c.jobs + 1,
                "items": paces.c["items"] + bindparam("more_items"),
                "recent_items": paces.c.recent_items * KEEPS + bindparam("fresh_items"),
                "recent_seconds": paces.c.recent_seconds * KEEPS + bindparam("fresh_seconds"),
            },
        )
    )
)
_KNOWN = fixed(
    select(paces.c.jobs, paces.c["items"], paces.c.recent_items, paces.c.recent_seconds).where(
        paces.c.tenant == bindparam("of_tenant"), paces.c.operation == bindparam("of_operation")
    )
)


def learn(connection: Connection, job: Job) -> None:
    """Take the run of a job that has just ended into account, if it tells how fast work goes.

    One that was held back, stopped, or only planned does not.
    """
    meter, ended = job.meter, job.updated_at
    whole = job.status in (JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS)
    if not whole or job.caps or job.options.dry_run or meter.began is None or ended is None:
        return
    seconds = (ended - meter.began).total_seconds()
    if seconds <= 0 or (meter.settled < LEAST_ITEMS and seconds < LEAST_SECONDS):
        return
    _LEARN.run(
        connection,
        of_tenant=job.tenant,
        of_operation=job.spec.operation,
        more_items=meter.settled,
        fresh_items=float(meter.settled),
        fresh_seconds=seconds,
    )


def known(connection: Connection, tenant: str, spec: JobSpec) -> Measured | None:
    """What was measured of a new job's operation; None when nothing was, or nobody asks for it."""
    if spec.options.deadline is None:
        return None
    row = _KNOWN.run(connection, of_tenant=tenant, of_operation=spec.operation).first()
    if row is None or row[3] <= 0:
        return None
    jobs, items, recent_items, recent_seconds = row
    rate = float(f"{recent_items / recent_seconds:.4g}")
    return Measured(items_per_second=rate, jobs=jobs, items=items)
