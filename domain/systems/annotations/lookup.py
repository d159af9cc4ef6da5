"""What a chunk of annotations refers to, read with a few queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import or_

from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.rules import Labels


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
    """Those labels of the project that the items name; one query."""
    ids = sorted({item.label_id for item in items if item.label_id is not None})
    names = sorted({item.label for item in items if item.label is not None})
    table = tables.labels
    found: Iterable[Mapping[str, Any]]
    if names:
        some = or_(table.c.id.in_(ids), table.c.name.in_(names))
        limit = len(ids) + len(names)
        of_project = table.c.project_id == project_id
        found = store.find(table, of_project, some, columns=["name"], limit=limit)
    else:
        rows = store.fetch(table, ids, ["project_id", "name"])
        found = [row for row in rows.values() if row["project_id"] == project_id]
    by_id = {row["id"]: row["name"] for row in found}
    return Labels(
        project_id=project_id,
        ids=frozenset(by_id),
        by_name={name: key for key, name in by_id.items()},
        names=by_id,
    )
