"""Imported texts, each with its spans, as a file has them; a chunk takes a few queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result
from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.models import (
    Content,
    InProject,
    Line,
    Metadata,
    Name,
    Offset,
    Score,
    Selected,
    as_text,
)
from domain.systems.annotations.rules import Labels, selection

OF_FILE: Final = "_file"
"""The field of a text's metadata for what only its file knew: its key, and labels of all of it."""
NAMES_AT_ONCE: Final = 1_000
"""Labels that one query asks for."""
WORDS_AT_ONCE: Final = 4_000_000
"""Characters of what spans cover, that are in memory together; one may cover all of its text."""

_TEXT = ("project_id", "content", "metadata", "created_by", "created_at")
_SPAN = (
    *("project_id", "text_id", "label_id", "start_char", "end_char", "selected_text"),
    *("confidence_score", "metadata", "created_by", "created_at"),
)
_BEGIN, _END = _SPAN.index("start_char"), _SPAN.index("end_char")
_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImportedSpan(BaseModel):
    """A part of the text with a label, by its name; offsets count code points."""

    model_config = _CONFIG

    start_char: Offset
    end_char: Offset
    label: Name
    selected_text: Selected | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None


class ImportedText(BaseModel):
    """A text with its spans; ``key`` is what the file calls it, ``labels`` are those of all of it.

    The last two have no place of their own: they are kept in the metadata, under ``_file``.
    """

    model_config = _CONFIG

    content: Content
    key: Line | None = None
    labels: tuple[Line, ...] = ()
    metadata: Metadata | None = None
    annotations: Annotated[tuple[ImportedSpan, ...], Field(max_length=100_000)] = ()


@dataclass(frozen=True, slots=True)
class _Span:
    """A span whose label is known."""

    span: ImportedSpan
    label_id: int


Row = tuple[Any, ...]


@operation(
    "texts.import",
    item=ImportedText,
    params=InProject,
    per="chunk",
    independent=True,
    tables=[tables.texts, tables.annotations],
    codes=["label_not_found", "metadata_reserved", "span_out_of_range", "text_mismatch"],
    formerly=["annotations.import_texts"],
)
def import_texts(ctx: Context, items: Sequence[ImportedText]) -> list[Result]:
    """Create texts of a project, each with its annotations.

    A file is taken as it is: labels, places and words must be right, and no more is asked.
    ``annotations.validate`` with a filter says afterwards what the others have to say.
    """
    project = ctx.params.project_id
    names = {span.label for item in items for span in item.annotations}
    labels = Labels(project_id=project, by_name=ids_by_name(ctx.store, project, names))
    found = [_spans(item, labels) for item in items]
    stamps = (ctx.actor, ctx.clock.now().timestamp())
    good = [index for index, spans in enumerate(found) if not isinstance(spans, Failed)]
    places = [ctx.positions[index] for index in good]
    texts = [(project, items[i].content, _metadata(items[i]), *stamps) for i in good]
    made = dict(zip(good, ctx.store.insert(tables.texts, _TEXT, texts, places), strict=True))
    rows: list[Iterator[tuple[Row, int]]] = []
    results: list[Result] = []
    for index, spans in enumerate(found):
        if isinstance(spans, Failed):
            results.append(spans)
            continue
        home, content, place = (project, made[index]), items[index].content, ctx.positions[index]
        rows.append(_rows(home, content, spans, stamps, place))
        results.append(Done({"id": made[index], "annotations": len(spans)}))
    _insert(ctx, chain.from_iterable(rows))
    return results


def _rows(
    home: tuple[int, int], content: str, spans: Iterable[_Span], stamps: tuple[Any, ...], place: int
) -> Iterator[tuple[Row, int]]:
    """The annotations of a text, each with the position of its item."""
    for found in spans:
        span = found.span
        begin, end = span.start_char, span.end_char
        own = (found.label_id, begin, end, content[begin:end])
        yield (*home, *own, span.confidence_score, as_text(span.metadata), *stamps), place


def _insert(ctx: Context, found: Iterable[tuple[Row, int]]) -> None:
    """Insert annotations, so many at a time as memory has room for."""
    rows: list[Row] = []
    positions: list[int] = []
    words = 0
    for row, position in found:
        rows.append(row)
        positions.append(position)
        words += row[_END] - row[_BEGIN]
        if words >= WORDS_AT_ONCE:
            ctx.store.insert(tables.annotations, _SPAN, rows, positions)
            rows, positions, words = [], [], 0
    ctx.store.insert(tables.annotations, _SPAN, rows, positions)


def ids_by_name(store: Records, project_id: int, names: Iterable[str]) -> Mapping[str, int]:
    """The labels of a project among those of these names."""
    table = tables.labels
    found: dict[str, int] = {}
    ordered = sorted(names)
    for first in range(0, len(ordered), NAMES_AT_ONCE):
        some = ordered[first : first + NAMES_AT_ONCE]
        conditions = (table.c.project_id == project_id, table.c.name.in_(some))
        rows = store.find(table, *conditions, columns=["name"], limit=len(some))
        found |= {row["name"]: row["id"] for row in rows}
    return found


def metadata_reserved(what: str, pointer: str) -> Failed:
    """The metadata at ``pointer`` have the field that is for what only the file knows."""
    return Failed(
        "metadata_reserved",
        f"the metadata have a field {OF_FILE}, which is for {what}; call it otherwise",
        f"{pointer}/{OF_FILE}",
    )


def _spans(item: ImportedText, labels: Labels) -> list[_Span] | Failed:
    """The spans of a text, or what is wrong with the first that cannot be taken."""
    if item.metadata and OF_FILE in item.metadata and (item.key is not None or item.labels):
        return metadata_reserved("the key and the labels of the text", "/metadata")
    found: list[_Span] = []
    for number, each in enumerate(_judged(item, labels)):
        if isinstance(each, Failed):
            return replace(each, pointer=f"/annotations/{number}{each.pointer}")
        found.append(each)
    return found


def _judged(item: ImportedText, labels: Labels) -> Iterator[_Span | Failed]:
    for span in item.annotations:
        label = labels.resolve(None, span.label)
        selected = selection(item.content, span.start_char, span.end_char, span.selected_text)
        if isinstance(label, Failed):
            yield label
        elif isinstance(selected, Failed):
            yield selected
        else:
            yield _Span(span, label)


def _metadata(item: ImportedText) -> str:
    of_file: dict[str, Any] = {} if item.key is None else {"key": item.key}
    if item.labels:
        of_file["labels"] = list(item.labels)
    return as_text({**(item.metadata or {}), OF_FILE: of_file} if of_file else item.metadata)
