"""Changes and deletions of annotations: the rules hold for what an annotation becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.operation import Context, operation
from domain.outcomes import Failed, Result
from domain.record_operations import DeletedRecord, not_found, version_conflict, write_result
from domain.records import Change, Deletion
from domain.systems.annotations import tables
from domain.systems.annotations.lookup import Selection, labels_of, selections
from domain.systems.annotations.models import ChangedAnnotation, MayBeInProject, as_text
from domain.systems.annotations.rules import Labels

_WHAT = "annotations"
_SPAN = frozenset({"start_char", "end_char", "selected_text"})
_LABEL = frozenset({"label_id", "label"})
_PRESENT = ("version", "project_id", "text_id", "start_char", "end_char")

Present = Mapping[int, Mapping[str, Any]]
"""The annotations that a turn names, by id."""


@operation(
    "annotations.update",
    item=ChangedAnnotation,
    params=MayBeInProject,
    per="chunk",
    tables=[tables.annotations],
    selectable=tables.annotations,
)
def update(ctx: Context, items: Sequence[ChangedAnnotation]) -> list[Result]:
    """Change the span, label, confidence or metadata of annotations."""
    results: dict[int, Result] = {}
    for turn in _turns(items):
        _update_turn(ctx, {index: items[index] for index in turn}, results)
    return [results[index] for index in range(len(items))]


@operation(
    "annotations.delete",
    item=DeletedRecord,
    params=MayBeInProject,
    per="chunk",
    destructive=True,
    tables=[tables.annotations],
    selectable=tables.annotations,
)
def delete(ctx: Context, items: Sequence[DeletedRecord]) -> list[Result]:
    """Delete annotations."""
    present = _present(ctx, items)
    results: list[Result] = [not_found(item.id, _WHAT) for item in items]
    known = [index for index, item in enumerate(items) if item.id in present]
    deletions = [
        Deletion(items[index].id, items[index].version, ctx.positions[index]) for index in known
    ]
    written = ctx.store.delete(tables.annotations, deletions)
    for index, result in zip(known, written, strict=True):
        item = items[index]
        results[index] = write_result(item.id, result, asked=item.version, what=_WHAT)
    return results


def _update_turn(
    ctx: Context, items: Mapping[int, ChangedAnnotation], results: dict[int, Result]
) -> None:
    """Change annotations of which none comes twice."""
    present = _present(ctx, items.values())
    open_items: dict[int, ChangedAnnotation] = {}
    for index, item in items.items():
        row = present.get(item.id)
        if row is None:
            results[index] = not_found(item.id, _WHAT)
        elif item.version is not None and item.version != row["version"]:
            results[index] = version_conflict(row["version"], asked=item.version)
        else:
            open_items[index] = item
    changes: dict[int, Change] = {}
    for index, values in _values(ctx, open_items, present).items():
        if isinstance(values, Failed):
            results[index] = values
        else:
            key = items[index].id
            changes[index] = Change(key, values, present[key]["version"], ctx.positions[index])
    written = ctx.store.update(tables.annotations, list(changes.values()))
    for index, result in zip(changes, written, strict=True):
        # What was checked is the version that was read: another one is nobody's request.
        results[index] = write_result(items[index].id, result, asked=None, what=_WHAT)


def _values(
    ctx: Context, items: Mapping[int, ChangedAnnotation], present: Present
) -> dict[int, dict[str, Any] | Failed]:
    """The columns to set for each item, or what is wrong with it."""
    found = _selected(ctx, items, present)
    labels = _labels(ctx, items.values(), present)
    stamps = {"updated_by": ctx.actor, "updated_at": ctx.clock.now().timestamp()}
    values: dict[int, dict[str, Any] | Failed] = {}
    for index, item in items.items():
        given = item.model_fields_set
        span = _span_values(item, found.get(index), present[item.id])
        label = _label_values(item, labels.get(present[item.id]["project_id"]))
        if isinstance(span, Failed) or isinstance(label, Failed):
            values[index] = span if isinstance(span, Failed) else label
            continue
        rest: dict[str, Any] = {}
        if "confidence_score" in given:
            rest["confidence_score"] = item.confidence_score
        if "metadata" in given:
            rest["metadata"] = as_text(item.metadata)
        values[index] = span | label | rest | stamps
    return values


def _span_values(
    item: ChangedAnnotation, selected: Selection | None, row: Mapping[str, Any]
) -> dict[str, Any] | Failed:
    if selected is None or isinstance(selected, Failed):
        return selected or {}
    start, end = _offsets(item, row)
    return {"start_char": start, "end_char": end, "selected_text": selected}


def _label_values(item: ChangedAnnotation, labels: Labels | None) -> dict[str, Any] | Failed:
    if labels is None or not _names_label(item):
        return {}
    label = labels.resolve(item.label_id, item.label)
    return label if isinstance(label, Failed) else {"label_id": label}


def _selected(
    ctx: Context, items: Mapping[int, ChangedAnnotation], present: Present
) -> dict[int, Selection]:
    """The text of each span that an item moves, or its fault."""
    found: dict[int, Selection] = {}
    by_project: dict[int, list[int]] = {}
    for index, item in items.items():
        if item.model_fields_set & _SPAN:
            by_project.setdefault(present[item.id]["project_id"], []).append(index)
    for project, indexes in by_project.items():
        spans = []
        for index in indexes:
            item = items[index]
            row = present[item.id]
            spans.append((row["text_id"], *_offsets(item, row), item.selected_text))
        found |= zip(indexes, selections(ctx.store, project, spans), strict=True)
    return found


def _offsets(item: ChangedAnnotation, row: Mapping[str, Any]) -> tuple[int, int]:
    start = row["start_char"] if item.start_char is None else item.start_char
    end = row["end_char"] if item.end_char is None else item.end_char
    return start, end


def _labels(
    ctx: Context, items: Iterable[ChangedAnnotation], present: Present
) -> dict[int, Labels]:
    """The labels that the items name, by the project of their annotations."""
    by_project: dict[int, list[ChangedAnnotation]] = {}
    for item in items:
        if _names_label(item):
            by_project.setdefault(present[item.id]["project_id"], []).append(item)
    return {project: labels_of(ctx.store, project, named) for project, named in by_project.items()}


def _names_label(item: ChangedAnnotation) -> bool:
    return not item.model_fields_set.isdisjoint(_LABEL)


def _present(ctx: Context, items: Iterable[ChangedAnnotation | DeletedRecord]) -> Present:
    """The annotations that items name, within the project of the parameters if there is one."""
    rows = ctx.store.fetch(tables.annotations, [item.id for item in items], _PRESENT)
    project = ctx.params.project_id
    if project is None:
        return rows
    return {key: row for key, row in rows.items() if row["project_id"] == project}


def _turns(items: Sequence[ChangedAnnotation]) -> list[list[int]]:
    """Indexes, cut so that no annotation comes twice in a turn; its order is kept."""
    turns: list[list[int]] = []
    seen: dict[int, int] = {}
    for index, item in enumerate(items):
        turn = seen[item.id] = seen.get(item.id, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(index)
    return turns
