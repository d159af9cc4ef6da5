"""Items and parameters of the annotation operations, as they come over the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from domain.systems.annotations.formats.json_values import check_numbers
from domain.systems.annotations.formats.mapping import MAX_FIELDS, source_of
from domain.systems.annotations.formats.validity import Unfit
from domain.systems.annotations.roles import ProjectRole

MAX_CONTENT = 1_000_000
MAX_SELECTED = 100_000
MAX_OFFSET = 2**31 - 1
MAX_CORNERS = 10_000
Value = TypeVar("Value")


def _without_zero(text: str) -> str:
    """The text itself; raises an error for one that not every database keeps."""
    if "\0" in text:
        raise PydanticCustomError("zero", "U+0000 is no character of a text; remove it")
    return text


def storable(value: Value) -> Value:
    """A JSON value itself; raises an error for one of which no answer and no file could be made.

    pydantic reads NaN, infinities and whole numbers of any length within ``JsonValue``, where
    ``allow_inf_nan`` holds for values of Python alone, and not for JSON text.
    """
    try:
        check_numbers(value)
    except Unfit as unfit:
        raise PydanticCustomError("number", "{words}", {"words": unfit.message}) from None
    return value


_NO_ZERO = AfterValidator(_without_zero)
Line = Annotated[str, _NO_ZERO]
"""Text that every database keeps."""
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET)]
Name = Annotated[str, Field(min_length=1, max_length=200), _NO_ZERO]
FileName = Annotated[str, Field(min_length=1, max_length=500), _NO_ZERO]
Pixels = Annotated[int, Field(ge=1, le=1_000_000)]
Hotkey = Annotated[str, Field(min_length=1, max_length=20), _NO_ZERO]
Order = Annotated[int, Field(ge=0, le=1_000_000)]
"""Where a label stands among those of its project; of the same order, the older one first."""
Colour = Annotated[str, Field(max_length=20), _NO_ZERO]
Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT), _NO_ZERO]
Selected = Annotated[str, Field(max_length=MAX_SELECTED)]
Score = Annotated[float, Field(ge=0, le=1)]
Subject = Annotated[str, Field(min_length=1, max_length=200), _NO_ZERO]
"""Who somebody is, as the audit trail names them."""
Coordinate = Annotated[float, Field(ge=0, le=1_000_000)]
Extent = Annotated[float, Field(gt=0, le=1_000_000)]
Box = tuple[Coordinate, Coordinate, Extent, Extent]
"""``x, y, width, height`` in pixels, from the upper left corner of the image."""
Corner = tuple[Coordinate, Coordinate]
Polygon = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=MAX_CORNERS)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=200)], JsonValue], AfterValidator(storable)
]
Description = Annotated[str, Field(max_length=10_000), _NO_ZERO]


def as_text(metadata: Mapping[str, Any] | None) -> str:
    """Metadata as it is stored: JSON text, ``{}`` when there is none."""
    if not metadata:
        return "{}"
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def of_text(text: str) -> dict[str, Any]:
    """Metadata of the store; what earlier releases took for a number, as NaN, is null."""
    found: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return found


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Offsets = Literal["code_points", "utf16"]
"""What the offsets of a request count: characters, or UTF-16 units, as browsers do."""


class InProject(_Wire):
    """Parameters of what is made or looked at in one project."""

    project_id: Id


class Counting(_Wire):
    """Parameters of what is given offsets; whatever they count, code points are stored."""

    offsets: Offsets = "code_points"


class Examination(InProject, Counting):
    """Parameters of ``annotations.validate``."""


class Creation(InProject, Counting):
    """Parameters of ``annotations.create``.

    ``validate_before_create`` off leaves out the layers of quality, consistency and own rules.
    """

    validate_before_create: bool = True


class MayBeInProject(_Wire):
    """Parameters of changes: with ``project_id``, annotations of others are not found."""

    project_id: Id | None = None


class Changes(MayBeInProject, Counting):
    """Parameters of ``annotations.update``.

    ``validate_before_update`` off leaves out the layers of quality, consistency and own rules.
    """

    validate_before_update: bool = True


class NewAnnotation(_Wire):
    """A span of a text with a label, named by ``label_id`` or by ``label``.

    Offsets count Unicode code points, the end not included; ``selected_text`` is filled in
    when it is absent.
    """

    # None, not an empty dict, is the default of metadata: pydantic would copy the dict for
    # each item, which costs as much as all the rest of the item.

    text_id: Id
    start_char: Offset
    end_char: Offset
    label_id: Id | None = None
    label: Name | None = None
    selected_text: Selected | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None


class ChangedAnnotation(_Wire):
    """What is to change of an annotation; ``version``, when given, must be its present one."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    start_char: Offset | None = None
    end_char: Offset | None = None
    label_id: Id | None = None
    label: Name | None = None
    selected_text: Selected | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None


