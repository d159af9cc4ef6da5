"""Boxes: labelled parts of images. Set-based, as spans are; a box lies within its image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result
from domain.record_operations import DeletedRecord, not_found, version_conflict, write_result
from domain.records import Change, Deletion
from domain.systems.annotations import tables
from domain.systems.annotations.lookup import labels_of
from domain.systems.annotations.models import (
    Box,
    ChangedBox,
    InProject,
    MayBeInProject,
    NewBox,
    Polygon,
    as_text,
)
from domain.systems.annotations.rules import Labels

TOLERANCE = 0.5
"""By how many pixels a box may reach beyond its image: files give decimals, rounded."""

_WHAT = "boxes"
_PRESENT = ("version", "project_id", "image_id")
_SIZE = ("project_id", "width", "height")
_COLUMNS = (
    *("project_id", "image_id", "label_id", "x", "y", "width", "height", "polygon"),
    *("confidence_score", "metadata", "created_by", "created_at"),
)

Rows = Mapping[int, Mapping[str, Any]]
Values = dict[str, Any]


@operation(
    "annotations.create_boxes",
    item=NewBox,
    params=InProject,
    per="chunk",
    independent=True,
    tables=[tables.boxes],
)
def create_boxes(ctx: Context, items: Sequence[NewBox]) -> list[Result]:
    """Create boxes on the images of one project."""
    project = ctx.params.project_id
    images = ctx.store.fetch(tables.images, sorted({item.image_id for item in items}), _SIZE)
    labels = labels_of(ctx.store, project, items)
    stamps = (ctx.actor, ctx.clock.now().timestamp())
    made: list[tuple[Any, ...] | Failed] = [
        _row(item, project, images, labels, stamps) for item in items
    ]
    good = [index for index, row in enumerate(made) if not isinstance(row, Failed)]
    rows = [row for row in made if not isinstance(row, Failed)]
    ids = ctx.store.insert(tables.boxes, _COLUMNS, rows, [ctx.positions[index] for index in good])
    by_index = dict(zip(good, ids, strict=True))
    return [
        row if isinstance(row, Failed) else Done({"id": by_index[index]})
        for index, row in enumerate(made)
    ]


@operation(
    "annotations.update_boxes",
    item=ChangedBox,
    params=MayBeInProject,
    tables=[tables.boxes],
    selectable=tables.boxes,
)
def update_boxes(ctx: Context, item: ChangedBox) -> Result:
    """Change the place, shape, label, confidence or metadata of boxes."""
    row = _present(ctx, [item.id]).get(item.id)
    if row is None:
        return not_found(item.id, _WHAT)
    if item.version is not None and item.version != row["version"]:
        return version_conflict(row["version"], asked=item.version)
    values = _changed(ctx, item, row)
    if isinstance(values, Failed):
        return values
    change = Change(item.id, values, row["version"], ctx.position)
    (written,) = ctx.store.update(tables.boxes, [change])
    return write_result(item.id, written, asked=None, what=_WHAT)


@operation(
    "annotations.delete_boxes",
    item=DeletedRecord,
    params=MayBeInProject,
    per="chunk",
    destructive=True,
    tables=[tables.boxes],
    selectable=tables.boxes,
)
def delete_boxes(ctx: Context, items: Sequence[DeletedRecord]) -> list[Result]:
    """Delete boxes."""
    present = _present(ctx, [item.id for item in items])
    results: list[Result] = [not_found(item.id, _WHAT) for item in items]
    known = [index for index, item in enumerate(items) if item.id in present]
    deletions = [
        Deletion(items[index].id, items[index].version, ctx.positions[index]) for index in known
    ]
    written = ctx.store.delete(tables.boxes, deletions)
    for index, result in zip(known, written, strict=True):
        item = items[index]
        results[index] = write_result(item.id, result, asked=item.version, what=_WHAT)
    return results


def box_fault(box: Box, polygon: Polygon | None, width: int, height: int) -> Failed | None:
    """Why a box, or the polygon in it, cannot be on an image of that size."""
    x, y, across, down = box
    if x + across > width + TOLERANCE or y + down > height + TOLERANCE:
        return Failed(
            "box_out_of_range",
            f"the box {x:g}, {y:g}, {across:g}, {down:g} reaches beyond the image, which is "
            f"{width} x {height}; correct it",
            "/bbox",
        )
    for place, (left, top) in enumerate(polygon or ()):
        if left > width + TOLERANCE or top > height + TOLERANCE:
            return Failed(
                "box_out_of_range",
                f"the corner {left:g}, {top:g} is beyond the image, which is {width} x {height}; "
                "correct it",
                f"/polygon/{place}",
            )
    return None


def polygon_text(polygon: Polygon | None) -> str | None:
    """A polygon as it is stored: JSON text."""
    return None if polygon is None else json.dumps(polygon, separators=(",", ":"))


def image_not_found(image_id: int, project_id: int) -> Failed:
    """The image is not there, or is another project's."""
    return Failed(
        "image_not_found",
        f"project {project_id} has no image {image_id}; create it, then retry",
        "/image_id",
        retryable=True,
    )


