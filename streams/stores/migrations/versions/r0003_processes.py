"""Tables by which several processes on one database share the work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _owners()
    _workers()
    _grants()
    _weights()


def _owners() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("systems", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("rss", sa.BigInteger(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _grants() -> None:
    """One row a job instead of one a chunk; a coordinator writes those of its jobs anew."""
    op.drop_table("grants")
    op.create_table(
        "grants",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("system", sa.String(length=100), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("offered_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("grants_system", "grants", ["system"], unique=False)


def _weights() -> None:
    op.create_table(
        "tenant_weights",
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.CheckConstraint("weight > 0", name="tenant_weights_positive"),
        sa.PrimaryKeyConstraint("tenant"),
    )
