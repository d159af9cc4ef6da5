"""New annotations. Set-based: a few queries for each chunk, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result
from domain.systems.annotations import tables
from domain.systems.annotations.lookup import Selection, labels_of, selections
from domain.systems.annotations.models import Creation, NewAnnotation, as_text

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
    """Create annotations on the texts of one project."""
    project = ctx.params.project_id
    spans = [(i.text_id, i.start_char, i.end_char, i.selected_text) for i in items]
    found = selections(ctx.store, project, spans)
    rows = _rows(ctx, project, items, found)
    good = [index for index, row in enumerate(rows) if isinstance(row, tuple)]
    ids = ctx.store.insert(
        tables.annotations,
        _COLUMNS,
        [row for row in rows if isinstance(row, tuple)],
        [ctx.positions[index] for index in good],
    )
    made = dict(zip(good, ids, strict=True))
    return [
        row if isinstance(row, Failed) else Done({"id": made[index]})
        for index, row in enumerate(rows)
    ]


def _rows(
    ctx: Context, project: int, items: Sequence[NewAnnotation], found: Sequence[Selection]
) -> list[Row | Failed]:
    """The row of each item, or what is wrong with it."""
    labels = labels_of(ctx.store, project, items)
    actor, now = ctx.actor, ctx.clock.now().timestamp()
    rows: list[Row | Failed] = []
    for item, selected in zip(items, found, strict=True):
        label = labels.resolve(item.label_id, item.label)
        if isinstance(selected, Failed):
            rows.append(selected)
        elif isinstance(label, Failed):
            rows.append(label)
        else:
            rows.append(
                (
                    project,
                    item.text_id,
                    label,
                    item.start_char,
                    item.end_char,
                    selected,
                    item.confidence_score,
                    as_text(item.metadata),
                    actor,
                    now,
                )
            )
    return rows
