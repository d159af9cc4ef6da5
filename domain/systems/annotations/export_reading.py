"""Export reading: texts or images with what is marked on them, as documents of a file.

Each is read with all of its marks as they stand at one moment, and what the format of the file
drops of it is said in its result, whether or not a file is made. A chunk takes a few queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Table, func

from domain.errors import RecordsOvertaken
from domain.operation import Context
from domain.outcomes import Done, Failed, Result, Skipped
from domain.systems.annotations import tables
from domain.systems.annotations.export_documents import packed
from domain.systems.annotations.formats.documents import Document, TextDocument
from domain.systems.annotations.importing import OF_FILE
from domain.systems.annotations.models import Id, Score, Subject, as_text, of_text

AT_ONCE: Final = 25
"""Documents that are in memory together; a text may have a million characters."""
MAX_MARKS: Final = 100_000
"""Of one document; no file brings in more."""
SOME_MARKS: Final = 10_000
"""Of several documents, that are in memory together."""
WORDS_AT_ONCE: Final = 4_000_000
"""Characters of what spans cover, that are in memory together; one may cover all of its text."""
WORDED_AT_ONCE: Final = 1_000
"""Marks of which that is read together."""
SHAPES_AT_ONCE: Final = 4_000_000
"""Characters of the outlines and metadata of boxes, of several images in memory together."""
MAX_SHAPES: Final = 8_000_000
"""Of one image, which take some 130 MB; a file brings in a million of them at once."""
SHAPED_AT_ONCE: Final = 100
"""Marks of which these are read together."""
LONG_SHAPE: Final = 40_000
"""Characters from which on they are read by themselves."""
STALE: Final = "text_mismatch"
"""The code of what no format can keep: spans whose text was changed, and has other words there."""
STALE_MESSAGE: Final = (
    "an annotation is dropped: its text was changed since, and has other words where it stands"
)
NONE: Final = "none of its annotations is exported"
NONE_FITS: Final = f"{NONE}: its text was changed since, and has other words where they stand"

_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

Row = Mapping[str, Any]
Lost = Callable[[Document], list[str]]
"""The codes of what is dropped of a document."""
Read = Document | Failed | Skipped


class Validity(StrEnum):
    """Whether the rules of the project let an annotation pass."""

    VALID = "valid"
    INVALID = "invalid"


class ExportFilter(BaseModel):
    """Annotations that meet all of this.

    They were made at ``created_after`` or later, and before ``created_before``. ``validity`` is
    whether they pass the rules of the project as these are now.
    """

    model_config = _CONFIG

    label_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1_000)] | None = None
    confidence_min: Score | None = None
    confidence_max: Score | None = None
    created_by: Subject | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    validity: Validity | None = None


@dataclass(frozen=True)
class Words:
    """What marks were made on: the column that has it, and how long that is.

    ``stand`` says of a document and a mark whether the one still has it where the other is.
    """

    column: str
    length: Callable[[Row], int]
    stand: Callable[[Row, Row], bool]


class _TooLarge(Exception):
    """The shapes of marks are more than may be in memory together."""


@dataclass(slots=True)
class Marks:
    """The marks of a document: those that are wanted, and whether some do not fit any more."""

    wanted: list[Row] = field(default_factory=list)
    stale: bool = False


@dataclass(frozen=True)
class Source:
    """Texts or images: where they are, where their marks are, and what a document is made of.

    ``reference`` is the column of a mark that names its document, ``place`` orders the marks of
    one; ``chosen`` are those that are wanted, of those that meet the conditions of the filter.
    ``most`` marks a document may have, ``some`` several that are read together. ``words`` are
    what its marks must still be on; they are read apart, since a few may be all that memory has.
    So are ``shapes``, the columns that say what a mark looks like.
    """

    one: str
    table: Table
    columns: tuple[str, ...]
    marks: Table
    mark_columns: tuple[str, ...]
    reference: str
    place: Callable[[Row], Any]
    document: Callable[[Row, Sequence[Row], Mapping[int, str]], Document]
    chosen: Callable[[Context, list[Row]], list[Row]]
    most: int = MAX_MARKS
    some: int = SOME_MARKS
    words: Words | None = None
    shapes: tuple[str, ...] = ()


def exported(ctx: Context, source: Source, ids: Sequence[int], lost: Lost) -> list[Result]:
    """Read documents by their ids, and keep them for their file."""
    results: list[Result] = []
    for first in range(0, len(ids), AT_ONCE):
        positions = ctx.positions[first : first + AT_ONCE]
        results += _together(ctx, source, positions, ids[first : first + AT_ONCE], lost)
    return results


def _together(
    ctx: Context, source: Source, positions: Sequence[int], ids: Sequence[int], lost: Lost
) -> list[Result]:
    """Read documents and keep them, in halves where they are too large together."""
    try:
        found, stale = _documents(ctx, source, ids)
    except _TooLarge:
        if len(ids) == 1:
            return [_too_large(source, ids[0])]
        middle = len(ids) // 2
        return [
            *_together(ctx, source, positions[:middle], ids[:middle], lost),
            *_together(ctx, source, positions[middle:], ids[middle:], lost),
        ]
    return kept(ctx, positions, ids, [found.get(key) for key in ids], lost, stale)


def kept(
    ctx: Context,
    positions: Sequence[int],
    ids: Sequence[int],
    found: Sequence[Read | None],
    lost: Lost,
    stale: Set[int] = frozenset(),
) -> list[Result]:
    """Keep documents for their file; what stands together in the job is one part.

    Of those whose ids are in ``stale`` marks were dropped that do not fit any more.
    """
    results: list[Result] = []
    run: list[Document] = []
    begins = 0
    for position, key, document in zip(positions, ids, found, strict=True):
        good = document if isinstance(document, Document) else None
        if run and (good is None or position != begins + len(run)):
            ctx.made.add(begins, packed(run))
            run = []
        if good is not None:
            begins = begins if run else position
            run.append(good)
        results.append(_result(key, document, lost, [STALE] if key in stale else []))
    if run:
        ctx.made.add(begins, packed(run))
    return results


def _result(key: int, document: Read | None, lost: Lost, dropped: list[str]) -> Result:
    if document is None:
        return Skipped("it is no longer in the project")
    if isinstance(document, Failed | Skipped):
        return document
    marks = document.spans if isinstance(document, TextDocument) else document.boxes
    codes = dropped + lost(document)
    said: dict[str, Any] = {"id": key, "annotations": len(marks)}
    return Done(said | {"losses": codes} if codes else said)


def _documents(
    ctx: Context, source: Source, ids: Sequence[int]
) -> tuple[dict[int, Read], frozenset[int]]:
    """The documents that are there, by id, with those of their marks that are wanted.

    And the ids of those of which marks were dropped because they do not fit any more.
    """
    homes = {row["id"]: _readable(row) for row in _homes(ctx, source, ids, source.columns)}
    marks = _marks(ctx, source, homes) if homes else {}
    again = {row["id"]: row["version"] for row in _homes(ctx, source, list(homes), ["version"])}
    if again != {key: row["version"] for key, row in homes.items()}:
        raise RecordsOvertaken(f"one {source.one} was changed while it was exported")
    known = {key: some for key, some in marks.items() if some is not None}
    names = _names(ctx, (mark for some in known.values() for mark in some.wanted))
    found: dict[int, Read] = {}
    for key, row in homes.items():
        some = marks.get(key, Marks())
        if some is None:
            found[key] = _too_many(source, key)
        elif not some.wanted and not ctx.params.empty:
            found[key] = Skipped(NONE_FITS if some.stale else NONE)
        else:
            found[key] = source.document(row, some.wanted, names)
    return found, frozenset(key for key, some in known.items() if some.stale)


def _too_many(source: Source, key: int) -> Failed:
    return Failed(
        "too_many_annotations",
        f"{source.one} {key} has more than {source.most:,} annotations that are wanted; narrow the "
        "filters",
    )


def _too_large(source: Source, key: int) -> Failed:
    return Failed(
        "too_many_annotations",
        f"the annotations of {source.one} {key} that are wanted have outlines and metadata of more "
        f"than {MAX_SHAPES:,} characters; narrow the filters",
    )


def _homes(ctx: Context, source: Source, ids: Sequence[int], columns: Sequence[str]) -> list[Row]:
    table = source.table
    wanted = (table.c.project_id == ctx.params.project_id, table.c.id.in_(ids))
    return ctx.store.find(table, *wanted, columns=columns, limit=len(ids)) if ids else []


def _marks(ctx: Context, source: Source, homes: Mapping[int, Row]) -> dict[int, Marks | None]:
    """The wanted marks by document, in its order; None for too many."""
    table, ids = source.marks, list(homes)
    limit = source.most if len(ids) == 1 else source.some
    where = [table.c[source.reference].in_(ids), *_conditions(table, ctx.params.filters)]
    rows = ctx.store.find(table, *where, columns=source.mark_columns, limit=limit + 1)
    if len(rows) > limit:
        if len(ids) == 1:
            return {ids[0]: None}
        middle = len(ids) // 2
        return {
            key: some
            for half in (ids[:middle], ids[middle:])
            for key, some in _marks(ctx, source, {key: homes[key] for key in half}).items()
        }
    return dict(_sorted(ctx, source, homes, rows))


def _sorted(
    ctx: Context, source: Source, homes: Mapping[int, Row], rows: Iterable[Row]
) -> dict[int, Marks]:
    """The wanted ones of marks by document, in its order; raises _TooLarge."""
    found: dict[int, Marks] = {}
    most = MAX_SHAPES if len(homes) == 1 else SHAPES_AT_ONCE
    portions = _shaped if source.shapes else _worded
    for some in portions(ctx, source, homes, rows):
        most -= sum(len(row[name] or "") for row in some for name in source.shapes)
        if most < 0:
            raise _TooLarge
        for row in source.chosen(ctx, some):
            key = row[source.reference]
            marks = found.setdefault(key, Marks())
            if source.words is None:
                marks.wanted.append(row)
            elif source.words.stand(homes[key], row):
                marks.wanted.append(_without(row, source.words.column))
            else:
                marks.stale = True
    for marks in found.values():
        marks.wanted.sort(key=source.place)
    return found


def _shaped(
    ctx: Context, source: Source, homes: Iterable[int], rows: Iterable[Row]
) -> Iterator[list[Row]]:
    """Marks with their shapes, as many together as memory has room for."""
    table = source.marks
    length = sum(func.length(func.coalesce(table.c[name], "")) for name in source.shapes)
    wanted = _conditions(table, ctx.params.filters)
    where = (table.c[source.reference].in_(list(homes)), *wanted, length > LONG_SHAPE)
    marks = list(rows)
    long = {row["id"] for row in ctx.store.find(table, *where, columns=["id"], limit=len(marks))}
    plain = [row for row in marks if row["id"] not in long]
    portions = [plain[at : at + SHAPED_AT_ONCE] for at in range(0, len(plain), SHAPED_AT_ONCE)]
    for portion in chain(portions, ([row] for row in marks if row["id"] in long)):
        yield [_readable(row) for row in _with(ctx, source, portion, source.shapes)]


def _worded(
    ctx: Context, source: Source, _homes: Iterable[int], rows: Iterable[Row]
) -> Iterator[list[Row]]:
    """Marks with the words that they were made on, as many together as memory has room for."""
    words, rows = source.words, map(_readable, rows)
    if words is None:
        yield list(rows)
        return
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += words.length(row)
        if size >= WORDS_AT_ONCE or len(portion) >= WORDED_AT_ONCE:
            yield with_words(ctx, source, portion, words.column)
            portion, size = [], 0
    if portion:
        yield with_words(ctx, source, portion, words.column)


def with_words(ctx: Context, source: Source, rows: Sequence[Row], column: str) -> list[Row]:
    """Marks with that column; raises RecordsOvertaken where one is no longer what was read."""
    return _with(ctx, source, rows, (column,))


def _with(ctx: Context, source: Source, rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    table, ids = source.marks, [row["id"] for row in rows]
    wanted = ["version", *columns]
    found = ctx.store.find(table, table.c.id.in_(ids), columns=wanted, limit=len(ids))
    again = {row["id"]: row for row in found}
    if any(row["version"] != again.get(row["id"], {}).get("version") for row in rows):
        raise RecordsOvertaken(f"what a {source.one} has was changed while it was exported")
    return [{**row, **{name: again[row["id"]][name] for name in columns}} for row in rows]


def _without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def _readable(row: Row) -> Row:
    """The row, with null for what earlier releases took for a number: no file has a NaN."""
    text = row["metadata"]
    if "NaN" not in text and "Infinity" not in text:
        return row
    return {**row, "metadata": as_text(of_text(text))}


def _conditions(table: Table, wanted: ExportFilter) -> Iterator[Any]:
    """What the rows of wanted annotations, or of boxes, must be like."""
    columns = table.c
    if wanted.label_ids is not None:
        yield columns.label_id.in_(wanted.label_ids)
    if wanted.confidence_min is not None:
        yield columns.confidence_score >= wanted.confidence_min
    if wanted.confidence_max is not None:
        yield columns.confidence_score <= wanted.confidence_max
    if wanted.created_by is not None:
        yield columns.created_by == wanted.created_by
    if wanted.created_after is not None:
        yield columns.created_at >= wanted.created_after.timestamp()
    if wanted.created_before is not None:
        yield columns.created_at < wanted.created_before.timestamp()


def _names(ctx: Context, rows: Iterable[Row]) -> dict[int, str]:
    """The names of the labels that rows have."""
    ids = sorted({row["label_id"] for row in rows})
    return {key: row["name"] for key, row in ctx.store.fetch(tables.labels, ids, ["name"]).items()}


def parted(
    metadata: dict[str, Any], is_of_file: Callable[[Any], bool]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata, and apart from them what only their file knew; see OF_FILE."""
    of_file = metadata.get(OF_FILE)
    if not is_of_file(of_file):
        return metadata, {}
    return {name: value for name, value in metadata.items() if name != OF_FILE}, of_file or {}
