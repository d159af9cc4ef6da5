"""Members, images, boxes, hotkeys and the order of labels; numbers of bulk operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision: str | None = "0024"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("labels", sa.Column("hotkey", sa.String(length=20), nullable=True))
    op.add_column("labels", sa.Column("order", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("labels_project_hotkey", "labels", ["project_id", "hotkey"], unique=True)
    _members()
    _images()
    _boxes()
    _operation_numbers()


def _members() -> None:
    op.create_table(
        "members",
        *_own(),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("members_project_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "subject", name="members_project_subject"),
    )
    op.create_index("members_subject", "members", ["tenant", "subject"])


def _images() -> None:
    op.create_table(
        "images",
        *_own(),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("file_name", sa.String(length=500), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("images_project_id")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "file_name", name="images_project_file_name"),
    )


def _boxes() -> None:
    op.create_table(
        "boxes",
        *_own(),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("image_id", _KEY, nullable=False),
        sa.Column("label_id", _KEY, nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("width", sa.Double(), nullable=False),
        sa.Column("height", sa.Double(), nullable=False),
        sa.Column("polygon", sa.Text(), nullable=True),
        sa.Column("confidence_score", sa.Double(), nullable=True),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("boxes_project_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("boxes_image_id")),
        sa.ForeignKeyConstraint(["label_id"], ["labels.id"], name=op.f("boxes_label_id")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("boxes_project", "boxes", ["project_id"])
    op.create_index("boxes_image", "boxes", ["image_id"])
    op.create_index("boxes_label", "boxes", ["label_id"])


def _operation_numbers() -> None:
    op.create_table(
        "annotation_operations",
        sa.Column("operation_id", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id"),
        sa.UniqueConstraint("job_id", name="annotation_operations_job"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "annotation_operations_project", "annotation_operations", ["project_id", "operation_id"]
    )


def _own() -> tuple[sa.Column[int], sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
    )


def _stamps() -> tuple[sa.Column[str], sa.Column[float], sa.Column[str], sa.Column[float]]:
    return (
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_by", sa.String(length=200), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
    )
