"""Thresholds and rules of projects, and an index of what annotations have selected."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision: str | None = "0024"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _thresholds()
    _rules()
    # The first 64 characters: an entry of an index has its bounds, a selected text has none.
    op.create_index(
        "annotations_words",
        "annotations",
        ["project_id", sa.text("substr(selected_text, 1, 64)"), "label_id"],
    )


def _own() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("project_id", _KEY, nullable=False),
    ]


def _stamps() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_by", sa.String(length=200), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
    ]


def _of_project(table: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f(f"{table}_project_id")),
        sa.PrimaryKeyConstraint("id"),
    ]


def _thresholds() -> None:
    op.create_table(
        "validation_thresholds",
        *_own(),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("min_confidence", sa.Double(), nullable=True),
        sa.Column("max_span", sa.Integer(), nullable=True),
        sa.Column("allow_overlaps", sa.Boolean(), nullable=True),
        sa.Column("severities", sa.Text(), nullable=True),
        *_stamps(),
        *_of_project("validation_thresholds"),
        sa.UniqueConstraint("project_id", name="validation_thresholds_project"),
    )


def _rules() -> None:
    op.create_table(
        "validation_rules",
        *_own(),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("labels", sa.Text(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        *_stamps(),
        *_of_project("validation_rules"),
        sa.UniqueConstraint("project_id", "name", name="validation_rules_project_name"),
    )
