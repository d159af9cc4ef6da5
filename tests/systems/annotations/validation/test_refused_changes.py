"""What is refused is in nobody's way, and stays where it was: in somebody's way."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.outcomes import Done, Failed
from domain.systems.annotations import tables
from domain.systems.annotations.validation import tables as rules_of
from domain.systems.annotations.validation.beside import LOOKS
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

UPDATE = "annotations.update"
ADA, WROTE, CHARLES = (0, 3), (4, 9), (13, 20)

Place = tuple[int, int]


def _made(bench: Workbench, ground: Ground, *places: Place) -> list[int]:
    """The ids of annotations that stand there."""
    items = [span(ground, *place) for place in places]
    return [document(result)["id"] for result in create(bench, ground, *items)]


def _to(key: int, place: Place) -> dict[str, Any]:
    """The change that moves an annotation there."""
    return {"id": key, "start_char": place[0], "end_char": place[1]}


def _places(bench: Workbench) -> dict[int, Place]:
    rows = bench.rows(tables.annotations)
    return {key: (row["start_char"], row["end_char"]) for key, row in rows.items()}


def test_nobody_is_put_where_one_stays_that_may_not_move(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    a, b, c = _made(bench, ground, ADA, WROTE, CHARLES)
    changes = [_to(a, CHARLES), _to(b, ADA)]
    for results in (validate(bench, ground, *changes), bench.work(UPDATE, changes)):
        for result, who in zip(results, (c, a), strict=True):
            assert fault(result) == ("overlap", "/start_char", False)
            assert f"annotation {who}," in issues(result)[0]["message"]
    assert _places(bench) == {a: ADA, b: WROTE, c: CHARLES}


def test_nobody_gets_what_one_keeps_that_may_not_change(bench: Workbench, ground: Ground) -> None:
    rule(bench, ground, {"kind": "unique", "fields": ["start_char"]})
    a, b = _made(bench, ground, ADA, WROTE)
    for wrong in ({"end_char": 5000}, {"start_char": 2, "label": "nobody"}):
        results = bench.work(UPDATE, [{"id": a, **wrong}, {"id": b, "start_char": 0}])
        assert isinstance(results[0], Failed)
        assert fault(results[1]) == ("custom.mine", "/start_char", False)
        assert f"annotation {a} has" in issues(results[1])[0]["message"]
    assert _places(bench) == {a: ADA, b: WROTE}


def test_a_double_of_what_stays_is_one(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, severities={"duplicate": "error"})
    a, b, c = _made(bench, ground, ADA, WROTE, CHARLES)
    results = bench.work(UPDATE, [_to(a, CHARLES), _to(b, ADA)])
    assert [fault(result)[0] for result in results] == ["duplicate", "duplicate"]
    assert _places(bench) == {a: ADA, b: WROTE, c: CHARLES}


def test_what_a_rule_of_the_project_refuses_is_in_nobody_s_way(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "required", "field": "metadata.ok"})
    good = span(ground, *ADA, metadata={"ok": 1})
    first, second = create(bench, ground, span(ground, 0, 9), good)
    assert fault(first)[0] == "custom.mine"
    assert said(second) == []


def test_an_item_waits_for_nobody_who_does_not_come(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "unique", "fields": ["label_id"]}, labels=["thing"])
    document(create(bench, ground, span(ground, *CHARLES, label="thing"))[0])
    second, third = create(bench, ground, span(ground, 0, 9, label="thing"), span(ground, *ADA))
    assert fault(second) == ("custom.mine", "/label_id", False)
    assert said(third) == []
    document(third)


def test_all_that_is_wrong_with_an_item_is_told_in_the_order_of_the_layers(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "required", "field": "metadata.ok"})
    rule(bench, ground, {"kind": "unique", "fields": ["end_char"]}, name="other")
    _, wrong = create(
        bench, ground, span(ground, *ADA, metadata={"ok": 1}), span(ground, 0, 9, start_char=1)
    )
    assert [rule for rule, _, _ in said(wrong)] == ["overlap", "custom.mine", "cut_word"]


def test_those_who_change_places_may_where_another_is_refused(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, allow_overlaps=False)
    a, b, c = _made(bench, ground, ADA, WROTE, CHARLES)
    results = bench.work(UPDATE, [_to(a, WROTE), _to(c, (0, 50)), _to(b, ADA)])
    assert [type(result) for result in results] == [Done, Failed, Done]
    assert _places(bench) == {a: WROTE, b: ADA, c: CHARLES}


def test_a_row_of_annotations_that_each_move_on_stays_where_its_head_does(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, allow_overlaps=False)
    places = [(n, n + 1) for n in range(2 * LOOKS + 4)]
    keys = _made(bench, ground, *places)
    before = _places(bench)
    changes = [_to(key, place) for key, place in zip(keys, places[1:], strict=False)]
    results = bench.work(UPDATE, changes)
    assert [fault(result)[0] for result in results] == ["overlap"] * len(changes)
    assert _places(bench) == before
    # Once the last one is out of the way, all of them move.
    document(bench.work("annotations.delete", [{"id": keys[-1]}])[0])
    assert {type(result) for result in bench.work(UPDATE, changes)} == {Done}


def test_an_annotation_that_comes_twice_is_not_in_its_own_way(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, allow_overlaps=False, severities={"duplicate": "error"})
    rule(bench, ground, {"kind": "unique", "fields": ["label_id", "start_char"]})
    a, b = _made(bench, ground, ADA, WROTE)
    sets: list[list[dict[str, Any]]] = [
        [{"id": a, "confidence_score": 0.5}, {"id": a, "metadata": {"k": 1}}],
        [_to(a, CHARLES), _to(a, (13, 19)), _to(b, ADA), _to(a, CHARLES)],
        [_to(a, CHARLES), {"id": a, "label": "thing"}],
        [_to(a, WROTE), _to(b, ADA), _to(a, (2, 5)), _to(b, CHARLES)],
        [_to(a, CHARLES), _to(b, ADA), _to(a, (0, 9)), _to(b, (1, 3)), _to(a, WROTE)],
    ]
    params = {"project_id": ground.project}
    for number, changes in enumerate(sets):
        job = f"job-{number}"
        validated = bench.work("annotations.validate", changes, params=params, job=job)
        again = bench.work("annotations.validate", changes[:1], params=params, job=job, first=9)
        results = bench.work(UPDATE, changes)
        assert [_is_done(one) for one in validated] == [_is_done(one) for one in results], number
        assert "of the job" not in str(issues(again[0]))
        document(bench.work(UPDATE, [_to(b, (24, 29))])[0])
        document(bench.work(UPDATE, [_to(a, ADA) | {"label": "person"}])[0])
        document(bench.work(UPDATE, [_to(b, WROTE)])[0])


def test_who_comes_twice_leaves_by_turns_where_labels_or_values_are_compared(
    bench: Workbench, ground: Ground
) -> None:
    demand(bench, ground, severities={"duplicate": "error", "labels_differ": "error"})
    rule(bench, ground, {"kind": "unique", "fields": ["start_char", "end_char"]}, name="once")
    ground_of = "annotations.update_validation_thresholds"
    (limits,) = bench.rows(rules_of.thresholds)
    a, b, c = _made(bench, ground, ADA, WROTE, (10, 12))
    free = (22, 25)
    sets: list[list[dict[str, Any]]] = [
        [_to(a, free), _to(a, CHARLES), _to(b, CHARLES)],
        [_to(a, CHARLES), _to(b, free), _to(a, free), _to(b, CHARLES)],
        [_to(a, CHARLES), _to(a, free), _to(b, CHARLES), _to(b, free)],
        [_to(a, CHARLES) | {"label": "thing"}, _to(a, ADA), _to(b, CHARLES), _to(c, CHARLES)],
        [_to(a, free), {"id": a, "start_char": 5000}, _to(a, CHARLES), _to(b, free)],
    ]
    params = {"project_id": ground.project}
    for severities in ({"duplicate": "error"}, {"labels_differ": "error"}, {}):
        bench.work(ground_of, [{"id": limits, "severities": severities}])
        for number, changes in enumerate(sets):
            job = f"job-{len(bench.chunks)}"
            validated = bench.work("annotations.validate", changes, params=params, job=job)
            results = bench.work(UPDATE, changes)
            expected = [_is_done(one) for one in results]
            assert [_is_done(one) for one in validated] == expected, number
            for key, place in ((b, (26, 28)), (c, (28, 29)), (a, ADA), (b, WROTE), (c, (10, 12))):
                document(bench.work(UPDATE, [_to(key, place) | {"label": "person"}])[0])


def test_who_stood_behind_one_that_leaves_is_first_from_then_on(
    bench: Workbench, ground: Ground
) -> None:
    a, b, c = _made(bench, ground, ADA, WROTE, CHARLES)
    free = (22, 25)
    changes = [_to(a, free), _to(b, free), _to(a, ADA), _to(c, CHARLES), _to(c, free)]
    for results in (validate(bench, ground, *changes), bench.work(UPDATE, changes)):
        assert [_is_double(one) for one in results] == [False, True, False, False, True]


def test_who_gives_another_label_is_known_when_the_first_of_them_has_left(
    bench: Workbench, ground: Ground
) -> None:
    text = {"project_id": ground.project, "content": "xy xy xy zz"}
    (text_id,) = bench.make("annotations.create_texts", [text])
    items = [span(ground, n, n + 1, text_id=text_id) for n in (0, 3, 9)]
    a, b, c = [document(result)["id"] for result in create(bench, ground, *items)]
    thing = {"label": "thing"}
    changes = [
        *(_to(a, (0, 2)), _to(b, (3, 5)), _to(c, (9, 10))),
        *(_to(a, (0, 1)), _to(c, (6, 8)) | thing),
    ]
    for results in (validate(bench, ground, *changes), bench.work(UPDATE, changes)):
        assert "labels_differ" in [rule for rule, _, _ in said(results[-1])]


def _is_double(result: Any) -> bool:
    return "duplicate" in [rule for rule, _, _ in said(result)]


CONTENT = "ab ab cd ab "
_starts, _widths = st.integers(0, 9), st.integers(1, 3)
_changes = st.fixed_dictionaries(
    {
        "place": st.integers(0, 7),
        "start": _starts,
        "width": _widths,
        "label": st.sampled_from(["P", "Q", None, "nobody"]),
        "ok": st.sampled_from([None, True, False]),
    }
)
_unique = st.sampled_from(
    [None, ["start_char"], ["label_id", "selected_text"], ["end_char", "label_id"]]
)


@settings(max_examples=40, deadline=None)
@given(
    first=st.lists(st.tuples(_starts, _widths), min_size=2, max_size=6),
    changes=st.lists(_changes, min_size=1, max_size=8),
    unique=_unique,
    severity=st.sampled_from(["error", "warning", "info"]),
)
def test_no_changes_make_of_sound_annotations_what_the_project_refuses(
    shared_bench: Workbench,
    first: list[Place],
    changes: list[dict[str, Any]],
    unique: list[str] | None,
    severity: str,
) -> None:
    bench = shared_bench
    project = _project(bench, unique, severity)
    (text,) = bench.make("annotations.create_texts", [{"project_id": project, "content": CONTENT}])
    items = [
        {"text_id": text, "start_char": start, "end_char": start + width, "label": "P"}
        for start, width in first
    ]
    params = {"project_id": project}
    made = bench.work("annotations.create", items, params=params)
    keys = [document(result)["id"] for result in made if isinstance(result, Done)]
    before = _of(bench, project)
    asked = [_change(keys, change) for change in changes]
    job = f"job-{len(bench.chunks)}"
    validated = bench.work("annotations.validate", asked, params=params, job=job)
    results = bench.work(UPDATE, asked, params=params)
    _require_sound(bench, project, unique, severity)
    after = _of(bench, project)
    moved = [change["id"] for change, one in zip(asked, results, strict=True) if _is_done(one)]
    assert {key for key in keys if after[key] != before[key]} == set(moved)
    if len({change["id"] for change in asked}) == len(asked):
        assert [_is_done(one) for one in results] == [_is_done(one) for one in validated]


def _project(bench: Workbench, unique: list[str] | None, severity: str) -> int:
    (project,) = bench.make("annotations.create_projects", [{"name": "p"}])
    labels = [{"project_id": project, "name": name} for name in "PQ"]
    bench.make("annotations.create_labels", labels)
    demands = {"allow_overlaps": False, "severities": {"duplicate": severity}}
    bench.make("annotations.create_validation_thresholds", [{"project_id": project, **demands}])
    definitions: list[dict[str, Any]] = [
        {"kind": "allowed", "field": "metadata.ok", "values": [True]}
    ]
    if unique is not None:
        definitions.append({"kind": "unique", "fields": unique})
    rules = [
        {"project_id": project, "name": f"rule_{number}", "definition": definition}
        for number, definition in enumerate(definitions)
    ]
    bench.make("annotations.create_validation_rules", rules)
    return project


def _change(keys: list[int], change: dict[str, Any]) -> dict[str, Any]:
    found = {"id": keys[change["place"] % len(keys)], "start_char": change["start"]}
    found["end_char"] = change["start"] + change["width"]
    if change["label"] is not None:
        found["label"] = change["label"]
    if change["ok"] is not None:
        found["metadata"] = {"ok": change["ok"]}
    return found


def _is_done(result: Any) -> bool:
    return isinstance(result, Done)


def _of(bench: Workbench, project: int) -> dict[int, dict[str, Any]]:
    rows = bench.rows(tables.annotations)
    return {key: row for key, row in rows.items() if row["project_id"] == project}


def _require_sound(bench: Workbench, project: int, unique: list[str] | None, severity: str) -> None:
    for one, other in itertools.combinations(_of(bench, project).values(), 2):
        assert one["end_char"] <= other["start_char"] or other["end_char"] <= one["start_char"]
        if unique is not None:
            assert any(one[name] != other[name] for name in unique)
