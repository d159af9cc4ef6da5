"""Label Studio's JSON: annotations, predictions, choices, and names that collide."""

from __future__ import annotations

import json
import time

import pytest

from domain.systems.annotations.formats.contract import ReadOptions
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.label_studio import FORMAT
from domain.systems.annotations.formats.mapping import parsed_mapping
from tests.formats.files import good_and_bad, only, rejects_file, written


def region(start: int, end: int, label: str, **more: object) -> dict[str, object]:
    value: dict[str, object] = {"start": start, "end": end, "labels": [label]}
    if "text" in more:
        value["text"] = more.pop("text")
    return {"from_name": "ner", "to_name": "text", "type": "labels", "value": value, **more}


def chosen(*choices: str) -> dict[str, object]:
    return {"from_name": "kind", "type": "choices", "value": {"choices": list(choices)}}


def file(*tasks: object) -> bytes:
    return json.dumps(tasks, indent=2).encode()


def task(*results: dict[str, object], text: str = "Ada saw London", **more: object) -> object:
    return {"id": 7, "data": {"text": text}, "annotations": [{"result": list(results)}], **more}


def read_one(*tasks: object, options: ReadOptions | None = None) -> TextDocument:
    (found,) = only(FORMAT, file(*tasks), options)
    assert isinstance(found, TextDocument)
    return found


def test_the_shape_of_our_files() -> None:
    span = Span(0, 3, "PER", 0.5, {"by": "x"})
    document = TextDocument("Ada", (span,), "k", ("bio",), {"source": "web", "text": "t"})
    (found,) = json.loads(written(FORMAT, [document]))
    assert found == {
        "id": 1,
        "data": {"text": "Ada", "source": "web"},
        "annotations": [
            {
                "result": [
                    {
                        "id": "region-1",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
                        "score": 0.5,
                        "meta": {"by": "x"},
                    },
                    {
                        "id": "choices",
                        "from_name": "class",
                        "to_name": "text",
                        "type": "choices",
                        "value": {"choices": ["bio"]},
                    },
                ]
            }
        ],
        "predictions": [],
        "meta": {"key": "k", "metadata": {"text": "t"}},
    }
    assert only(FORMAT, written(FORMAT, [document])) == [document]


def test_what_several_people_annotated_is_taken_once() -> None:
    annotations = [
        {"result": [region(0, 3, "PER"), chosen("a")]},
        {"result": [region(0, 3, "PER"), region(8, 14, "LOC"), chosen("a", "b")]},
        {"result": [region(4, 7, "NO")], "was_cancelled": True},
    ]
    found = read_one({"id": 7, "data": {"text": "Ada saw London"}, "annotations": annotations})
    assert found == TextDocument(
        "Ada saw London", (Span(0, 3, "PER"), Span(8, 14, "LOC")), "7", ("a", "b")
    )


def test_what_several_people_labelled_is_taken_once_a_label() -> None:
    both, turned = region(0, 3, "P"), region(0, 3, "P")
    both["value"] = {"start": 0, "end": 3, "labels": ["P", "Q"]}
    turned["value"] = {"start": 0, "end": 3, "hypertextlabels": ["Q", "P"]}
    annotations = [{"result": [one]} for one in (both, turned, region(0, 3, "P"), region(0, 3, 7))]
    found = read_one({"id": 7, "data": {"text": "Ada"}, "annotations": annotations})
    assert found.spans == (Span(0, 3, "P"), Span(0, 3, "Q"), Span(0, 3, "7"))
    twice = task(region(0, 3, "P"), region(0, 3, "P"), chosen("a", "a"))
    assert read_one(twice).spans == (Span(0, 3, "P"), Span(0, 3, "P"))
    assert read_one(twice).labels == ("a", "a")


