"""Platform models: what records of a project look like in answers, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, create_model

from domain.systems.annotations.kinds import KINDS, TEXTS, Kind
from domain.systems.annotations.models import Box, Metadata, Polygon
from domain.systems.annotations.roles import ProjectRole
from domain.systems.annotations.validation.definitions import Definition
from domain.systems.annotations.validation.issues import Severity
from domain.systems.annotations.validation.thresholds import Adjustable, Weight
from domain.values import Value


class Stamps(Value):
    """Who made a record and who changed it last; its version goes up with every change."""

    version: int
    created_by: str
    created_at: datetime
    updated_by: str | None
    updated_at: datetime | None


class Project(Stamps):
    """A project."""

    project_id: int
    name: str
    description: str


class OfProject(Stamps):
    """What belongs to a project."""

    project_id: int


class ListedText(OfProject):
    """A text in a list: its beginning, and how many characters it has."""

    text_id: int
    excerpt: str
    length: int
    metadata: Metadata


class Text(OfProject):
    """A text; places in it count Unicode code points."""

    text_id: int
    content: str
    metadata: Metadata


class Label(OfProject):
    """A label; exports number labels by their order, and by age where it is the same."""

    label_id: int
    name: str
    colour: str
    hotkey: str | None
    order: int


class Member(OfProject):
    """Somebody who takes part, and as what."""

    member_id: int
    subject: str
    role: ProjectRole


class Image(OfProject):
    """An image by its file's name and its size in pixels."""

    image_id: int
    file_name: str
    width: int
    height: int
    metadata: Metadata


class FieldMapping(OfProject):
    """A field mapping: by the name of each field that is wanted, where it comes from."""

    mapping_id: int
    name: str
    mapping: Metadata


class Marked(OfProject):
    """What a label is put on."""

    id: int
    label_id: int
    confidence_score: float | None
    metadata: Metadata


class Annotation(Marked):
    """A span of a text; the end is not included."""

    text_id: int
    start_char: int
    end_char: int
    selected_text: str


class MarkedBox(Marked):
    """A part of an image: x, y, width, height in pixels."""

    image_id: int
    bbox: Box
    polygon: Polygon | None


class ValidationRule(OfProject):
    """A rule of a project; without `labels` it is for all annotations."""

    rule_id: int
    name: str
    definition: Definition
    severity: Severity
    enabled: bool
    message: str
    labels: tuple[str, ...]


class ValidationThresholds(OfProject):
    """What a project demands of annotations; see *Validation*."""

    threshold_id: int
    threshold: float
    min_confidence: float
    max_span: int
    allow_overlaps: bool
    severities: dict[Adjustable, Weight]


MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "projects": Project,
    "texts": Text,
    "labels": Label,
    "members": Member,
    "images": Image,
    "mappings": FieldMapping,
    "annotations": Annotation,
    "boxes": MarkedBox,
    "validation_rules": ValidationRule,
    "validation_thresholds": ValidationThresholds,
}


def several(kind: Kind) -> str:
    """What several are called in names of the document."""
    return kind.name.title().replace("_", "")


def title(kind: Kind) -> str:
    """What one is called there; other rules than those of validation are in the document, too."""
    return f"Validation{kind.one.title()}" if kind.called else kind.one.title()


def _page(kind: Kind) -> type[BaseModel]:
    listed: Any = ListedText if kind is TEXTS else MODELS[kind.name]
    fields: dict[str, Any] = {
        "items": (tuple[listed, ...], ...),
        **dict.fromkeys(("total", "limit", "offset"), (int, ...)),
    }
    return create_model(f"PageOf{several(kind)}", __base__=Value, **fields)


def _gone(kind: Kind) -> type[BaseModel]:
    fields: dict[str, Any] = {kind.key: (int, ...), "deleted": (bool, ...)}
    return create_model(f"Deleted{title(kind)}", __base__=Value, **fields)


PAGES: Final = {kind.name: _page(kind) for kind in KINDS}
GONE: Final = {kind.name: _gone(kind) for kind in KINDS}
