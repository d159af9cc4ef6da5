"""annotations.validate: what the rules say of annotations, with nothing written."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.execution import invalid_item, placed
from domain.operation import Context, operation
from domain.outcomes import Failed, Result
from domain.record_operations import not_found
from domain.systems.annotations import tables
from domain.systems.annotations.models import (
    Examination,
    Id,
    Metadata,
    Name,
    NewAnnotation,
    Offset,
    Score,
    Selected,
)
from domain.systems.annotations.validation.allowance import Allowance
from domain.systems.annotations.validation.amounts import ENDS, FEW, Room, beyond
from domain.systems.annotations.validation.becoming import KNOWN, Present, became
from domain.systems.annotations.validation.counting import given_in_utf16
from domain.systems.annotations.validation.examination import examine
from domain.systems.annotations.validation.subjects import Subject
from domain.systems.annotations.validation.verdicts import done, refusals

_WHAT = "annotations"


class Candidate(BaseModel):
    """An annotation of the store by its ``id``, with what may change of it, or a new one.

    ``version`` is what a filter adds; whatever is there now is looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: Id | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    text_id: Id | None = None
    start_char: Offset | None = None
    end_char: Offset | None = None
    label_id: Id | None = None
    label: Name | None = None
    selected_text: Selected | None = None
    confidence_score: Score | None = None
    metadata: Metadata | None = None


_OWN = frozenset({"id", "version"})


@operation(
    "annotations.validate",
    item=Candidate,
    params=Examination,
    per="chunk",
    independent=True,
    read_only=True,
    selectable=tables.annotations,
)
def validate(ctx: Context, items: Sequence[Candidate]) -> list[Result]:
    """Look at annotations by all rules of their project, and write nothing.

    An item that has only an ``id`` is compared with all others of the store; any other with
    the store and with the items before it in its chunk, and of the whole job if it is the same.
    Those that change the same annotation are not compared with each other.
    """
    results: dict[int, Result] = dict(_beyond(ctx, items)) if len(items) > FEW else {}
    present = _present(ctx, _ids(items, results).values(), KNOWN)
    settled: dict[int, Subject] = {}
    new: dict[int, Subject] = {}
    for index, item in enumerate(items):
        if index in results:
            continue
        subject = _subject(item, present, ctx.positions[index])
        if isinstance(subject, Failed):
            results[index] = subject
        elif item.model_fields_set <= _OWN:
            settled[index] = subject
        else:
            new[index] = subject
    allowance = Allowance.of(len(items))
    for those, is_settled in ((settled, True), (new, False)):
        if those:
            results |= _examined(ctx, items, those, allowance, settled=is_settled)
    return [results[index] for index in range(len(items))]


def _examined(
    ctx: Context,
    items: Sequence[Candidate],
    those: Mapping[int, Subject],
    allowance: Allowance,
    *,
    settled: bool,
) -> dict[int, Result]:
    indexes = list(those)
    positions = [ctx.positions[index] for index in indexes]
    own = [items[index].id or 0 for index in indexes]
    project = ctx.params.project_id
    subjects = list(those.values())
    given = [items[index] for index in indexes]
    utf16 = () if settled else given_in_utf16(ctx.params.offsets, given)
    batch, limits = examine(
        ctx.store,
        project,
        subjects,
        own=own,
        settled=settled,
        positions=() if settled else positions,
        places=positions,
        utf16=utf16,
        allowance=allowance,
    )
    results: dict[int, Result] = {
        indexes[place]: failed for place, failed in refusals(batch, limits, positions).items()
    }
    for place, index in enumerate(indexes):
        if index not in results:
            said = {"id": own[place]} if own[place] else {}
            results[index] = done(batch, place, positions[place], said, full=True)
    return results


def _subject(item: Candidate, present: Present, position: int) -> Subject | Failed:
    if item.id is not None:
        row = present.get(item.id)
        return not_found(item.id, _WHAT) if row is None else became(item, row)
    given: dict[str, Any] = {
        name: getattr(item, name) for name in item.model_fields_set if name != "version"
    }
    try:
        return NewAnnotation(**given)
    except ValidationError as error:
        return placed(invalid_item(error), position)


def _ids(items: Sequence[Candidate], without: Container[int] = ()) -> dict[int, int]:
    """The annotations of the store that items name, by the places of the items."""
    return {
        index: item.id
        for index, item in enumerate(items)
        if item.id is not None and index not in without
    }


def _beyond(ctx: Context, items: Sequence[Candidate]) -> dict[int, Failed]:
    """Those of which there is too much to be read."""
    ids = _ids(items)
    ends = _present(ctx, ids.values(), ("project_id", *ENDS))
    return beyond(Room(), ids, ends, ctx.positions)


def _present(ctx: Context, ids: Collection[int], columns: Sequence[str]) -> Present:
    rows = ctx.store.fetch(tables.annotations, list(ids), columns) if ids else {}
    project = ctx.params.project_id
    return {key: row for key, row in rows.items() if row["project_id"] == project}
