"""Tables that reports are drawn from. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text

from streams.stores.schema import metadata

__all__ = ["metadata", "project_edits", "project_hours", "project_jobs", "worker_use"]


def _of_project() -> tuple[Column[Any], Column[Any], Column[Any]]:
    return (
        Column("tenant", String(100), nullable=False),
        Column("system", String(100), nullable=False),
        Column("project_id", BigInteger, nullable=False),
    )


def _counts(*names: str) -> tuple[Column[Any], ...]:
    return tuple(Column(name, BigInteger, nullable=False) for name in names)


project_jobs = Table(
    "project_jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    *_of_project(),
    Column("operation", String(200), nullable=False),
    Column("status", String(30), nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    *_counts("total", "pending", "succeeded", "failed", "skipped", "rolled_back", "conflict"),
    Index("project_jobs_created", "tenant", "project_id", "created_at"),
)
"""Jobs whose parameters name a project, as the list of jobs has them, in columns that add up."""

project_hours = Table(
    "project_hours",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("hour", Integer, primary_key=True),
    *_of_project(),
    *_counts("succeeded", "failed", "skipped", "rolled_back", "conflict"),
    Column("busy_seconds", Double, nullable=False),
    Index("project_hours_hour", "tenant", "project_id", "hour"),
)
"""What became of items of such a job in an hour since the epoch, and how long workers were at it.
A job has a row for each hour in which one of its items changed, and no other."""

project_edits = Table(
    "project_edits",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("project_id", BigInteger, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("actor", String(200), primary_key=True),
    Column("kind", String(100), primary_key=True),
    *_counts("created", "changed", "deleted"),
)
"""How many records somebody has written one by one in an hour since the epoch."""

worker_use = Table(
    "worker_use",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("systems", Text, primary_key=True),
    Column("worker_seconds", Double, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("memory_seconds", Double, nullable=False),
    Column("memory_peak", BigInteger, nullable=False),
)
"""What all workers of some systems used in so many seconds from a time on, in sums that add up:
a worker that had 5 bytes for 2 seconds adds 10 to ``memory_seconds``. The peak is of one worker."""
