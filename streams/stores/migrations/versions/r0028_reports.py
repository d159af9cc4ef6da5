"""What jobs and single edits did for which project, by the hour; the history by who wrote.

Jobs of earlier releases are told as they ended, in the hour in which they did: when their
items became what they are, no table has.
"""

from __future__ import annotations

from datetime import datetime

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision: str | None = "0027"
branch_labels = None
depends_on = None

_OUTCOMES = ("succeeded", "failed", "skipped", "rolled_back", "conflict")
_AT_ONCE = 500


def upgrade() -> None:
    jobs = op.create_table(
        "project_jobs",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        *_of_project(),
        sa.Column("operation", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=30), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        *_counts("total", "pending", *_OUTCOMES),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("project_jobs_created", "project_jobs", ["tenant", "project_id", "created_at"])
    hours = op.create_table(
        "project_hours",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        *_of_project(),
        *_counts(*_OUTCOMES),
        sa.Column("busy_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "hour"),
    )
    op.create_index("project_hours_hour", "project_hours", ["tenant", "project_id", "hour"])
    op.create_table(
        "project_edits",
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        *_counts("created", "changed", "deleted"),
        sa.PrimaryKeyConstraint("tenant", "project_id", "hour", "actor", "kind"),
    )
    op.create_index("history_writer", "history", ["writer", "table_id", "deleted", "version"])
    _take_over(jobs, hours)


def _of_project() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("system", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
    )


def _counts(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger(), nullable=False) for name in names)


def _take_over(jobs: sa.Table, hours: sa.Table) -> None:
    """The jobs that are there already, some at a time."""
    names = ("job_id", "tenant", "system", "operation", "status", "created_by", "created_at")
    listed = sa.table("job_list", *map(sa.column, (*names, "document")))
    last = ""
    while True:
        rows = (
            op.get_bind()
            .execute(
                sa.select(listed)
                .where(listed.c.job_id > last, listed.c.document.contains('"project_id"'))
                .order_by(listed.c.job_id)
                .limit(_AT_ONCE)
            )
            .mappings()
            .all()
        )
        for row in rows:
            _take(jobs, hours, row, names)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]["job_id"]


def _take(jobs: sa.Table, hours: sa.Table, row: sa.RowMapping, names: tuple[str, ...]) -> None:
    document = orjson.loads(row["document"])
    project, counts = document["params"].get("project_id"), document["counts"]
    if type(project) is not int or not 0 < project < 2**63:
        return
    one = {name: row[name] for name in names} | {"project_id": project}
    figures = {name: counts[name] for name in ("total", "pending", *_OUTCOMES)}
    op.get_bind().execute(jobs.insert().values(**one, **figures))
    ended = document["finished_at"] or document["started_at"]
    if ended is not None:
        op.get_bind().execute(
            hours.insert().values(
                **{name: one[name] for name in ("job_id", "tenant", "system", "project_id")},
                **{name: counts[name] for name in _OUTCOMES},
                hour=int(datetime.fromisoformat(ended).timestamp() // 3600),
                busy_seconds=0.0,
            )
        )
