"""Workers say which partitions of work each of their slots holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision: str | None = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("holds", sa.Text(), nullable=False, server_default="[]"))
