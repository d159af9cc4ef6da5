"""Partial indexes in the words that queries use, and one of the chunks that undo others.

SQLite takes a partial index only for a query that says its condition in the same words, and
SQLAlchemy writes a truth value there as ``= 1`` or ``= 0``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _replace("job_control_open", "job_control", ["open"], "open = 1")
        _replace("chunks_open", "chunks", ["job_id", "chunk"], "open = 1")
        _replace("outcomes_unrecorded", "outcomes", ["job_id"], "recorded = 0")
    op.create_index(
        "chunks_target",
        "chunks",
        ["job_id", "target"],
        unique=False,
        sqlite_where=sa.text("target IS NOT NULL"),
        postgresql_where=sa.text("target IS NOT NULL"),
    )


def _replace(name: str, table: str, columns: list[str], where: str) -> None:
    op.drop_index(name, table)
    op.create_index(name, table, columns, unique=False, sqlite_where=sa.text(where))
