"""Becoming: what an annotation of the store would be with some of its fields changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

SPAN = frozenset({"start_char", "end_char", "selected_text"})
LABEL = frozenset({"label_id", "label"})
KNOWN = (
    *("project_id", "text_id", "label_id", "start_char", "end_char", "selected_text"),
    *("confidence_score", "metadata"),
)
"""The columns that are read of an annotation."""

Present = Mapping[int, Mapping[str, Any]]
"""Annotations as they are, by id."""


@dataclass(frozen=True, slots=True)
class Becoming:
    """An annotation as it would be; see Subject."""

    text_id: int
    start_char: int
    end_char: int
    label_id: int | None
    label: str | None
    selected_text: str | None
    confidence_score: float | None
    metadata: Mapping[str, Any] | None


class Changed(Protocol):
    """What an item changes: the fields that it has been given."""

    @property
    def model_fields_set(self) -> set[str]: ...  # noqa: D102 - pydantic's
    @property
    def start_char(self) -> int | None: ...  # noqa: D102 - as on the wire
    @property
    def end_char(self) -> int | None: ...  # noqa: D102
    @property
    def label_id(self) -> int | None: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def selected_text(self) -> str | None: ...  # noqa: D102
    @property
    def confidence_score(self) -> float | None: ...  # noqa: D102
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...  # noqa: D102


def became(item: Changed, row: Mapping[str, Any]) -> Becoming:
    """The annotation of a row with the changes of an item.

    The text of a span that is moved is filled in, unless the item says what it must be.
    """
    given = item.model_fields_set
    moved, named = not given.isdisjoint(SPAN), not given.isdisjoint(LABEL)
    start, end = item.start_char, item.end_char
    return Becoming(
        text_id=row["text_id"],
        start_char=row["start_char"] if start is None else start,
        end_char=row["end_char"] if end is None else end,
        label_id=item.label_id if named else row["label_id"],
        label=item.label if named else None,
        selected_text=item.selected_text if moved else row["selected_text"],
        confidence_score=item.confidence_score
        if "confidence_score" in given
        else row["confidence_score"],
        metadata=item.metadata if "metadata" in given else _document(row["metadata"]),
    )


def as_it_is(row: Mapping[str, Any]) -> Becoming:
    """The annotation of a row, with nothing changed."""
    given = {name: row[name] for name in KNOWN if name not in ("project_id", "metadata")}
    return Becoming(**given, label=None, metadata=_document(row["metadata"]))


def _document(text: str) -> Mapping[str, Any] | None:
    if text == "{}":
        return None
    found: Mapping[str, Any]
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        # Numbers that are taken no longer, and stand in what was written before: NaN, 10^400.
        found = json.loads(text)
    return found
