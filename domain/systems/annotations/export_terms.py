"""Export terms: what may be asked of an export, and how its file is written then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.pointers import pointer_of
from domain.systems.annotations.export_reading import ExportFilter, Lost
from domain.systems.annotations.formats import yolo
from domain.systems.annotations.formats.conll_tags import scheme_named
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Document
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.formats.registry import FORMATS
from domain.systems.annotations.models import Id, InProject

MAPPED: Final = frozenset({"csv", "json", "jsonl", "xlsx"})
"""Formats whose fields may be called otherwise."""

_OF_ROWS: Final = (yolo.BOXES, yolo.POLYGONS)

Refusal = tuple[str, str]
"""What is wrong, and a JSON pointer to it."""


class Export(InProject):
    """Parameters of exports.

    ``field_mapping`` says for each field of the file where it comes from; ``scheme`` is that of
    the format. With ``empty`` off, what has no wanted annotation is left out.
    """

    subject: ClassVar[Subject] = Subject.TEXT

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
        form = written(self.format)
        if form.subject is not self.subject:
            raise ValueError(f"{form.title} holds {form.subject}s; choose another format")
        return self

    @property
    def lost(self) -> Lost:
        """What the format drops of a document."""
        return partial(_losses, written(self.format), write_options(self))


class Exported(BaseModel):
    """What is exported, by its id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Id


def written(name: str) -> Format:
    """The format of that name; raises FileRefused for one that is not known, or only read."""
    found = {each.name: each for each in FORMATS if each.write is not None}
    if name not in found:
        raise FileRefused(f"nothing is written as {name!r}; choose one of {', '.join(found)}")
    return found[name]


def refusal(name: str, scheme: str | None, mapping: Mapping[str, Any]) -> Refusal | None:
    """What is wrong with a format and its options, if anything is."""
    try:
        form = written(name)
    except FileRefused as error:
        return str(error), "/format"
    if mapping and name not in MAPPED:
        known = ", ".join(sorted(MAPPED))
        return f"{form.title} has fields of its own; a mapping is for {known}", "/field_mapping"
    return _wrong_mapping(mapping) or _wrong_scheme(name, scheme)


def write_options(params: Export, labels: Sequence[str] = ()) -> WriteOptions:
    """How the file is to be written; ``labels`` are those of the project, in order."""
    mapping = parsed_mapping(params.field_mapping)
    return WriteOptions(labels=labels, scheme=params.scheme, mapping=mapping)


def _losses(form: Format, options: WriteOptions, document: Document) -> list[str]:
    if form.losses is None:
        return []
    return list(dict.fromkeys(loss.code for loss in form.losses(document, options)))


def _wrong_mapping(mapping: Mapping[str, Any]) -> Refusal | None:
    at = "/field_mapping"
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
    if name == yolo.FORMAT.name:
        known = scheme in _OF_ROWS
        return None if known else (f"schemes of rows are {' and '.join(_OF_ROWS)}", "/scheme")
    if name != "conll":
        return f"{name} has no schemes; leave it out", "/scheme"
    try:
        scheme_named(scheme)
    except FileRefused as error:
        return str(error), "/scheme"
    return None
