"""Exported texts, each with its annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.operation import Context, operation
from domain.outcomes import Result
from domain.systems.annotations import tables
from domain.systems.annotations.export_reading import (
    Row,
    Source,
    Validity,
    Words,
    exported,
    parted,
)
from domain.systems.annotations.export_terms import Export, Exported
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.validation.becoming import KNOWN, as_it_is
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.verdicts import refusals


@operation(
    "annotations.export",
    item=Exported,
    params=Export,
    per="chunk",
    independent=True,
    read_only=True,
    selectable=tables.texts,
    codes=["too_many_annotations"],
)
def export(ctx: Context, items: Sequence[Exported]) -> list[Result]:
    """Read texts of a project with their annotations, for a file; nothing is changed."""
    return exported(ctx, TEXTS, [item.id for item in items], ctx.params.lost)


def _document(text: Row, marks: Sequence[Row], names: Mapping[int, str]) -> TextDocument:
    metadata, of_file = parted(json.loads(text["metadata"]), _is_of_file)
    spans = tuple(
        Span(
            mark["start_char"],
            mark["end_char"],
            names[mark["label_id"]],
            mark["confidence_score"],
            json.loads(mark["metadata"]),
        )
        for mark in marks
    )
    labels = tuple(of_file.get("labels", ()))
    return TextDocument(text["content"], spans, of_file.get("key"), labels, metadata)


def _is_of_file(value: Any) -> bool:
    """Whether an import can have written it; what somebody else has written stays metadata."""
    if not isinstance(value, dict) or not value or not value.keys() <= {"key", "labels"}:
        return False
    labels = value.get("labels", ["one"])
    return (
        isinstance(value.get("key", ""), str)
        and isinstance(labels, list)
        and bool(labels)
        and all(isinstance(label, str) and label.strip() for label in labels)
    )


def _of_validity(ctx: Context, rows: list[Row]) -> list[Row]:
    """Those that are as valid as wanted, by the rules of the project."""
    wanted = ctx.params.filters.validity
    if wanted is None or not rows:
        return rows
    own = [row["id"] for row in rows]
    subjects = [as_it_is(row) for row in rows]
    batch, limits = examine(ctx.store, ctx.params.project_id, subjects, own=own, settled=True)
    wrong = refusals(batch, limits, range(len(rows)))
    asked = wanted is Validity.INVALID
    return [row for place, row in enumerate(rows) if (place in wrong) is asked]


def _stands(text: Row, mark: Row) -> bool:
    """Whether the text still has the words that a span was made on where it is."""
    begin, end = mark["start_char"], mark["end_char"]
    return bool(text["content"][begin:end] == mark["selected_text"])


TEXTS: Final = Source(
    one="text",
    table=tables.texts,
    columns=("version", "content", "metadata"),
    marks=tables.annotations,
    mark_columns=("version", *(name for name in KNOWN if name != "selected_text")),
    reference="text_id",
    place=lambda mark: (mark["start_char"], mark["id"]),
    document=_document,
    chosen=_of_validity,
    words=Words("selected_text", lambda mark: int(mark["end_char"] - mark["start_char"]), _stands),
)