class NewProject(_Wire):
    """A project."""

    name: Name
    description: Description = ""


class ChangedProject(_Wire):
    """What is to change of a project."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    name: Name = ""
    description: Description = ""


class NewText(_Wire):
    """A text of a project."""

    project_id: Id
    content: Content
    metadata: Metadata = {}


class ChangedText(_Wire):
    """What is to change of a text."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    content: Content = ""
    metadata: Metadata = {}


class NewLabel(_Wire):
    """A label of a project; its name is unique there, and so is its hotkey if it has one."""

    project_id: Id
    name: Name
    colour: Colour = ""
    hotkey: Hotkey | None = None
    order: Order = 0


class ChangedLabel(_Wire):
    """What is to change of a label."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    name: Name = ""
    colour: Colour = ""
    hotkey: Hotkey | None = None
    order: Order = 0


class NewMember(_Wire):
    """Somebody who takes part in a project, and as what."""

    project_id: Id
    subject: Subject
    role: ProjectRole


class ChangedMember(_Wire):
    """Another role of a member."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    role: ProjectRole = ProjectRole.VIEWER


class NewImage(_Wire):
    """An image of a project: its file's name, which is unique there, and its size."""

    project_id: Id
    file_name: FileName
    width: Pixels
    height: Pixels
    metadata: Metadata = {}


class ChangedImage(_Wire):
    """What is to change of an image."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    file_name: FileName = ""
    width: Pixels = 1
    height: Pixels = 1
    metadata: Metadata = {}


def _is_source(source: Any) -> Any:
    source_of(source)
    return source


FieldName = Annotated[str, Field(min_length=1, max_length=200)]
FieldSource = Annotated[JsonValue, AfterValidator(_is_source)]
FieldSources = Annotated[dict[FieldName, FieldSource], Field(max_length=MAX_FIELDS)]
MappingName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^{\[]"), _NO_ZERO]
"""What a field mapping is called; where one may stand itself, it is told apart by how it begins."""


class NewMapping(_Wire):
    """A field mapping of a project, by whose name files are read and written.

    By the name of each field that is wanted ``mapping`` says where it comes from: the name of
    another field or a path, a constant, or a template.
    """

    project_id: Id
    name: MappingName
    mapping: FieldSources


class ChangedMapping(_Wire):
    """What is to change of a field mapping."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    name: MappingName = "mapping"
    mapping: FieldSources = {}


class NewBox(_Wire):
    """A part of an image with a label, named by ``label_id`` or by ``label``.

    A ``polygon`` says more of the shape within the box.
    """

    image_id: Id
    bbox: Box
    polygon: Polygon | None = None
    label_id: Id | None = None
    label: Name | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None


class ChangedBox(_Wire):
    """What is to change of a box; ``version``, when given, must be its present one."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    bbox: Box | None = None
    polygon: Polygon | None = None
    label_id: Id | None = None
    label: Name | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None
