"""annotations.update and annotations.delete."""

from __future__ import annotations

from typing import Any

import pytest

from domain.outcomes import Restored
from domain.systems.annotations import tables
from tests.systems.annotations.conftest import Ground
from tests.systems.bench import NOW, Workbench, document, fault


@pytest.fixture
def three(bench: Workbench, ground: Ground) -> list[int]:
    """Annotations of ``Ada``, ``wrote`` and ``Charles``."""
    spans = [(0, 3), (4, 9), (13, 20)]
    items = [
        {"text_id": ground.text, "label_id": ground.person, "start_char": s, "end_char": e}
        for s, e in spans
    ]
    return bench.make("annotations.create", items, params={"project_id": ground.project})


def test_a_change_sets_what_it_names(bench: Workbench, ground: Ground, three: list[int]) -> None:
    before = bench.rows(tables.annotations)
    a, b, c = three
    results = bench.work(
        "annotations.update",
        [
            {"id": a, "version": 1, "label": "thing", "confidence_score": 0.75},
            {"id": b, "start_char": 0, "selected_text": "Ada wrote", "metadata": {"k": 1}},
            {"id": c, "confidence_score": None, "label_id": ground.thing},
        ],
        actor="bert",
    )
    assert [document(result) for result in results] == [{"id": k, "version": 2} for k in three]
    stamp = {"version": 2, "updated_by": "bert", "updated_at": NOW.timestamp()}
    assert bench.rows(tables.annotations) == {
        a: before[a] | stamp | {"label_id": ground.thing, "confidence_score": 0.75},
        b: before[b]
        | stamp
        | {"start_char": 0, "selected_text": "Ada wrote", "metadata": '{"k":1}'},
        c: before[c] | stamp | {"label_id": ground.thing},
    }
    assert set(bench.undo().values()) == {Restored()}
    after = bench.rows(tables.annotations)
    assert {k: row | {"version": 1} for k, row in after.items()} == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 999_999}, ("record_not_found", "/id", False)),
        ({"version": 2}, ("version_conflict", "/version", False)),
        ({"end_char": 5_000}, ("span_out_of_range", "/end_char", False)),
        ({"start_char": 3}, ("span_out_of_range", "/start_char", False)),
        ({"selected_text": "Eve"}, ("text_mismatch", "/selected_text", False)),
        ({"label": "theirs"}, ("label_not_found", "/label", True)),
        ({"label_id": None}, ("invalid", "/label_id", False)),
        ({"confidence_score": 2}, ("invalid", "/confidence_score", False)),
        ({"text_id": 1}, ("invalid", "/text_id", False)),
    ],
)
def test_a_wrong_change_does_nothing(
    bench: Workbench, three: list[int], change: dict[str, Any], expected: tuple[str, str, bool]
) -> None:
    before = bench.rows(tables.annotations)
    (result,) = bench.work("annotations.update", [{"id": three[0]} | change])
    assert fault(result) == expected
    assert bench.rows(tables.annotations) == before


def test_changes_of_one_annotation_build_upon_each_other(
    bench: Workbench, three: list[int]
) -> None:
    key = three[1]
    results = bench.work(
        "annotations.update",
        [
            {"id": key, "end_char": 6},
            {"id": key, "start_char": 7},
            {"id": key, "start_char": 5, "version": 2},
            {"id": key, "confidence_score": 1, "version": 2},
        ],
    )
    assert document(results[0])["version"] == 2
    assert fault(results[1])[0] == "span_out_of_range"
    assert document(results[2])["version"] == 3
    assert fault(results[3])[0] == "version_conflict"
    row = bench.rows(tables.annotations)[key]
    assert (row["start_char"], row["end_char"], row["selected_text"]) == (5, 6, "r")


def test_annotations_of_other_projects_are_not_found(
    bench: Workbench, ground: Ground, three: list[int]
) -> None:
    params = {"project_id": ground.foreign_project}
    for kind in ("annotations.update", "annotations.delete"):
        (result,) = bench.work(kind, [{"id": three[0]}], params=params)
        assert fault(result)[0] == "record_not_found"
        (result,) = bench.work(kind, [{"id": three[0]}], tenant="other")
        assert fault(result)[0] == "record_not_found"
    assert len(bench.rows(tables.annotations)) == 3


def test_deletions(bench: Workbench, ground: Ground, three: list[int]) -> None:
    before = bench.rows(tables.annotations)
    a, b, _ = three
    results = bench.work(
        "annotations.delete",
        [{"id": a, "version": 2}, {"id": b, "version": 1}, {"id": b}, {"id": 999_999}, {"id": a}],
        params={"project_id": ground.project},
    )
    assert fault(results[0])[0] == "version_conflict"
    assert document(results[1]) == {"id": b, "version": 2}
    assert fault(results[2])[0] == "record_not_found"
    assert fault(results[3])[0] == "record_not_found"
    assert document(results[4]) == {"id": a, "version": 2}
    assert set(bench.rows(tables.annotations)) == {three[2]}
    assert bench.undo() == {1: Restored(), 4: Restored()}
    after = bench.rows(tables.annotations)
    assert {k: row | {"version": 1} for k, row in after.items()} == before
