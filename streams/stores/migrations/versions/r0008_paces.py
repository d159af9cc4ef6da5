"""How fast jobs of each operation went, for the forecast of one that has a deadline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "operation_paces",
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("operation", sa.String(length=200), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("items", sa.BigInteger(), nullable=False),
        sa.Column("recent_items", sa.Double(), nullable=False),
        sa.Column("recent_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "operation"),
    )
