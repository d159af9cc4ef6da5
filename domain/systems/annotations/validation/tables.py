"""Tables of validation: a project's thresholds, and its own rules; and an index of annotations.

Both are records: versioned, with a history, undone as any other. A column without a value means
the default of the model, so that defaults stand in one place.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy import UniqueConstraint as Unique

from domain.systems.annotations.tables import (
    ACTOR_LENGTH,
    NAME_LENGTH,
    Key,
    annotations,
    metadata,
)


def beginning_of(text: Any) -> Any:
    """What of a text is in an index. Written out: an index is found by the words of it."""
    return func.substr(text, literal_column("1"), literal_column("64"))


def _record(name: str, *columns: Column[Any], unique: Unique) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Key, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("tenant", String(100), nullable=False),
        Column("project_id", Key, ForeignKey("projects.id"), nullable=False),
        *columns,
        Column("created_by", String(ACTOR_LENGTH), nullable=False),
        Column("created_at", Double, nullable=False),
        Column("updated_by", String(ACTOR_LENGTH)),
        Column("updated_at", Double),
        unique,
    )


thresholds = _record(
    "validation_thresholds",
    Column("threshold", Double),
    Column("min_confidence", Double),
    Column("max_span", Integer),
    Column("allow_overlaps", Boolean),
    Column("severities", Text),
    unique=Unique("project_id", name="validation_thresholds_project"),
)

rules = _record(
    "validation_rules",
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("severity", String(10)),
    Column("enabled", Boolean),
    Column("message", Text),
    Column("labels", Text),
    Column("definition", Text, nullable=False),
    unique=Unique("project_id", "name", name="validation_rules_project_name"),
)

words = Index(
    "annotations_words",
    annotations.c.project_id,
    beginning_of(annotations.c.selected_text),
    annotations.c.label_id,
)
"""Finds the same words with another label."""
