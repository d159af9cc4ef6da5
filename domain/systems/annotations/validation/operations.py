"""Operations of validation: thresholds and rules of projects, and looking at annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain.operation import Context, Operation
from domain.outcomes import Failed, Result
from domain.record_operations import record_operations
from domain.systems.annotations.validation import tables
from domain.systems.annotations.validation.definitions import ChangedRule, NewRule
from domain.systems.annotations.validation.examination import MAX_RULES
from domain.systems.annotations.validation.thresholds import ChangedThresholds, NewThresholds
from domain.systems.annotations.validation.validating import validate

_SYSTEM = "annotations"


def _bounded(create: Operation) -> Operation:
    """The same, but that no project gets more rules than are applied."""

    def apply(ctx: Context, items: Sequence[NewRule]) -> list[Result]:
        results: dict[int, Result] = {}
        room: dict[int, int] = {}
        good: list[int] = []
        for index, item in enumerate(items):
            project = item.project_id
            if project not in room:
                room[project] = MAX_RULES - _count(ctx, project)
            if room[project] > 0:
                room[project] -= 1
                good.append(index)
            else:
                results[index] = Failed(
                    "too_many_rules",
                    f"project {project} has {MAX_RULES} rules; delete one that it can do without",
                    "/project_id",
                )
        positions = [ctx.positions[index] for index in good]
        chosen = [items[index] for index in good]
        made: Any = create.apply(replace(ctx, positions=positions), chosen)
        results |= dict(zip(good, made, strict=True))
        return [results[index] for index in range(len(items))]

    return replace(create, apply=apply)


def _count(ctx: Context, project: int) -> int:
    where = tables.rules.c.project_id == project
    return len(ctx.store.find(tables.rules, where, columns=["id"], limit=MAX_RULES))


THRESHOLDS: tuple[Operation, Operation, Operation] = record_operations(
    _SYSTEM, tables.thresholds, new=NewThresholds, changed=ChangedThresholds
)
"""Create, update and delete what a project demands."""

_create, _update, _delete = record_operations(
    _SYSTEM, tables.rules, new=NewRule, changed=ChangedRule
)
RULES: tuple[Operation, Operation, Operation] = (_bounded(_create), _update, _delete)
"""Create, update and delete a project's own rules."""

operations: tuple[Operation, ...] = (validate, *THRESHOLDS, *RULES)
"""All of them."""
