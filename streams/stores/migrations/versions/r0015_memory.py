"""How much memory workers may have, and since when work waits for some."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workers",
        sa.Column("memory_budget", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.add_column("workers", sa.Column("held_since", sa.Double(), nullable=True))
