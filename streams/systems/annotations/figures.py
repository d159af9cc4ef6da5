"""Figures: the sums that reports are made of. Each statement reads by an index, and few rows.

Jobs are those whose parameters name the project; the list of jobs carries their figures.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, func, or_, select

from domain.systems.annotations.periods import HOUR, Period
from streams.stores.project_figures import COUNTS, OUTCOMES, WRITES
from streams.stores.schema import record_tables, writers
from streams.stores.schema_reports import project_edits, project_hours, project_jobs

SYSTEMS: Final = ("annotations", "texts")
"""The first words of the platform's operations; a project of another system is another one."""

Statement = Select[Any]


def jobs_by_status(tenant: str, project_id: int, period: Period) -> Statement:
    """The jobs made in the period and their items, by operation and status."""
    jobs = project_jobs.c
    sums = [func.sum(jobs[name]).label(name) for name in COUNTS]
    return (
        select(jobs.operation, jobs.status, func.count().label("jobs"), *sums)
        .where(*_made(tenant, project_id, period))
        .group_by(jobs.operation, jobs.status)
    )


def jobs_by_actor(tenant: str, project_id: int, period: Period) -> Statement:
    """How many jobs each has made in the period, and what became of how many items."""
    jobs = project_jobs.c
    return (
        select(
            jobs.created_by,
            func.count().label("jobs"),
            func.sum(jobs.total).label("items"),
        )
        .where(*_made(tenant, project_id, period))
        .group_by(jobs.created_by)
    )


def failed_jobs(tenant: str, project_id: int, period: Period, most: int) -> Statement:
    """The latest jobs of the period that have failed items."""
    jobs = project_jobs.c
    return (
        select(jobs.job_id, jobs.failed)
        .where(*_made(tenant, project_id, period), jobs.failed > 0)
        .order_by(jobs.created_at.desc())
        .limit(most)
    )


def failures(tenant: str, project_id: int, period: Period) -> Statement:
    """How many jobs of the period have failed items, and how many those are."""
    jobs = project_jobs.c
    return select(func.count(), func.coalesce(func.sum(jobs.failed), 0)).where(
        *_made(tenant, project_id, period), jobs.failed > 0
    )


def outcomes_by_hour(tenant: str, project_id: int, period: Period) -> Statement:
    """What became of items in each hour in which something did."""
    hours = project_hours.c
    sums = [func.sum(hours[name]).label(name) for name in (*OUTCOMES, "busy_seconds")]
    first, end = period.hours
    return (
        select(hours.hour, *sums)
        .where(*_worked(tenant, project_id, first, end))
        .group_by(hours.hour)
        .order_by(hours.hour)
    )


def writes_by_jobs(tenant: str, project_id: int, period: Period) -> Statement:
    """How many records jobs have written in the period, by who had them do it and table.

    Whoever has worked in the period has a row of an hour, an hour more or less, as a write is
    stored a little before it is told.
    """
    first, end = period.hours
    worked = select(project_hours.c.job_id).where(*_worked(tenant, project_id, first - 1, end + 1))
    sums = [func.sum(writers.c[name]).label(name) for name in WRITES]
    return (
        select(writers.c.actor, record_tables.c.name.label("kind"), *sums)
        .select_from(writers)
        .join(record_tables, record_tables.c.table_id == writers.c.table_id)
        .where(
            writers.c.job_id.in_(worked),
            writers.c.tenant == tenant,
            writers.c.written_at >= first * HOUR,
            writers.c.written_at < end * HOUR,
        )
        .group_by(writers.c.actor, record_tables.c.name)
    )


def edits(tenant: str, project_id: int, period: Period) -> Statement:
    """How many records were written one by one in the period, by whom."""
    table = project_edits.c
    first, end = period.hours
    sums = [func.sum(table[name]).label(name) for name in WRITES]
    return (
        select(table.actor, table.kind, *sums)
        .where(
            table.tenant == tenant,
            table.project_id == project_id,
            table.hour >= first,
            table.hour < end,
        )
        .group_by(table.actor, table.kind)
    )


def _made(tenant: str, project_id: int, period: Period) -> tuple[Any, ...]:
    jobs = project_jobs.c
    return (
        jobs.tenant == tenant,
        jobs.project_id == project_id,
        jobs.created_at >= period.start,
        jobs.created_at < period.end,
        or_(*(jobs.system == system for system in SYSTEMS)),
    )


def _worked(tenant: str, project_id: int, first: int, end: int) -> tuple[Any, ...]:
    hours = project_hours.c
    return (
        hours.tenant == tenant,
        hours.project_id == project_id,
        hours.hour >= first,
        hours.hour < end,
        or_(*(hours.system == system for system in SYSTEMS)),
    )