def test_regions_of_a_page_go_by_where_they_are_in_the_whole_text() -> None:
    value = {
        "start": "/p[1]/text()[1]",
        "end": "/p[1]/text()[1]",
        "startOffset": 1,
        "endOffset": 4,
        "globalOffsets": {"start": 8, "end": 14},
        "text": "London",
        "hypertextlabels": ["LOC"],
    }
    assert read_one(task({"value": value})).spans == (Span(8, 14, "LOC"),)
    for named in ("0", "/p[1]/text()[1]", 0):
        alone = {
            "start": named,
            "end": "1",
            "startOffset": 0,
            "endOffset": 3,
            "paragraphlabels": ["PER"],
        }
        _, bad = good_and_bad(FORMAT, file(task({"value": alone})))
        assert [one.code for one in bad] == ["span_out_of_range"]
        assert "globalOffsets" in bad[0].message


@pytest.mark.parametrize("said", [None, "", 7, "London"])
def test_offsets_of_what_a_page_shows_are_none_of_its_source(said: object) -> None:
    value = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 4, "endOffset": 7}
    value |= {"globalOffsets": {"start": 4, "end": 7}, "hypertextlabels": ["X"], "text": said}
    if said is None:
        del value["text"]
    good, bad = good_and_bad(FORMAT, file(task({"value": value}, text="<p>Ada <b>saw</b></p>")))
    assert (good, [one.code for one in bad]) == ([], ["span_out_of_range"])
    assert "globalOffsets" in bad[0].message
    value["text"] = "saw"
    assert read_one(task({"value": value}, text="Ada saw")).spans == (Span(4, 7, "X"),)


def test_a_task_of_many_people_takes_the_time_of_its_results() -> None:
    other = {"type": "textarea", "value": {"text": ["why?"]}}
    annotations = [
        {"result": [region(0, 3, f"P{n}"), chosen(f"c{n}"), {**other, "id": n}]}
        for n in range(10_000)
    ]
    started = time.thread_time()
    found = read_one({"id": 7, "data": {"text": "Ada"}, "annotations": annotations})
    assert (len(found.spans), len(found.labels)) == (10_000, 10_000)
    assert len(found.metadata["results"]) == 10_000
    blank = " " * 1_000_000
    regions = [region(n, 1_000_000, "X", text="\n") for n in range(2_000)]
    _, bad = good_and_bad(FORMAT, file(task(*regions, text=blank)))
    assert [one.code for one in bad] == ["text_mismatch"]
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"content": "body"}, TextDocument("Bob", (), "7", ("a",), {"text": "Ada", "by": "eve"})),
        ({"key": "by"}, TextDocument("Ada", (), "eve", ("a",), {"body": "Bob"})),
        (
            {"key": {"template": "{by}-{id}"}},
            TextDocument("Ada", (), "eve-7", ("a",), {"body": "Bob", "by": "eve"}),
        ),
        ({"labels": "by"}, TextDocument("Ada", (), "7", ("eve",), {"body": "Bob"})),
        (
            {"labels": {"constant": ["x", "y"]}, "content": {"template": "{text}!"}},
            TextDocument("Ada!", (), "7", ("x", "y"), {"text": "Ada", "body": "Bob", "by": "eve"}),
        ),
        ({"key": "none"}, TextDocument("Ada", (), "7", ("a",), {"body": "Bob", "by": "eve"})),
    ],
)
@pytest.mark.parametrize("laid_out", ["full", "min"])
def test_what_is_mapped_wins(spec: dict[str, object], expected: object, laid_out: str) -> None:
    data = {"text": "Ada", "body": "Bob", "by": "eve"}
    full = {"id": 7, "data": data, "annotations": [{"result": [chosen("a")]}]}
    short = {"id": 7, **data, "kind": {"choices": ["a"]}, "annotation_id": 1, "annotator": 1}
    options = ReadOptions(mapping=parsed_mapping(spec))
    assert read_one(full if laid_out == "full" else short, options=options) == expected


