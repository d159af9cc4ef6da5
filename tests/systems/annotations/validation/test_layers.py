"""What each rule says, where it points, and how grave it is."""

from __future__ import annotations

from typing import Any

import pytest

from domain.outcomes import Done, Failed, Result
from domain.systems.annotations import tables
from domain.systems.annotations.validation.issues import MAX_ISSUES
from tests.systems.annotations.conftest import TEXT, Ground
from tests.systems.annotations.validation.setting import (
    create,
    demand,
    issues,
    rule,
    said,
    span,
    validate,
)
from tests.systems.bench import Workbench, document

ADA = (0, 3)
WROTE = (4, 9)


CASES: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({}, []),
    ({"start_char": 3, "end_char": 4}, [("blank_span", "warning", "/start_char")]),
    ({"start_char": 3, "end_char": 9}, [("untrimmed_span", "warning", "/start_char")]),
    ({"end_char": 4}, [("untrimmed_span", "warning", "/end_char")]),
    ({"end_char": 2}, [("cut_word", "warning", "/end_char")]),
    ({"start_char": 1}, [("cut_word", "warning", "/start_char")]),
    ({"start_char": 4, "end_char": 20}, [("long_span", "warning", "/end_char")]),
    (
        {"start_char": 22, "end_char": 23, "confidence_score": 0.29},
        [("low_confidence", "warning", "/confidence_score")],
    ),
    ({"start_char": 24, "end_char": 29, "confidence_score": 0.3}, []),
    ({"text_id": 999}, [("text_not_found", "error", "/text_id")]),
    ({"label": "x"}, [("label_not_found", "error", "/label")]),
    ({"label": None}, [("invalid", "error", "/label_id")]),
    ({"selected_text": "Eve"}, [("text_mismatch", "error", "/selected_text")]),
    ({"end_char": 99}, [("span_out_of_range", "error", "/end_char")]),
    ({"start_char": 3}, [("span_out_of_range", "error", "/start_char")]),
]


def test_what_is_said_of_one_annotation(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, max_span=12)
    results = validate(bench, ground, *[span(ground, *ADA) | item for item, _ in CASES])
    for number, ((_, expected), result) in enumerate(zip(CASES, results, strict=True)):
        assert said(result) == expected
        assert isinstance(result, Failed) == any(grave == "error" for _, grave, _ in expected)
        assert all(one["item"] == number and ";" in one["message"] for one in issues(result))


def test_all_issues_of_an_item_are_told_at_once(bench: Workbench, ground: Ground) -> None:
    wrong = span(ground, 1, 4, label="x", selected_text="Eve", confidence_score=0.1)
    (result,) = validate(bench, ground, wrong)
    assert sorted(said(result)) == [
        ("cut_word", "warning", "/start_char"),
        ("label_not_found", "error", "/label"),
        ("low_confidence", "warning", "/confidence_score"),
        ("text_mismatch", "error", "/selected_text"),
        ("untrimmed_span", "warning", "/end_char"),
    ]
    assert isinstance(result, Failed)
    assert (result.code, result.pointer, result.retryable) == ("text_mismatch", "/selected_text", 0)
    assert result.message.endswith("(and 1 more)")
    assert result.details["score"] == 0


def test_the_form_of_an_item_is_told_with_all_its_faults(bench: Workbench, ground: Ground) -> None:
    wrong = span(ground, *ADA, start_char=-1, confidence_score=1.5)
    for results in (create(bench, ground, wrong), validate(bench, ground, wrong)):
        assert sorted(said(results[0])) == [
            ("schema", "error", "/confidence_score"),
            ("schema", "error", "/start_char"),
        ]
    (result,) = bench.work(
        "annotations.create", [wrong], params={"project_id": ground.project}, first=7
    )
    assert {one["item"] for one in issues(result)} == {7}
    (result,) = validate(bench, ground, {"start_char": 0})
    assert {one["item"] for one in issues(result)} == {0}
    assert {pointer for _, _, pointer in said(result)} == {"/text_id", "/end_char"}


