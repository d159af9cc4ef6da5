"""What was accepted, and keys of what there is, are kept for ever: indexes of what is not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision: str | None = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("decisions_decided", "decisions")
    op.create_index(
        "decisions_refused",
        "decisions",
        ["decided_at"],
        sqlite_where=sa.text("problem IS NOT NULL"),
        postgresql_where=sa.text("problem IS NOT NULL"),
    )
    op.add_column(
        "reservations",
        sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.drop_index("reservations_created", "reservations")
    op.create_index(
        "reservations_created",
        "reservations",
        ["created_at"],
        sqlite_where=sa.text("kept = 0"),
        postgresql_where=sa.text("NOT kept"),
    )
