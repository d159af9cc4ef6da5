"""What the tests of validation share: a project of two texts, and its demands."""

from __future__ import annotations

from typing import Any

from domain.outcomes import Done, Failed, Result
from tests.systems.annotations.conftest import Ground
from tests.systems.bench import Workbench

Said = tuple[str, str, str]
"""Rule, severity and pointer."""


def span(ground: Ground, start: int, end: int, **values: Any) -> dict[str, Any]:
    """An item on the first text, with the label person."""
    item = {"text_id": ground.text, "start_char": start, "end_char": end, "label": "person"}
    return {key: value for key, value in (item | values).items() if value is not None}


def create(bench: Workbench, ground: Ground, *items: Any, **params: Any) -> list[Result]:
    """The results of annotations.create."""
    given = {"project_id": ground.project, **params}
    return bench.work("annotations.create", items, params=given)


def validate(bench: Workbench, ground: Ground, *items: Any) -> list[Result]:
    """The results of annotations.validate."""
    return bench.work("annotations.validate", items, params={"project_id": ground.project})


def issues(result: Result) -> list[dict[str, Any]]:
    """The issues of an item, whatever became of it."""
    document = result.details if isinstance(result, Failed) else None
    if isinstance(result, Done):
        document = result.result
    found: list[dict[str, Any]] = (document or {}).get("issues", [])
    return found


def said(result: Result) -> list[Said]:
    """The issues of an item, in brief."""
    return [(one["rule"], one["severity"], one["pointer"]) for one in issues(result)]


def demand(bench: Workbench, ground: Ground, **values: Any) -> int:
    """The thresholds of the project."""
    (key,) = bench.make(
        "annotations.create_validation_thresholds", [{"project_id": ground.project, **values}]
    )
    return key


def rule(bench: Workbench, ground: Ground, definition: dict[str, Any], **values: Any) -> int:
    """One more rule of the project."""
    item = {"project_id": ground.project, "name": "mine", "definition": definition, **values}
    (key,) = bench.make("annotations.create_validation_rules", [item])
    return key
