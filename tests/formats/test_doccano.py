"""doccano's JSON lines: the shapes of its versions and kinds of project."""

from __future__ import annotations

import json

import pytest

from domain.systems.annotations.formats.contract import OffsetUnit, ReadOptions, WriteOptions
from domain.systems.annotations.formats.doccano import FORMAT
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.mapping import parsed_mapping
from tests.formats.files import good_and_bad, only, rejects_file, written


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_the_shape_of_our_files() -> None:
    spans = (Span(0, 3, "PER"), Span(0, 5, "X"))
    documents = [
        TextDocument("Ada 😀", spans, "7", (), {"source": "web"}),
        TextDocument("good", labels=("pos",)),
        TextDocument("both", (Span(0, 4, "A"),), labels=("pos",), metadata={"label": 1}),
        TextDocument("none"),
    ]
    file = written(FORMAT, documents)
    assert file.decode().splitlines() == [
        '{"id":"7","text":"Ada 😀","label":[[0,3,"PER"],[0,5,"X"]],"source":"web"}',
        '{"text":"good","label":["pos"]}',
        '{"text":"both","entities":[[0,4,"A"]],"cats":["pos"],"meta":{"label":1}}',
        '{"text":"none","label":[]}',
    ]
    assert only(FORMAT, file) == documents


@pytest.mark.parametrize(
    "fields",
    [
        {"label": [[0, 3, "PER"]]},
        {"labels": [[0, 3, "PER"]]},
        {"entities": [[0, 3, "PER"]]},
        {"entities": [{"id": 5, "label": "PER", "start_offset": 0, "end_offset": 3}]},
        {"annotations": [{"label": "PER", "start_offset": 0, "end_offset": 3, "user": 1}]},
    ],
)
def test_spans_of_all_versions(fields: dict[str, object]) -> None:
    assert only(FORMAT, line(id=7, text="Ada", **fields)) == [
        TextDocument("Ada", (Span(0, 3, "PER"),), "7")
    ]


def test_labels_of_whole_texts() -> None:
    assert only(FORMAT, line(text="Ada", label="pos")) == [TextDocument("Ada", labels=("pos",))]
    assert only(FORMAT, line(text="Ada", label=["pos", "new"], Comments=[])) == [
        TextDocument("Ada", labels=("pos", "new"))
    ]
    assert only(FORMAT, line(text="Ada", entities=[[0, 3, "PER"]], cats=["pos"])) == [
        TextDocument("Ada", (Span(0, 3, "PER"),), labels=("pos",))
    ]


def test_overlapping_and_equal_spans_stay() -> None:
    spans = [[0, 5, "A"], [2, 8, "B"], [0, 5, "A"], [3, 4, "C"]]
    (document,) = only(FORMAT, line(text="overlapping", label=spans))
    assert isinstance(document, TextDocument)
    assert [[span.start, span.end, span.label] for span in document.spans] == spans


def test_other_fields_and_meta_become_metadata_without_covering_one_another() -> None:
    file = line(
        text="Ada",
        label=[],
        source="a",
        relations=[1],
        Comments=["why?"],
        meta={"source": "b", "year": 1},
    )
    (document,) = only(FORMAT, file)
    assert isinstance(document, TextDocument)
    assert document.metadata == {
        "source": "a",
        "relations": [1],
        "Comments": ["why?"],
        "meta.source": "b",
        "year": 1,
    }
    (other,) = only(FORMAT, line(text="Ada", label=[], meta="plain"))
    assert isinstance(other, TextDocument)
    assert other.metadata == {"meta": "plain"}


def test_another_column_for_the_text_and_another_unit() -> None:
    file = line(body="😀 Ada", label=[[3, 6, "PER"]])
    options = ReadOptions(columns={"content": "body"}, offsets=OffsetUnit.UTF16)
    assert only(FORMAT, file, options) == [TextDocument("😀 Ada", (Span(2, 5, "PER"),))]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "Ada", "label": [[0, 9, "PER"]]}, "span_out_of_range"),
        ({"text": "Ada", "label": [[3, 0, "PER"]]}, "span_out_of_range"),
        ({"text": "Ada", "label": [[0, 3]]}, "not_a_list"),
        ({"text": "Ada", "label": [0, 3, "PER"]}, "no_label"),
        ({"text": "Ada", "label": [[0, 3, None]]}, "not_text"),
        ({"text": "Ada", "label": [["0", "x", "PER"]]}, "not_a_number"),
        ({"text": "Ada", "label": {"a": 1}}, "not_a_list"),
        ({"text": "Ada", "entities": [{"label": "PER"}]}, "not_a_number"),
        ({"label": []}, "no_content"),
    ],
)
def test_lines_that_are_no_document(fields: dict[str, object], code: str) -> None:
    file = line(text="one", label=[]) + line(**fields) + line(text="two", label=[])
    good, bad = good_and_bad(FORMAT, file)
    assert len(good) == 2
    assert [(one.line, one.code) for one in bad] == [(2, code)]
    assert rejects_file(FORMAT, file) == line(**fields)


def test_what_is_lost_is_named() -> None:
    assert FORMAT.losses is not None
    document = TextDocument("Ada", (Span(0, 3, "PER", 0.5, {"a": 1}),), "k", ("x",), {"text": 1})
    lost = {loss.code for loss in FORMAT.losses(document, WriteOptions())}
    assert lost == {"span_confidence", "span_metadata"}


@pytest.mark.parametrize(
    ("spec", "content", "key", "metadata"),
    [
        ({"content": "body"}, "Bob", "7", {"text": "Ada", "source": "web"}),
        ({"key": {"template": "{source}-{id}"}}, "Ada", "web-7", {"id": 7} | {"body": "Bob"}),
        ({"content": {"template": "{text}!"}, "key": "source"}, "Ada!", "web", {"text": "Ada"}),
        ({"content": "text", "key": "id"}, "Ada", "7", {"body": "Bob", "source": "web"}),
        ({"content": "absent"}, "Ada", "7", {"body": "Bob", "source": "web"}),
    ],
)
def test_what_is_mapped_wins_and_what_stood_there_is_kept(
    spec: dict[str, object], content: str, key: str, metadata: dict[str, object]
) -> None:
    file = line(id=7, text="Ada", body="Bob", source="web", label=[[0, 3, "PER"]])
    (found,) = only(FORMAT, file, ReadOptions(mapping=parsed_mapping(spec)))
    assert isinstance(found, TextDocument)
    assert (found.content, found.key, found.spans) == (content, key, (Span(0, 3, "PER"),))
    assert metadata.items() <= found.metadata.items()
    assert not {"content", "key"} & found.metadata.keys()
