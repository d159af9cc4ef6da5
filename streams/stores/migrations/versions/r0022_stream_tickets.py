"""Tickets that open live streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_tickets",
        sa.Column("ticket", sa.LargeBinary(length=32), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("ends", sa.Double(), nullable=False),
        sa.Column("proof_ends", sa.Double()),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("ticket"),
    )
    op.create_index("stream_tickets_ends", "stream_tickets", ["ends"])
