"""What a chunk of annotations refers to, read with a few queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from domain.outcomes import Failed
from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.rules import Labels, selection, text_not_found

TEXTS_AT_ONCE = 64
"""How many texts are held in memory at a time; a text has at most a million characters."""

Span = tuple[int, int, int, str | None]
"""``(text_id, start, end, selected text if it was given)``, offsets in code points."""

Selection = str | Failed
"""The text of a span, or what is wrong with it."""


class NamesLabel(Protocol):
    """An item that may name a label."""

    @property
    def label_id(self) -> int | None:
        """The label by its id."""
        ...

    @property
    def label(self) -> str | None:
        """The label by its name in the project."""
        ...


def labels_of(store: Records, project_id: int, items: Sequence[NamesLabel]) -> Labels:
    """Those labels of the project that the items name."""
    table = tables.labels
    ids = {item.label_id for item in items} - {None}
    names = {item.label for item in items} - {None}
    found = store.fetch(table, [key for key in ids if key is not None], ["project_id"])
    named: Sequence[Mapping[str, Any]] = []
    if names:
        conditions = (table.c.project_id == project_id, table.c.name.in_(sorted(map(str, names))))
        named = store.find(table, *conditions, columns=["name"], limit=len(names))
    return Labels(
        project_id=project_id,
        ids=frozenset(key for key, row in found.items() if row["project_id"] == project_id),
        by_name={row["name"]: row["id"] for row in named},
    )


def selections(store: Records, project_id: int, spans: Sequence[Span]) -> list[Selection]:
    """The text of each span, or its fault, in order. Each text is read once."""
    by_text: dict[int, list[int]] = {}
    for index, span in enumerate(spans):
        by_text.setdefault(span[0], []).append(index)
    found: dict[int, Selection] = {}
    for text_id, content in _contents(store, project_id, list(by_text)):
        for index in by_text[text_id]:
            if content is None:
                found[index] = text_not_found(text_id, project_id)
            else:
                _, start, end, selected = spans[index]
                found[index] = selection(content, start, end, selected)
    return [found[index] for index in range(len(spans))]


def _contents(
    store: Records, project_id: int, text_ids: Sequence[int]
) -> Iterator[tuple[int, str | None]]:
    """The project's texts of those ids; ``None`` for one that is not there."""
    for first in range(0, len(text_ids), TEXTS_AT_ONCE):
        group = text_ids[first : first + TEXTS_AT_ONCE]
        rows = store.fetch(tables.texts, group, ["project_id", "content"])
        for text_id in group:
            row = rows.get(text_id)
            here = row is not None and row["project_id"] == project_id
            yield text_id, row["content"] if row is not None and here else None
