"""Exported texts, each with its annotations, as documents of a file; a chunk takes a few queries.

Each text is read with all of its annotations as they stand at one moment. What the format of the
file drops of it is said in its result, whether or not a file is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from domain.errors import RecordsOvertaken
from domain.execution import pointer_of
from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Result, Skipped
from domain.systems.annotations import tables
from domain.systems.annotations.export_documents import packed
from domain.systems.annotations.formats.conll_tags import scheme_named
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document, Span, TextDocument
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.formats.registry import FORMATS
from domain.systems.annotations.importing import OF_FILE
from domain.systems.annotations.models import Id, InProject, Score
from domain.systems.annotations.models import Subject as Person
from domain.systems.annotations.validation.becoming import as_it_is
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.verdicts import refusals

AT_ONCE: Final = 25
"""Texts that are in memory together; each may have a million characters."""
MAX_MARKS: Final = 100_000
"""Annotations of one text; no file brings in more."""
SOME_MARKS: Final = 10_000
"""Of several texts, that are in memory together."""
MAPPED: Final = frozenset({"csv", "json", "jsonl"})
"""Formats whose fields may be called otherwise."""

_TEXT: Final = ("version", "content", "metadata")
_MARK: Final = (
    *("project_id", "text_id", "label_id", "start_char", "end_char", "selected_text"),
    *("confidence_score", "metadata"),
)
_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

Row = Mapping[str, Any]
Refusal = tuple[str, str]
"""What is wrong, and a JSON pointer to it."""


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
    created_by: Person | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    validity: Validity | None = None


class Export(InProject):
    """Parameters of exports.

    ``field_mapping`` says for each field of the file where it comes from; ``scheme`` how tags are
    written. With ``empty`` off, a text is left out of which no annotation is exported.
    """

    format: str
    filters: ExportFilter = ExportFilter()
    field_mapping: dict[str, Any] = Field(default_factory=dict)
    scheme: str | None = None
    empty: bool = True

    @model_validator(mode="after")
    def _is_possible(self) -> Export:
        wrong = refusal(self.format, self.scheme, self.field_mapping)
        if wrong is not None:
            raise ValueError(f"{wrong[1]}: {wrong[0]}")
        return self


class ExportedText(BaseModel):
    """A text by its id."""

    model_config = _CONFIG

    id: Id


def written(name: str) -> Format:
    """The format of that name; raises FileRefused for one that is not known, or only read."""
    found = {each.name: each for each in FORMATS if each.write is not None}
    if name not in found:
        raise FileRefused(f"nothing is written as {name!r}; choose one of {', '.join(found)}")
    return found[name]


def refusal(
    name: str, scheme: str | None, mapping: Mapping[str, Any], subject: Subject = Subject.TEXT
) -> Refusal | None:
    """What is wrong with a format and its options, if anything is."""
    try:
        form = written(name)
    except FileRefused as error:
        return str(error), "/format"
    if form.subject is not subject:
        return f"{form.title} holds {form.subject.value}s; choose another format", "/format"
    if mapping and name not in MAPPED:
        known = ", ".join(sorted(MAPPED))
        return f"{form.title} has fields of its own; a mapping is for {known}", "/field_mapping"
    return mapping_refusal(mapping, "/field_mapping") or _wrong_scheme(name, scheme)


def mapping_refusal(mapping: Mapping[str, Any], at: str) -> Refusal | None:
    """What is wrong with a field mapping that stands at a pointer, if anything is."""
    try:
        parsed_mapping(dict.fromkeys(mapping, ""))
    except ValueError as error:
        return str(error), at
    for name, source in mapping.items():
        try:
            parsed_mapping({name: source})
        except ValueError as error:
            return str(error), at + pointer_of([name])
    return None


def _wrong_scheme(name: str, scheme: str | None) -> Refusal | None:
    if scheme is None:
        return None
    if name != "conll":
        return f"{name} has no schemes; leave it out", "/scheme"
    try:
        scheme_named(scheme)
    except FileRefused as error:
        return str(error), "/scheme"
    return None


def write_options(params: Export, labels: Sequence[str] = ()) -> WriteOptions:
    """How the file is to be written; ``labels`` are those of the project, in order."""
    mapping = parsed_mapping(params.field_mapping)
    return WriteOptions(labels=labels, scheme=params.scheme, mapping=mapping)


@operation(
    "annotations.export",
    item=ExportedText,
    params=Export,
    per="chunk",
    independent=True,
    read_only=True,
    selectable=tables.texts,
    codes=["too_many_annotations"],
)
def export(ctx: Context, items: Sequence[ExportedText]) -> list[Result]:
    """Read texts of a project with their annotations, for a file; nothing is changed."""
    lost = partial(losses, written(ctx.params.format), write_options(ctx.params))
    results: list[Result] = []
    for first in range(0, len(items), AT_ONCE):
        some = [item.id for item in items[first : first + AT_ONCE]]
        places = ctx.positions[first : first + AT_ONCE]
        found = _documents(ctx, some)
        results += kept(ctx, places, some, [found.get(key) for key in some], lost)
    return results


def kept(
    ctx: Context,
    positions: Sequence[int],
    ids: Sequence[int],
    found: Sequence[Document | Failed | Skipped | None],
    lost: Callable[[Document], list[str]],
) -> list[Result]:
    """Keep documents for their file; what stands together in the job is one part."""
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
        results.append(_result(key, document, lost))
    if run:
        ctx.made.add(begins, packed(run))
    return results


def losses(form: Format, options: WriteOptions, document: Document) -> list[str]:
    """The codes of what the format drops of a document."""
    if form.losses is None:
        return []
    return list(dict.fromkeys(loss.code for loss in form.losses(document, options)))


def _result(
    key: int, document: Document | Failed | Skipped | None, lost: Callable[[Document], list[str]]
) -> Result:
    if document is None:
        return Skipped("it is no longer in the project")
    if isinstance(document, Failed | Skipped):
        return document
    marks = document.spans if isinstance(document, TextDocument) else document.boxes
    codes = lost(document)
    said: dict[str, Any] = {"id": key, "annotations": len(marks)}
    return Done(said | {"losses": codes} if codes else said)


def _documents(ctx: Context, ids: Sequence[int]) -> dict[int, Document | Failed | Skipped]:
    """The texts that are there, by id, with those of their annotations that are wanted."""
    texts = {row["id"]: row for row in _texts(ctx, ids, _TEXT)}
    marks = _marks(ctx, list(texts)) if texts else {}
    if {row["id"]: row["version"] for row in _texts(ctx, list(texts), ["version"])} != {
        key: row["version"] for key, row in texts.items()
    }:
        raise RecordsOvertaken("a text was changed while it was exported")
    names = labels_named(ctx, (mark for some in marks.values() for mark in some or ()))
    found: dict[int, Document | Failed | Skipped] = {}
    for key, row in texts.items():
        some = marks.get(key, [])
        if some is None:
            found[key] = too_many(f"text {key}")
        elif not some and not ctx.params.empty:
            found[key] = Skipped("none of its annotations is exported")
        else:
            found[key] = _document(row, some, names)
    return found


def too_many(what: str) -> Failed:
    """It has more annotations than are exported."""
    return Failed(
        "too_many_annotations",
        f"{what} has more than {MAX_MARKS:,} annotations that are wanted; narrow the filters",
    )


def _texts(ctx: Context, ids: Sequence[int], columns: Sequence[str]) -> list[Row]:
    table = tables.texts
    wanted = (table.c.project_id == ctx.params.project_id, table.c.id.in_(ids))
    return ctx.store.find(table, *wanted, columns=columns, limit=len(ids)) if ids else []


def _marks(ctx: Context, texts: list[int]) -> dict[int, list[Row] | None]:
    """The wanted annotations by text, in the order of the text; None for too many."""
    table = tables.annotations
    limit = MAX_MARKS if len(texts) == 1 else SOME_MARKS
    where = [table.c.text_id.in_(texts), *conditions(table, ctx.params.filters)]
    rows = ctx.store.find(table, *where, columns=_MARK, limit=limit + 1)
    if len(rows) > limit:
        if len(texts) == 1:
            return {texts[0]: None}
        middle = len(texts) // 2
        return _marks(ctx, texts[:middle]) | _marks(ctx, texts[middle:])
    found: dict[int, list[Row] | None] = {}
    for row in sorted(_of_validity(ctx, rows), key=lambda row: (row["start_char"], row["id"])):
        some = found.setdefault(row["text_id"], [])
        if some is not None:
            some.append(row)
    return found


def conditions(table: Any, wanted: ExportFilter) -> Iterator[Any]:
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


def _of_validity(ctx: Context, rows: list[Row]) -> list[Row]:
    """Those that are as valid as wanted, by the rules of the project."""
    wanted = ctx.params.filters.validity
    if wanted is None or not rows:
        return rows
    own = [row["id"] for row in rows]
    subjects = [as_it_is(row) for row in rows]
    batch, limits = examine(ctx.store, ctx.params.project_id, subjects, own=own, settled=True)
    wrong = refusals(batch, limits, range(len(rows)))
    return [row for place, row in enumerate(rows) if (place in wrong) is (wanted == "invalid")]


def labels_named(ctx: Context, rows: Iterable[Row]) -> dict[int, str]:
    """The names of the labels that rows have."""
    ids = sorted({row["label_id"] for row in rows})
    return {key: row["name"] for key, row in ctx.store.fetch(tables.labels, ids, ["name"]).items()}


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


def parted(
    metadata: dict[str, Any], is_of_file: Callable[[Any], bool]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata, and apart from them what only their file knew; see OF_FILE."""
    of_file = metadata.get(OF_FILE)
    if not is_of_file(of_file):
        return metadata, {}
    return {name: value for name, value in metadata.items() if name != OF_FILE}, of_file or {}


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
