"""New annotations. Set-based: a few queries for each chunk, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.operation import Context, operation
from domain.outcomes import Result
from domain.systems.annotations import tables
from domain.systems.annotations.models import Creation, NewAnnotation, as_text
from domain.systems.annotations.validation.counting import given_in_utf16
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.verdicts import done, refusals

_COLUMNS = (
    "project_id",
    "text_id",
    "label_id",
    "start_char",
    "end_char",
    "selected_text",
    "confidence_score",
    "metadata",
    "created_by",
    "created_at",
)

Row = tuple[Any, ...]


@operation(
    "annotations.create",
    item=NewAnnotation,
    params=Creation,
    per="chunk",
    independent=True,
    tables=[tables.annotations],
)
def create(ctx: Context, items: Sequence[NewAnnotation]) -> list[Result]:
    """Create annotations on the texts of one project; what its rules refuse fails."""
    project = ctx.params.project_id
    full = ctx.params.validate_before_create
    utf16 = given_in_utf16(ctx.params.offsets, items)
    batch, limits = examine(ctx.store, project, items, full=full, places=ctx.positions, utf16=utf16)
    refused = refusals(batch, limits, ctx.positions)
    good = [index for index in range(len(items)) if index not in refused]
    stamps = ctx.actor, ctx.clock.now().timestamp()
    rows = _rows(batch, good, stamps)
    places = [ctx.positions[index] for index in good]
    ids = ctx.store.insert(tables.annotations, _COLUMNS, rows, places)
    results: dict[int, Result] = dict(refused)
    for index, place, key in zip(good, places, ids, strict=True):
        results[index] = done(batch, index, place, {"id": key}, full=full)
    return [results[index] for index in range(len(items))]


def _rows(batch: Batch, good: Sequence[int], stamps: tuple[str, float]) -> list[Row]:
    project, items, labels, selected = batch.project_id, batch.items, batch.labels, batch.selected
    return [
        (
            project,
            (item := items[index]).text_id,
            labels[index],
            item.start_char,
            item.end_char,
            selected[index],
            item.confidence_score,
            as_text(item.metadata),
            *stamps,
        )
        for index in good
    ]
