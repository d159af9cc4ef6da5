"""Jobs that wait for others, and how those that have ended did so."""

from __future__ import annotations

import json
from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels = None
depends_on = None

_TERMINAL = (
    "cancelled",
    "completed",
    "completed_with_errors",
    "failed",
    "rolled_back",
    "rollback_incomplete",
    "rejected",
    "archived",
)
_AT_ONCE = 500


def upgrade() -> None:
    op.create_table(
        "waits",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("needs", sa.String(length=64), nullable=False),
        sa.Column("ending", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "needs"),
    )
    op.create_index("waits_needs", "waits", ["needs"])
    # On SQLite the table is made anew, so that it is the one that the schema declares.
    sqlite = op.get_context().dialect.name == "sqlite"
    recreate: Literal["always", "never"] = "always" if sqlite else "never"
    with op.batch_alter_table("job_control", recreate=recreate) as table:
        table.add_column(sa.Column("ended", sa.String(length=30), nullable=True))
    _say_how_jobs_have_ended()


def _say_how_jobs_have_ended() -> None:
    connection = op.get_bind()
    page = sa.text(
        "SELECT c.job_id, e.state FROM job_control c "
        "JOIN events e ON e.job_id = c.job_id AND e.version = c.version "
        "WHERE c.job_id > :after ORDER BY c.job_id LIMIT :most"
    )
    say = sa.text("UPDATE job_control SET ended = :status WHERE job_id = :job")
    after = ""
    while rows := connection.execute(page, {"after": after, "most": _AT_ONCE}).all():
        after = rows[-1][0]
        for job_id, state in rows:
            status = json.loads(bytes(state))["status"]
            if status in _TERMINAL:
                connection.execute(say, {"status": status, "job": job_id})