def test_words_in_scripts_without_spaces_are_not_cut(bench: Workbench, ground: Ground) -> None:
    contents = ["中文字很好", "ภาษาไทย", "cafe\u0301 noir", "日本go語"]
    texts = bench.make(
        "annotations.create_texts",
        [{"project_id": ground.project, "content": content} for content in contents],
    )
    spans = [(texts[0], 1, 3), (texts[1], 0, 3), (texts[2], 0, 4), (texts[3], 2, 4)]
    results = validate(
        bench, ground, *[span(ground, start, end, text_id=text) for text, start, end in spans]
    )
    # The third parts a letter from its accent.
    assert [said(result) for result in results] == [
        [],
        [],
        [("cut_word", "warning", "/end_char")],
        [],
    ]


@pytest.mark.parametrize(
    ("content", "start", "end", "cut"),
    [
        ("e\u0301tude noir", 1, 6, "/start_char"),
        ("cafe\u0301s noir", 0, 5, "/end_char"),
        ("cafe\u0301s noir", 5, 6, "/start_char"),
        ("e\u0301\u0323 noir", 0, 2, "/end_char"),
        ("e\u0301\u0323s noir", 3, 4, "/start_char"),
        ("cafe\u0301 noir", 0, 5, None),
        ("e\u0301tude noir", 0, 6, None),
        # What is no letter has nothing to be parted from, and kana stand by themselves.
        ("(\u0301a noir", 1, 3, None),
        ("か\u3099き", 0, 2, None),
        ("กา\u0e31บ", 1, 2, "/end_char"),
        ("か\u3099き", 1, 3, "/start_char"),
        *((script * 3, 1, 2, None) for script in "ｶཀᦀᨠꦀꧠꩠ\U0001b001"),
        # No letter of any language has so many: who looks for it need not look for long.
        ("e" + "\u0301" * 30, 30, 31, "/start_char"),
        ("e" + "\u0301" * 100, 60, 100, None),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_letter_is_not_parted_from_its_accents_nor_from_its_word(
    bench: Workbench, ground: Ground, content: str, start: int, end: int, cut: str | None
) -> None:
    (text,) = bench.make(
        "annotations.create_texts", [{"project_id": ground.project, "content": content}]
    )
    (result,) = validate(bench, ground, span(ground, start, end, text_id=text))
    assert said(result) == ([] if cut is None else [("cut_word", "warning", cut)])


def test_a_limit_and_what_is_below_it_are_told_apart(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, min_confidence=0.3, threshold=0.9000001)
    (result,) = validate(bench, ground, span(ground, *ADA, confidence_score=0.29999999))
    assert "0.29999999 is below 0.3;" in issues(result)[0]["message"]
    assert isinstance(result, Failed)
    assert "threshold 0.9000001;" in result.message


def test_an_item_says_how_many_of_its_issues_are_left_out(bench: Workbench, ground: Ground) -> None:
    rules = [
        {
            "project_id": ground.project,
            "name": f"rule_{number}",
            "definition": {"kind": "required", "field": "metadata.k"},
            "severity": "info" if number else "error",
        }
        for number in range(MAX_ISSUES + 3)
    ]
    bench.make("annotations.create_validation_rules", rules)
    (failed,) = validate(bench, ground, span(ground, *ADA))
    assert isinstance(failed, Failed)
    assert len(failed.details["issues"]) == MAX_ISSUES
    assert (failed.details["issues_left_out"], issues(failed)[0]["severity"]) == (3, "error")
    change = {"id": 1, "enabled": False}
    document(bench.work("annotations.update_validation_rules", [change])[0])
    (done,) = validate(bench, ground, span(ground, *ADA))
    assert document(done)["issues_left_out"] == 2


def test_others_are_told_of_by_their_place_in_the_job(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    rule(bench, ground, {"kind": "unique", "fields": ["end_char"]}, severity="warning")
    params = {"project_id": ground.project}
    made = bench.make("annotations.create", [span(ground, *WROTE)], params=params)
    items = [{"id": made[0]}, span(ground, *ADA), span(ground, *ADA, label="thing")]
    results = bench.work("annotations.validate", items, params=params, first=70)
    told = {one["rule"]: one["message"] for one in issues(results[2])}
    for name in ("overlap", "labels_differ", "custom.mine"):
        assert "item 71 of the same chunk" in told[name]
    first, second = bench.work(
        "annotations.create", items[1:], params=params | {"offsets": "utf16"}, first=30
    )
    document(first)
    assert "item 30 of the same chunk" in issues(second)[0]["message"]


def test_duplicates_in_the_batch_and_in_the_store(bench: Workbench, ground: Ground) -> None:
    first, second = create(bench, ground, span(ground, *ADA), span(ground, *ADA))
    assert (said(first), said(second)) == ([], [("duplicate", "warning", "/start_char")])
    assert "item 0 of the same chunk" in issues(second)[0]["message"]
    (third,) = create(bench, ground, span(ground, *ADA))
    assert said(third) == [("duplicate", "warning", "/start_char")]
    assert f"annotation {document(first)['id']}" in issues(third)[0]["message"]


def test_a_job_that_only_validates_knows_what_its_other_chunks_have_seen(
    bench: Workbench, ground: Ground
) -> None:
    ada, wrote = span(ground, *ADA), span(ground, *WROTE)

    def chunk(first: int, *items: Any, job: str = "job-1") -> list[Result]:
        params = {"project_id": ground.project}
        return bench.work("annotations.validate", items, params=params, job=job, first=first)

    assert [said(result) for result in chunk(0, ada)] == [[]]
    again, other, label = chunk(1, ada, wrote, span(ground, *ADA, label="thing"))
    assert said(again) == [("duplicate", "warning", "/start_char")]
    assert "item 0 of the job" in issues(again)[0]["message"]
    assert "duplicate" not in {rule for result in (other, label) for rule, _, _ in said(result)}
    # Worked again, as in a retry, it is no duplicate of itself; and another job knows nothing.
    assert [said(result) for result in chunk(2, wrote)] == [[]]
    assert [said(result) for result in chunk(5, ada, job="job-2")] == [[]]
    (key,) = (document(result)["id"] for result in create(bench, ground, wrote))
    assert [said(result) for result in chunk(9, {"id": key})] == [[]]
    (moved,) = chunk(10, {"id": key, "start_char": ADA[0], "end_char": ADA[1]})
    assert "item 0 of the job" in issues(moved)[0]["message"]


def test_overlaps_are_refused_where_the_project_says_so(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    made, refused, beside = create(
        bench, ground, span(ground, 0, 9), span(ground, *WROTE), span(ground, 9, 10)
    )
    assert isinstance(refused, Failed)
    assert (refused.code, refused.pointer) == ("overlap", "/start_char")
    assert "item 0" in refused.message
    (again,) = create(bench, ground, span(ground, *ADA, label="thing"))
    assert isinstance(again, Failed)
    assert f"annotation {document(made)['id']}" in again.message
    document(beside)
    assert len(bench.rows(tables.annotations)) == 2


def test_an_item_that_is_refused_is_in_nobody_s_way(bench: Workbench, ground: Ground) -> None:
    demand(bench, ground, allow_overlaps=False)
    results = create(
        bench,
        ground,
        span(ground, 0, 3),
        span(ground, 2, 9),
        span(ground, 4, 9),
        span(ground, 8, 12),
    )
    assert [type(result) for result in results] == [Done, Failed, Done, Failed]


def test_the_same_words_with_another_label(bench: Workbench, ground: Ground) -> None:
    content = f"{TEXT} Ada"
    (text,) = bench.make(
        "annotations.create_texts", [{"project_id": ground.project, "content": content}]
    )
    end = len(content)
    results = create(
        bench, ground, span(ground, *ADA), span(ground, end - 3, end, text_id=text, label="thing")
    )
    assert [said(result) for result in results] == [[], [("labels_differ", "info", "/label_id")]]
    (third,) = create(bench, ground, span(ground, 0, 3, text_id=text))
    assert said(third) == [("labels_differ", "info", "/label_id")]
    assert f"label {ground.thing}" in issues(third)[0]["message"]


def test_others_projects_are_not_looked_at(bench: Workbench, ground: Ground) -> None:
    (project,) = bench.make("annotations.create_projects", [{"name": "second"}])
    (text,) = bench.make("annotations.create_texts", [{"project_id": project, "content": TEXT}])
    bench.make("annotations.create_labels", [{"project_id": project, "name": "thing"}])
    bench.make(
        "annotations.create",
        [{"text_id": text, "label": "thing", "start_char": 0, "end_char": 3}],
        params={"project_id": project},
    )
    (result,) = create(bench, ground, span(ground, *ADA))
    assert said(result) == []