def _row(
    item: NewBox, project: int, images: Rows, labels: Labels, stamps: tuple[str, float]
) -> tuple[Any, ...] | Failed:
    image = images.get(item.image_id)
    if image is None or image["project_id"] != project:
        return image_not_found(item.image_id, project)
    fault = box_fault(item.bbox, item.polygon, image["width"], image["height"])
    if fault is not None:
        return fault
    label = labels.resolve(item.label_id, item.label)
    if isinstance(label, Failed):
        return label
    shape = (*item.bbox, polygon_text(item.polygon), item.confidence_score, as_text(item.metadata))
    return (project, item.image_id, label, *shape, *stamps)


def _changed(ctx: Context, item: ChangedBox, row: Mapping[str, Any]) -> Values | Failed:
    given = item.model_fields_set
    values: Values = {"updated_by": ctx.actor, "updated_at": ctx.clock.now().timestamp()}
    if given & {"bbox", "polygon"}:
        shape = _shape(ctx, item, row)
        if isinstance(shape, Failed):
            return shape
        values |= shape
    if given & {"label_id", "label"}:
        labels = labels_of(ctx.store, row["project_id"], [item])
        label = labels.resolve(item.label_id, item.label)
        if isinstance(label, Failed):
            return label
        values["label_id"] = label
    if "confidence_score" in given:
        values["confidence_score"] = item.confidence_score
    if "metadata" in given:
        values["metadata"] = as_text(item.metadata)
    return values


def _shape(ctx: Context, item: ChangedBox, row: Mapping[str, Any]) -> Values | Failed:
    """Place and polygon as they will be; what an item does not name stays as it is."""
    names = ("x", "y", "width", "height", "polygon")
    stands = ctx.store.fetch(tables.boxes, [item.id], names)[item.id]
    box = item.bbox or (stands["x"], stands["y"], stands["width"], stands["height"])
    polygon: Any = item.polygon
    if "polygon" not in item.model_fields_set and stands["polygon"] is not None:
        polygon = json.loads(stands["polygon"])
    image = ctx.store.fetch(tables.images, [row["image_id"]], _SIZE)[row["image_id"]]
    fault = box_fault(box, polygon, image["width"], image["height"])
    return fault or {**dict(zip(names, box, strict=False)), "polygon": polygon_text(polygon)}


def _present(ctx: Context, ids: Sequence[int]) -> Rows:
    """The boxes of those ids, within the project of the parameters if there is one."""
    rows = ctx.store.fetch(tables.boxes, ids, _PRESENT)
    project = ctx.params.project_id
    if project is None:
        return rows
    return {key: row for key, row in rows.items() if row["project_id"] == project}
