"""Changes and deletions of annotations: the rules hold for what an annotation becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.record_operations import DeletedRecord, not_found, version_conflict, write_result
from domain.records import Change, Deletion
from domain.systems.annotations import tables
from domain.systems.annotations.models import ChangedAnnotation, Changes, MayBeInProject, as_text
from domain.systems.annotations.validation.allowance import Allowance
from domain.systems.annotations.validation.amounts import ENDS, FEW, Room, beyond
from domain.systems.annotations.validation.becoming import KNOWN, LABEL, SPAN, Present, became
from domain.systems.annotations.validation.counting import given_in_utf16
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.verdicts import done, refusals

_WHAT = "annotations"
_KNOWN = ("version", *KNOWN)


@operation(
    "annotations.update",
    item=ChangedAnnotation,
    params=Changes,
    per="chunk",
    tables=[tables.annotations],
    selectable=tables.annotations,
)
def update(ctx: Context, items: Sequence[ChangedAnnotation]) -> list[Result]:
    """Change the span, label, confidence or metadata of annotations.

    The rules hold for what an annotation becomes; it stays as it is when they refuse that.
    """
    results: dict[int, Result] = {}
    allowance = Allowance.of(len(items))
    room = Room() if len(items) > FEW else None
    for turn in _turns(items):
        those = {index: items[index] for index in turn}
        if room is not None:
            # Before anything of them is read, and again in each turn: they may have grown.
            ends = _present(ctx, those.values(), ENDS)
            ids = {index: item.id for index, item in those.items()}
            results |= beyond(room, ids, ends, ctx.positions)
            those = {index: item for index, item in those.items() if index not in results}
        _update_turn(ctx, those, results, allowance)
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
    present = _present(ctx, items, ENDS)
    results: list[Result] = [not_found(item.id, _WHAT) for item in items]
    known = [index for index, item in enumerate(items) if item.id in present]
    if len(items) > FEW:
        ids = {index: items[index].id for index in known}
        refused = beyond(Room(), ids, present, ctx.positions)
        known = [index for index in known if index not in refused]
        for index, failed in refused.items():
            results[index] = failed
    deletions = [
        Deletion(items[index].id, items[index].version, ctx.positions[index]) for index in known
    ]
    written = ctx.store.delete(tables.annotations, deletions)
    for index, result in zip(known, written, strict=True):
        item = items[index]
        results[index] = write_result(item.id, result, asked=item.version, what=_WHAT)
    return results


def _update_turn(
    ctx: Context,
    items: Mapping[int, ChangedAnnotation],
    results: dict[int, Result],
    allowance: Allowance,
) -> None:
    """Change annotations of which none comes twice."""
    present = _present(ctx, items.values(), _KNOWN)
    by_project: dict[int, dict[int, ChangedAnnotation]] = {}
    for index, item in items.items():
        row = present.get(item.id)
        if row is None:
            results[index] = not_found(item.id, _WHAT)
        elif item.version is not None and item.version != row["version"]:
            results[index] = version_conflict(row["version"], asked=item.version)
        else:
            by_project.setdefault(row["project_id"], {})[index] = item
    for project, those in by_project.items():
        results |= _update_in_project(ctx, project, those, present, allowance)


def _update_in_project(
    ctx: Context,
    project: int,
    items: Mapping[int, ChangedAnnotation],
    present: Present,
    allowance: Allowance,
) -> dict[int, Result]:
    """Examine what the annotations become, and change those that may."""
    full = ctx.params.validate_before_update
    indexes, positions = list(items), [ctx.positions[index] for index in items]
    becoming = [became(item, present[item.id]) for item in items.values()]
    own = [item.id for item in items.values()]
    utf16 = given_in_utf16(ctx.params.offsets, list(items.values()))
    batch, limits = examine(
        ctx.store,
        project,
        becoming,
        own=own,
        full=full,
        places=positions,
        utf16=utf16,
        allowance=allowance,
    )
    refused = refusals(batch, limits, positions)
    good = [place for place in range(len(indexes)) if place not in refused]
    stamps = {"updated_by": ctx.actor, "updated_at": ctx.clock.now().timestamp()}
    changes = []
    for place in good:
        item = items[indexes[place]]
        values = _values(item, batch, place) | stamps
        version = present[item.id]["version"]
        changes.append(Change(item.id, values, version, positions[place]))
    written = ctx.store.update(tables.annotations, changes)
    results: dict[int, Result] = {indexes[place]: failed for place, failed in refused.items()}
    for place, result in zip(good, written, strict=True):
        # What was checked is the version that was read: another one is nobody's request.
        said = write_result(own[place], result, asked=None, what=_WHAT)
        if isinstance(said, Done):
            said = done(batch, place, positions[place], said.result, full=full)
        results[indexes[place]] = said
    return results


def _values(item: ChangedAnnotation, batch: Batch, place: int) -> dict[str, Any]:
    """The columns to set."""
    given = item.model_fields_set
    values: dict[str, Any] = {}
    if given & SPAN:
        subject = batch.items[place]
        values["start_char"], values["end_char"] = subject.start_char, subject.end_char
        values["selected_text"] = batch.selected[place]
    if given & LABEL:
        values["label_id"] = batch.labels[place]
    if "confidence_score" in given:
        values["confidence_score"] = item.confidence_score
    if "metadata" in given:
        values["metadata"] = as_text(item.metadata)
    return values


def _present(
    ctx: Context,
    items: Iterable[ChangedAnnotation | DeletedRecord],
    columns: Sequence[str],
) -> Present:
    """The annotations that items name, within the project of the parameters if there is one."""
    wanted = dict.fromkeys(("project_id", *columns))
    rows = ctx.store.fetch(tables.annotations, [item.id for item in items], list(wanted))
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
