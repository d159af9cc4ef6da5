"""How long jobs at rest are kept, and where those are that were put away."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision: str | None = "0012"
branch_labels = None
depends_on = None

BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_AT_ONCE = 500
_BATCH = "batch.steps"


def upgrade() -> None:
    _rules()
    _archives()
    # On SQLite the table is made anew, so that it is the one that the schema declares.
    sqlite = op.get_context().dialect.name == "sqlite"
    recreate: Literal["always", "never"] = "always" if sqlite else "never"
    with op.batch_alter_table("job_control", recreate=recreate) as table:
        table.add_column(sa.Column("shred_from", sa.Double(), nullable=True))
        table.add_column(sa.Column("archive_from", sa.Double(), nullable=True))
    for what in ("shred", "archive"):
        condition = f"{what}_from IS NOT NULL"
        op.create_index(
            f"job_control_{what}",
            "job_control",
            ["tenant", "operation", f"{what}_from", "job_id"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    _say_since_when_jobs_rest()


def _rules() -> None:
    op.create_table(
        "retention_rules",
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("shred_after", sa.Double(), nullable=True),
        sa.Column("archive_after", sa.Double(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind"),
    )
    op.create_table(
        "retention_changes",
        sa.Column("change", BigKey, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("shred_after", sa.Double(), nullable=True),
        sa.Column("archive_after", sa.Double(), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=2000), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("change"),
        sqlite_autoincrement=True,
    )


def _archives() -> None:
    op.create_table(
        "archives",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(
        "archives_unfinished",
        "archives",
        ["stage", "job_id"],
        sqlite_where=sa.text("stage <> 'cleared'"),
        postgresql_where=sa.text("stage <> 'cleared'"),
    )


def _say_since_when_jobs_rest() -> None:
    """By their last events: those that were told more after their end are kept a little longer."""
    connection = op.get_bind()
    page = sa.text(
        "SELECT c.job_id, c.operation, e.state FROM job_control c "
        "JOIN events e ON e.job_id = c.job_id AND e.version = c.version "
        "WHERE c.ended IS NOT NULL AND c.job_id > :after ORDER BY c.job_id LIMIT :most"
    )
    told = sa.text(
        "SELECT alias FROM events WHERE job_id = :job AND alias IN "
        "('job.held', 'job.released', 'job.shredded') ORDER BY version"
    )
    say = sa.text(
        "UPDATE job_control SET shred_from = :shred, archive_from = :archive WHERE job_id = :job"
    )
    after = ""
    while rows := connection.execute(page, {"after": after, "most": _AT_ONCE}).all():
        after = rows[-1][0]
        for job_id, operation, state in rows:
            said = [alias for (alias,) in connection.execute(told, {"job": job_id})]
            holds = [alias for alias in said if alias != "job.shredded"]
            if holds[-1:] == ["job.held"]:
                continue
            since = datetime.fromisoformat(json.loads(bytes(state))["at"]).timestamp()
            gone = "job.shredded" in said or operation == _BATCH
            found = {"job": job_id, "shred": None if gone else since, "archive": since}
            connection.execute(say, found)
