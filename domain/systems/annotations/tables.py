"""Tables of the annotation platform: projects, texts, labels, annotations.

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

labels = _record(
    "labels",
    _reference("project"),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("colour", String(20), nullable=False, server_default=""),
    UniqueConstraint("project_id", "name", name="labels_project_name"),
)

texts = _record(
    "texts",
    _reference("project"),
    Column("content", Text, nullable=False),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Index("texts_project", "project_id"),
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
