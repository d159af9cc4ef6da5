"""Imported images, each with its boxes, as a file has them; a chunk takes a few queries.

An image is known by its file name, which is unique in a project. One that is there already is
given the boxes that it lacks, and stays as it is otherwise: so a corrected file of rejects
completes an image, and a file that is sent twice changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func

from domain.errors import RecordRefused
from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.alike_boxes import AlikeBoxes, Key, is_near
from domain.systems.annotations.boxes import TOLERANCE, box_fault, polygon_text
from domain.systems.annotations.importing import (
    NAMES_AT_ONCE,
    OF_FILE,
    ids_by_name,
    metadata_reserved,
)
from domain.systems.annotations.models import (
    MAX_CORNERS,
    Box,
    FileName,
    InProject,
    Line,
    Metadata,
    Name,
    Pixels,
    Score,
    as_text,
)
from domain.systems.annotations.rules import Labels

MAX_BOXES: Final = 50_000
TRIES: Final = 3
"""How often images are looked for that another chunk, or another import, is making as well."""
BOXES_AT_ONCE: Final = 500
"""Boxes that are in memory together."""
LONG_POLYGON: Final = 8_000
"""Characters beyond which a polygon is long: it may have 10,000 corners."""
LONG_AT_ONCE: Final = 10
"""Long polygons that are in memory together."""

_IMAGE = ("project_id", "file_name", "width", "height", "metadata", "created_by", "created_at")
_BOX = (
    *("project_id", "image_id", "label_id", "x", "y", "width", "height", "polygon"),
    *("confidence_score", "metadata", "created_by", "created_at"),
)
_PLACE = ("image_id", "label_id", "x", "y", "width", "height")
_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

Outline = Annotated[tuple[tuple[float, float], ...], Field(min_length=3, max_length=100_000)]
Size = tuple[int, int]
Row = Mapping[str, Any]


class Existing(StrEnum):
    """What becomes of an image whose file name the project has already."""

    ADD = "add"
    REFUSE = "refuse"


class ImageImport(InProject):
    """Parameters of ``annotations.import_images``."""

    existing_images: Existing = Existing.ADD


class ImportedBox(BaseModel):
    """A part of the image with a label, by its name.

    The first of the ``polygons`` is the box's own where it can be; the others, and that it
    marks a ``crowd``, are kept in the metadata, under ``_file``.
    """

    model_config = _CONFIG

    bbox: Box
    label: Name
    polygons: Annotated[tuple[Outline, ...], Field(max_length=10_000)] = ()
    crowd: bool = False
    confidence_score: Score | None = None
    metadata: Metadata | None = None


class ImportedImage(BaseModel):
    """An image with its boxes; ``key`` is what the file calls it, kept as that of a text is."""

    model_config = _CONFIG

    file_name: FileName
    width: Pixels
    height: Pixels
    key: Line | None = None
    metadata: Metadata | None = None
    boxes: Annotated[tuple[ImportedBox, ...], Field(max_length=MAX_BOXES)] = ()


@dataclass(frozen=True, slots=True)
class _Box:
    """A box whose label is known, as it is stored."""

    key: Key
    bbox: Box
    confidence: float | None
    metadata: str


@dataclass(slots=True)
class _Known:
    """An image of the project: what it is, and how often it has each of its boxes."""

    id: int
    size: Size
    alike: AlikeBoxes = field(default_factory=AlikeBoxes)
    boxes: Counter[Key] = field(default_factory=Counter)
    made: bool = False
    """Whether it was not there before."""


@operation(
    "annotations.import_images",
    item=ImportedImage,
    params=ImageImport,
    per="chunk",
    independent=True,
    tables=[tables.images, tables.boxes],
    codes=[
        "box_out_of_range",
        "image_exists",
        "image_size_differs",
        "label_not_found",
        "metadata_reserved",
    ],
)
def import_images(ctx: Context, items: Sequence[ImportedImage]) -> list[Result]:
    """Create images of a project, each with its boxes, or add the boxes that one lacks."""
    project = ctx.params.project_id
    names = {box.label for item in items for box in item.boxes}
    labels = Labels(project_id=project, by_name=ids_by_name(ctx.store, project, names))
    found = [_boxes(item, labels) for item in items]
    good = {index: boxes for index, boxes in enumerate(found) if not isinstance(boxes, Failed)}
    images = _images(ctx, items, good)
    results: list[Result] = []
    rows: list[tuple[Any, ...]] = []
    positions: list[int] = []
    for index, boxes in enumerate(found):
        if isinstance(boxes, Failed):
            results.append(boxes)
            continue
        image = images[items[index].file_name]
        fault = _fault(items[index], image, ctx.params.existing_images)
        if fault is not None:
            results.append(fault)
            continue
        added = _lacking(boxes, image)
        rows += (_row(ctx, image.id, box) for box in added)
        positions += [ctx.positions[index]] * len(added)
        results.append(_result(image, len(added), len(boxes)))
        image.made = False
    ctx.store.insert(tables.boxes, _BOX, rows, positions)
    return results


def _boxes(item: ImportedImage, labels: Labels) -> list[_Box] | Failed:
    """The boxes of an image, or what is wrong with the first that cannot be taken."""
    if item.key is not None and item.metadata and OF_FILE in item.metadata:
        return metadata_reserved("the key of the image", "/metadata")
    found: list[_Box] = []
    for number, box in enumerate(item.boxes):
        label = labels.resolve(None, box.label)
        if isinstance(label, Failed):
            return _within(label, number)
        fault = box_fault(box.bbox, None, item.width, item.height)
        if fault is not None:
            return _within(fault, number)
        polygon, of_file = _outlines(box, item.width, item.height)
        if box.metadata and OF_FILE in box.metadata and of_file:
            return metadata_reserved("further outlines", f"/boxes/{number}/metadata")
        metadata = {**(box.metadata or {}), OF_FILE: of_file} if of_file else box.metadata
        key = _key(label, box.bbox, polygon, (item.width, item.height))
        found.append(_Box(key, box.bbox, box.confidence_score, as_text(metadata)))
    return found


def _outlines(box: ImportedBox, width: int, height: int) -> tuple[str | None, dict[str, Any]]:
    """The polygon of a box, and what of its shape has no place of its own."""
    given = box.polygons[0] if box.polygons else ()
    first = tuple((_put_inside(x, width), _put_inside(y, height)) for x, y in given)
    inside = all(
        0 <= x <= width + TOLERANCE and 0 <= y <= height + TOLERANCE for x, y in first
    ) and (0 < len(first) <= MAX_CORNERS)
    others = box.polygons[1:] if inside else box.polygons
    of_file: dict[str, Any] = {"polygons": others} if others else {}
    if box.crowd:
        of_file["crowd"] = True
    return polygon_text(first) if inside else None, of_file


def _put_inside(at: float, side: int) -> float:
    """A coordinate where it may be, if nothing but arithmetic has moved it beyond."""
    nearest = min(max(at, 0.0), side + TOLERANCE)
    return nearest if is_near(at, nearest) else at


def _key(label: int, bbox: Box, polygon: str | None, size: Size) -> Key:
    x, y, width, height = bbox
    return label, x, y, min(x + width, size[0]), min(y + height, size[1]), polygon


def _images(
    ctx: Context, items: Sequence[ImportedImage], good: Mapping[int, Sequence[_Box]]
) -> Mapping[str, _Known]:
    """The images that items name, made where they are not there.

    Others may be making the same ones: their constraint then says so, and they are there when
    it is looked again.
    """
    first: dict[str, int] = {}
    wanted: dict[str, AlikeBoxes] = {}
    for index, boxes in good.items():
        name = items[index].file_name
        first.setdefault(name, index)
        alike = wanted.setdefault(name, AlikeBoxes())
        for box in boxes:
            alike.seen(box.key)
    for left in reversed(range(TRIES)):
        known = _known(ctx.store, ctx.params.project_id, wanted)
        missing = [index for name, index in first.items() if name not in known]
        try:
            ids = _make(ctx, items, missing)
        except RecordRefused:
            if not left:
                raise
            continue
        _count_boxes(ctx.store, {image.id: image for image in known.values()})
        for index, key in zip(missing, ids, strict=True):
            item = items[index]
            size, alike = (item.width, item.height), wanted[item.file_name]
            known[item.file_name] = _Known(key, size, alike, made=True)
        return known
    raise AssertionError("the last try returns or raises")


def _make(ctx: Context, items: Sequence[ImportedImage], missing: Sequence[int]) -> range:
    stamps = (ctx.actor, ctx.clock.now().timestamp())
    rows = [
        (ctx.params.project_id, item.file_name, item.width, item.height, _metadata(item), *stamps)
        for item in (items[index] for index in missing)
    ]
    positions = [ctx.positions[index] for index in missing]
    return ctx.store.insert(tables.images, _IMAGE, rows, positions)


def _known(store: Records, project: int, wanted: Mapping[str, AlikeBoxes]) -> dict[str, _Known]:
    """The images of a project among those of these names."""
    table, names = tables.images, list(wanted)
    found: dict[str, _Known] = {}
    for place in range(0, len(names), NAMES_AT_ONCE):
        some = names[place : place + NAMES_AT_ONCE]
        conditions = (table.c.project_id == project, table.c.file_name.in_(some))
        columns = ["file_name", "width", "height"]
        for row in store.find(table, *conditions, columns=columns, limit=len(some)):
            name, size = row["file_name"], (row["width"], row["height"])
            found[name] = _Known(row["id"], size, wanted[name])
    return found


def _count_boxes(store: Records, known: Mapping[int, _Known]) -> None:
    """How often images, by id, have the boxes that are wanted of them.

    An image may have any number of others: some are read at a time, and forgotten.
    """
    ids = sorted(known)
    table = tables.boxes
    for place in range(0, len(ids), NAMES_AT_ONCE):
        of_some = table.c.image_id.in_(ids[place : place + NAMES_AT_ONCE])
        last = 0
        while rows := store.find(
            table, of_some, table.c.id > last, columns=_PLACE, limit=BOXES_AT_ONCE
        ):
            for row, polygon in _outlined(store, rows):
                image = known[row["image_id"]]
                bbox = (row["x"], row["y"], row["width"], row["height"])
                key = _key(row["label_id"], bbox, polygon, image.size)
                same = image.alike.known(key)
                if same is not None:
                    image.boxes[same] += 1
            last = rows[-1]["id"]


def _outlined(store: Records, rows: Sequence[Row]) -> Iterator[tuple[Row, str | None]]:
    """Boxes with their polygons, as many together as memory has room for."""
    table, ids = tables.boxes, [row["id"] for row in rows]
    where = (table.c.id.in_(ids), func.length(table.c.polygon) > LONG_POLYGON)
    long = [row["id"] for row in store.find(table, *where, columns=["id"], limit=len(ids))]
    parts = [sorted({*ids}.difference(long))]
    parts += [long[at : at + LONG_AT_ONCE] for at in range(0, len(long), LONG_AT_ONCE)]
    by_id = {row["id"]: row for row in rows}
    for part in filter(None, parts):
        of_part = table.c.id.in_(part)
        for found in store.find(table, of_part, columns=["polygon"], limit=len(part)):
            yield by_id[found["id"]], found["polygon"]


def _fault(item: ImportedImage, image: _Known, existing: Existing) -> Failed | None:
    """Why an item cannot be given to the image of its name."""
    if image.made:
        return None
    if existing is Existing.REFUSE:
        return Failed(
            "image_exists",
            f"the project has an image {item.file_name!r} already, {image.id}; name this one "
            "otherwise, or import it with existing_images: add",
            "/file_name",
        )
    if (item.width, item.height) != image.size:
        width, height = image.size
        return Failed(
            "image_size_differs",
            f"the image {item.file_name!r} is {item.width} x {item.height} in the file and "
            f"{width} x {height} in the project (image {image.id}); correct one of them, or name "
            "this one otherwise",
            "/width",
        )
    return None


def _lacking(boxes: Sequence[_Box], image: _Known) -> list[_Box]:
    """Those that an image does not have as often as its item does; they count as its own then."""
    seen: Counter[Key] = Counter()
    added: list[_Box] = []
    for box in boxes:
        key = image.alike.seen(box.key)
        seen[key] += 1
        if seen[key] > image.boxes[key]:
            added.append(box)
    image.boxes |= seen
    return added


def _result(image: _Known, added: int, count: int) -> Result:
    if image.made or added:
        return Done({"id": image.id, "boxes": added})
    what = f"all of these {count} boxes" if count else "nothing to be added"
    return Skipped(f"image {image.id} is there, and has {what}")


def _row(ctx: Context, image_id: int, box: _Box) -> tuple[Any, ...]:
    stamps = (ctx.actor, ctx.clock.now().timestamp())
    label, *_, polygon = box.key
    shape = (label, *map(float, box.bbox), polygon)
    return (ctx.params.project_id, image_id, *shape, box.confidence, box.metadata, *stamps)


def _metadata(item: ImportedImage) -> str:
    of_file = {} if item.key is None else {OF_FILE: {"key": item.key}}
    return as_text({**(item.metadata or {}), **of_file})


def _within(fault: Failed, number: int) -> Failed:
    return replace(fault, pointer=f"/boxes/{number}{fault.pointer}")
