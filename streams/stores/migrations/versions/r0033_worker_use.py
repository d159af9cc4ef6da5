"""What workers have used of processor and memory: every ten seconds of a day, hours of a year."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision: str | None = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_use",
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("systems", sa.Text(), nullable=False),
        sa.Column("worker_seconds", sa.Double(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.Column("memory_seconds", sa.Double(), nullable=False),
        sa.Column("memory_peak", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("width", "start", "systems"),
    )