def test_predictions_are_taken_where_nobody_has_annotated() -> None:
    predictions = [{"result": [region(0, 3, "PER"), region(8, 14, "LOC", score=0.9)], "score": 0.4}]
    data = {"id": 7, "data": {"text": "Ada saw London"}, "predictions": predictions}
    expected = (Span(0, 3, "PER", 0.4), Span(8, 14, "LOC", 0.9))
    assert read_one(data).spans == expected
    assert read_one(data | {"annotations": []}).spans == expected
    assert read_one(data | {"annotations": [{"result": []}]}).spans == ()


def test_several_labels_of_a_region_and_other_kinds_of_result() -> None:
    two = region(0, 3, "PER")
    two["value"] = {"start": 0, "end": 3, "labels": ["PER", "NEW"]}
    other = {"from_name": "note", "type": "textarea", "value": {"text": ["why?"]}}
    found = read_one(task(two, other))
    assert found.spans == (Span(0, 3, "PER"), Span(0, 3, "NEW"))
    assert found.metadata == {"results": [other]}


def test_offsets_of_a_browser_are_known_by_the_text_they_cover() -> None:
    text = "😀 Ada saw London"
    python, browser = region(2, 5, "PER", text="Ada"), region(3, 6, "PER", text="Ada")
    assert read_one(task(python, text=text)).spans == (Span(2, 5, "PER"),)
    assert read_one(task(browser, text=text)).spans == (Span(2, 5, "PER"),)
    _, bad = good_and_bad(FORMAT, file(task(region(4, 7, "PER", text="Ada"), text=text)))
    assert [one.code for one in bad] == ["text_mismatch"]
    ends = region(0, 5, "X", text="a\\nb c")
    assert read_one(task(ends, text="a\nb\tc")).spans == (Span(0, 5, "X"),)


def test_colliding_names_all_stay() -> None:
    meta = {"source": "meta", "text": "t", "more": 1}
    found = read_one(
        task(meta=meta) | {"data": {"text": "Ada", "source": "data", "meta.source": 1}}
    )  # type: ignore[operator]
    assert found.content == "Ada"
    assert found.metadata == {
        "source": "data",
        "meta.source": 1,
        "meta.meta.source": "meta",
        "text": "t",
        "more": 1,
    }


def test_json_min_has_results_beside_data() -> None:
    found = read_one(
        {
            "id": 7,
            "text": "Ada saw London",
            "source": "web",
            "label": [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}],
            "kind": {"choices": ["a", "b"]},
            "annotator": 1,
            "annotation_id": 5,
            "lead_time": 1.5,
        }
    )
    assert found == TextDocument(
        "Ada saw London", (Span(0, 3, "PER"),), "7", ("a", "b"), {"source": "web"}
    )


def test_the_text_may_have_another_name() -> None:
    data = {"id": 1, "data": {"review": "Ada", "stars": 5}}
    assert read_one(data) == TextDocument("Ada", key="1", metadata={"stars": 5})
    two = {"id": 1, "data": {"title": "Eve", "review": {"body": "Ada"}, "text": "Bob"}}
    assert read_one(two).content == "Bob"
    assert read_one(two, options=ReadOptions(columns={"content": "review.body"})).content == "Ada"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (task(region(0, 99, "PER")), "span_out_of_range"),
        (task({"value": {"start": "x", "end": 3, "labels": ["a"]}}), "not_a_number"),
        (task({"value": {"start": 0, "end": 3, "labels": [None]}}), "not_text"),
        ({"data": {"a": "one", "b": "two"}}, "no_content"),
        ({"data": {"text": "Ada"}, "annotations": 5}, "not_a_list"),
        ({"data": {"text": "Ada"}, "annotations": [{"result": "x"}]}, "not_a_list"),
        ({"data": {"text": "Ada"}, "meta": []}, "not_an_object"),
        ("Ada", "not_a_document"),
    ],
)
def test_tasks_that_are_no_document(wrong: object, code: str) -> None:
    good, bad = good_and_bad(FORMAT, file(task(), wrong, task()))
    assert len(good) == 2
    assert [one.code for one in bad] == [code]
    assert json.loads(rejects_file(FORMAT, file(task(), wrong))) == [wrong]
