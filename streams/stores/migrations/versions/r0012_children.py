"""Which jobs are steps of which batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "children",
        sa.Column("batch", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("moved", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("batch", "step"),
        sa.UniqueConstraint("job_id", name="children_job"),
    )
    op.create_index(
        "children_moved",
        "children",
        ["batch"],
        sqlite_where=sa.text("moved = 1"),
        postgresql_where=sa.text("moved"),
    )
