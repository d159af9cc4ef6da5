"""Tables of the annotation platform: projects, and what belongs to them.

Annotations are spans of texts, boxes are parts of images; both have a label.

Offsets count Unicode code points, ``start_char`` included and ``end_char`` not. Times are
seconds since the epoch (UTC); ``metadata`` is a JSON object kept as text.

Import the module, not its names: ``annotations`` is taken where the future is imported.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(naming_convention={"fk": "%(table_name)s_%(column_0_name)s"})

Key = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key; SQLite aliases only INTEGER PRIMARY KEY to its row id."""

NAME_LENGTH = 200
ACTOR_LENGTH = 200
FILE_NAME_LENGTH = 500


def _record(name: str, *parts: Column[Any] | Index | UniqueConstraint) -> Table:
    """A table of versioned records, each with who made and who last changed it."""
    return Table(
        name,
        metadata,
        Column("id", Key, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("tenant", String(100), nullable=False),
        *[part for part in parts if isinstance(part, Column)],
        Column("created_by", String(ACTOR_LENGTH), nullable=False),
        Column("created_at", Double, nullable=False),
        Column("updated_by", String(ACTOR_LENGTH)),
        Column("updated_at", Double),
        *[part for part in parts if not isinstance(part, Column)],
    )


def _reference(target: str) -> Column[Any]:
    return Column(f"{target}_id", Key, ForeignKey(f"{target}s.id"), nullable=False)


projects = _record(
    "projects",
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Index("projects_name", "tenant", "name"),
)

members = _record(
    "members",
    _reference("project"),
    Column("subject", String(ACTOR_LENGTH), nullable=False),
    Column("role", String(20), nullable=False),
    UniqueConstraint("project_id", "subject", name="members_project_subject"),
    # What somebody may see is looked for by who they are.
    Index("members_subject", "tenant", "subject"),
)

labels = _record(
    "labels",
    _reference("project"),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("colour", String(20), nullable=False, server_default=""),
    Column("hotkey", String(20)),
    # The class index of what is exported follows it, and the id where it is the same.
    Column("order", Integer, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "name", name="labels_project_name"),
    Index("labels_project_hotkey", "project_id", "hotkey", unique=True),
)

texts = _record(
    "texts",
    _reference("project"),
    Column("content", Text, nullable=False),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Index("texts_project", "project_id"),
)

images = _record(
    "images",
    _reference("project"),
    Column("file_name", String(FILE_NAME_LENGTH), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("metadata", Text, nullable=False, server_default="{}"),
    UniqueConstraint("project_id", "file_name", name="images_project_file_name"),
)

mappings = _record(
    "mappings",
    _reference("project"),
    Column("name", String(NAME_LENGTH), nullable=False),
    # A JSON object: by the name of each field that is wanted, where it comes from.
    Column("mapping", Text, nullable=False),
    UniqueConstraint("project_id", "name", name="mappings_project_name"),
)

annotations = _record(
    "annotations",
    _reference("project"),
    _reference("text"),
    _reference("label"),
    Column("start_char", Integer, nullable=False),
    Column("end_char", Integer, nullable=False),
    Column("selected_text", Text, nullable=False),
    Column("confidence_score", Double),
    Column("metadata", Text, nullable=False, server_default="{}"),
    # One index for each reference: without it, deleting what is referred to would look
    # through all annotations.
    Index("annotations_project", "project_id"),
    Index("annotations_text", "text_id", "start_char"),
    Index("annotations_label", "label_id"),
)

boxes = _record(
    "boxes",
    _reference("project"),
    _reference("image"),
    _reference("label"),
    # In pixels from the upper left corner of the image, as decimals.
    Column("x", Double, nullable=False),
    Column("y", Double, nullable=False),
    Column("width", Double, nullable=False),
    Column("height", Double, nullable=False),
    Column("polygon", Text),
    Column("confidence_score", Double),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Index("boxes_project", "project_id"),
    Index("boxes_image", "image_id"),
    Index("boxes_label", "label_id"),
)

operation_numbers = Table(
    "annotation_operations",
    metadata,
    Column("operation_id", Key, autoincrement=True, primary_key=True),
    Column("tenant", String(100), nullable=False),
    # No reference: what was done in a project is told when the project is gone.
    Column("project_id", Key, nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("kind", String(200), nullable=False),
    Column("created_by", String(ACTOR_LENGTH), nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("job_id", name="annotation_operations_job"),
    Index("annotation_operations_project", "project_id", "operation_id"),
    sqlite_autoincrement=True,
)
"""The jobs of bulk operations by the whole numbers that clients of the platform know them by."""
