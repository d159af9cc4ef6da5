"""What a project demands: scores, limits, severities, and what is left out when nobody asks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from domain.outcomes import Done, Failed
from domain.systems.annotations import tables
from domain.systems.annotations.validation.catalogue import ADJUSTABLE
from domain.systems.annotations.validation.thresholds import (
    Adjustable,
    NewThresholds,
    Thresholds,
)
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import (
    create,
    demand,
    issues,
    rule,
    said,
    span,
    validate,
)
from tests.systems.bench import Workbench, document, fault


def test_the_adjustable_rules_are_those_of_the_catalogue() -> None:
    assert {rule.id for rule in ADJUSTABLE} == {each.value for each in Adjustable}
    assert set(Thresholds().rules) == {rule.id for rule in ADJUSTABLE}


def test_a_score_below_the_threshold_fails(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, threshold=0.7)
    good, poor = create(bench, ground, span(ground, 0, 2), span(ground, 1, 2))
    assert isinstance(good, Done)
    assert good.score == 0.8
    assert isinstance(poor, Failed)
    assert (poor.code, poor.details["score"]) == ("below_threshold", 0.6)
    assert "0.7" in poor.message
    assert [one["rule"] for one in poor.details["issues"]] == ["cut_word", "cut_word"]
    assert len(bench.rows(tables.annotations)) == 1


def test_an_item_without_issues_has_the_whole_score(bench: Workbench, ground: Ground) -> None:
    (result,) = create(bench, ground, span(ground, 0, 3))
    assert isinstance(result, Done)
    assert result.score == 1
    assert set(document(result)) == {"id"}


def test_a_project_may_change_severities_or_switch_rules_off(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, severities={"cut_word": "error", "low_confidence": "off"})
    cut, unsure = create(
        bench, ground, span(ground, 0, 2), span(ground, 0, 3, confidence_score=0.0)
    )
    assert fault(cut) == ("cut_word", "/end_char", False)
    assert said(unsure) == []


@pytest.mark.parametrize(
    "values",
    [
        {"severities": {"text_mismatch": "off"}},
        {"severities": {"cut_word": "fatal"}},
        {"threshold": 1.5},
        {"max_span": 0},
    ],
)
def test_demands_that_make_no_sense_are_none(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewThresholds(project_id=1, **values)


def test_demands_change_by_version(bench: Workbench, ground: Ground) -> None:
    key = demand(bench, ground, min_confidence=0.9)
    (result,) = validate(bench, ground, span(ground, 0, 3, confidence_score=0.5))
    assert said(result) == [("low_confidence", "warning", "/confidence_score")]
    change = {"id": key, "version": 1, "min_confidence": 0.1}
    (changed,) = bench.work("annotations.update_validation_thresholds", [change])
    assert document(changed)["version"] == 2
    (result,) = validate(bench, ground, span(ground, 0, 3, confidence_score=0.5))
    assert said(result) == []
    bench.undo(-2)
    (result,) = validate(bench, ground, span(ground, 0, 3, confidence_score=0.5))
    assert said(result) == [("low_confidence", "warning", "/confidence_score")]


def test_without_validation_the_first_two_layers_hold(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, threshold=1, allow_overlaps=False, severities={"cut_word": "error"})
    rule(bench, ground, {"kind": "required", "field": "metadata.source"})
    items = [span(ground, 0, 2), span(ground, 0, 2), span(ground, 0, 2, selected_text="x")]
    results = create(bench, ground, *items, validate_before_create=False)
    assert [set(document(result)) for result in results[:2]] == [{"id"}, {"id"}]
    assert fault(results[2])[0] == "text_mismatch"
    results = create(bench, ground, *items)
    assert [isinstance(result, Failed) for result in results] == [True] * 3


def test_an_update_is_judged_by_what_it_makes(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    first, second = (
        document(result)["id"]
        for result in create(bench, ground, span(ground, 0, 3), span(ground, 4, 9))
    )
    update = "annotations.update"
    (refused,) = bench.work(update, [{"id": second, "start_char": 2}])
    assert fault(refused) == ("overlap", "/start_char", False)
    # Each may stand where the other one was: both are somewhere else then.
    results = bench.work(
        update,
        [
            {"id": first, "start_char": 4, "end_char": 9},
            {"id": second, "start_char": 0, "end_char": 3, "confidence_score": 0.1},
        ],
    )
    assert [document(result)["version"] for result in results] == [2, 2]
    assert said(results[1]) == [("low_confidence", "warning", "/confidence_score")]
    rows = bench.rows(tables.annotations)
    assert [rows[key]["selected_text"] for key in (first, second)] == ["wrote", "Ada"]
    (moved,) = bench.work(
        update, [{"id": second, "end_char": 2}], params={"validate_before_update": False}
    )
    assert issues(moved) == []


def test_an_update_finds_that_the_text_has_changed(bench: Workbench, ground: Ground) -> None:
    (made,) = create(bench, ground, span(ground, 0, 3))
    key = document(made)["id"]
    bench.work("annotations.update_texts", [{"id": ground.text, "content": "Eve wrote."}])
    (refused,) = bench.work("annotations.update", [{"id": key, "confidence_score": 1}])
    assert fault(refused) == ("text_mismatch", "/selected_text", False)
    (mended,) = bench.work("annotations.update", [{"id": key, "start_char": 0}])
    document(mended)
    assert bench.rows(tables.annotations)[key]["selected_text"] == "Eve"


def test_annotations_of_the_store_are_compared_with_all_others(
    bench: Workbench, ground: Ground
) -> None:
    keys = [
        document(result)["id"]
        for result in create(
            bench, ground, span(ground, 0, 3), span(ground, 0, 3), span(ground, 4, 9)
        )
    ]
    before = bench.rows(tables.annotations)
    for version in ({}, {"version": 1}):
        results = validate(bench, ground, *[{"id": key, **version} for key in keys])
        duplicate = [("duplicate", "warning", "/start_char")]
        assert [said(result) for result in results] == [duplicate, duplicate, []]
        assert [document(result)["id"] for result in results] == keys
    changed, unknown = validate(bench, ground, {"id": keys[0], "end_char": 2}, {"id": 10**9})
    assert said(changed) == [("cut_word", "warning", "/end_char")]
    assert fault(unknown) == ("record_not_found", "/id", False)
    assert bench.rows(tables.annotations) == before
