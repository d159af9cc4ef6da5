"""What items of a job have said of themselves: the same of two is seen in any chunk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision: str | None = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "item_marks",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("mark", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "mark"),
        sqlite_with_rowid=False,
    )
