"""JSON lines: what a line may be."""

from __future__ import annotations

import pytest

from domain.systems.annotations.formats.contract import (
    FileRefused,
    OffsetUnit,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.json_lines import FORMAT
from domain.systems.annotations.formats.mapping import parsed_mapping
from tests.formats.data import plain
from tests.formats.files import good_and_bad, only, rejects_file, written


def test_the_shape_of_our_files() -> None:
    document = TextDocument("Ada 😀", (Span(4, 5, "FACE", 0.5, {"a": [1]}),), "k", ("x",), {"m": 1})
    assert written(FORMAT, [document]).decode() == (
        '{"key":"k","content":"Ada 😀","labels":["x"],"metadata":{"m":1},"annotations":'
        '[{"start_char":4,"end_char":5,"label":"FACE","selected_text":"😀",'
        '"confidence_score":0.5,"metadata":{"a":[1]}}]}\n'
    )


def test_common_names_are_understood_and_others_are_metadata() -> None:
    file = (
        b'{"id": 7, "text": "Ada", "stars": 5, "labels": "x",'
        b' "annotations": [{"start": 0, "end": 3, "label": "PER", "by": "me"}]}'
    )
    assert only(FORMAT, file) == [
        TextDocument("Ada", (Span(0, 3, "PER", None, {"by": "me"}),), "7", ("x",), {"stars": 5})
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "not_json"),
        ('{"text": "a",}', "not_json"),
        ('{"text": "a", "n": NaN}', "not_json"),
        ('{"text": "a", "n": -Infinity}', "not_json"),
        ('{"text": "a", "n": 1e999}', "not_json"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "not_json"),
        ('{"text": "a"} {"text": "b"}', "not_json"),
        ('["a"]', "not_a_document"),
        ("7", "not_a_document"),
        ('{"a": ' + "[" * 100_000, "too_deep"),
        ('{"text": "a", "n": ' + "[" * 70 + "]" * 70 + "}", "too_deep"),
        ('{"label": "x"}', "no_content"),
        ('{"text": ""}', "no_content"),
        ('{"text": ["a"]}', "not_text"),
        ('{"text": "a\\u0000"}', "not_text"),
        ('{"text": "\\ud83d"}', "not_text"),
        ('{"text": "abc", "annotations": {}}', "not_a_list"),
        ('{"text": "abc", "annotations": [7]}', "not_an_object"),
        (
            '{"text": "abc", "annotations": [{"start": 0, "end": true, "label": "x"}]}',
            "not_a_number",
        ),
        (
            '{"text": "abc", "annotations": [{"start": -1, "end": 1, "label": "x"}]}',
            "span_out_of_range",
        ),
        ('{"text": "abc", "annotations": [{"start": 0, "end": 1, "label": " "}]}', "no_label"),
        ('{"text": "abc", "metadata": []}', "not_an_object"),
    ],
)
def test_lines_that_are_no_document(line: str, code: str) -> None:
    file = f'{{"text": "one"}}\n\n{line}\n{{"text": "two"}}\n'.encode()
    good, bad = good_and_bad(FORMAT, file)
    assert good == [TextDocument("one"), TextDocument("two")]
    assert [(one.line, one.code) for one in bad] == [(3, code)]
    assert rejects_file(FORMAT, file) == line.encode() + b"\n"


def test_brackets_in_a_text_are_not_depth() -> None:
    content = "[" * 1000 + '"\\'
    assert only(FORMAT, written(FORMAT, [TextDocument(content)])) == [TextDocument(content)]


def test_bytes_that_are_no_text_are_rejected_as_they_stood() -> None:
    file = '{"text": "Zoë, Köln"}\n'.encode() + b'{"text": "Zo\xeb"}\n'
    good, bad = good_and_bad(FORMAT, file)
    assert len(good) == 1
    assert [(one.line, one.code, one.raw) for one in bad] == [
        (2, "not_text", b'{"text": "Zo\xeb"}')
    ]


def test_a_list_and_a_table_are_refused_with_the_remedy() -> None:
    with pytest.raises(FileRefused, match="choose the format json"):
        only(FORMAT, b'[\n["a"]]')
    with pytest.raises(FileRefused, match="choose its format"):
        only(FORMAT, b"a,b\n1,2\n")


def test_offsets_of_utf_16() -> None:
    file = '{"text": "😀 ab", "annotations": [{"start": 3, "end": 5, "label": "x"}]}'.encode()
    options = ReadOptions(offsets=OffsetUnit.UTF16)
    assert only(FORMAT, file, options) == [TextDocument("😀 ab", (Span(2, 4, "x"),))]
    inside = '{"text": "😀 ab", "annotations": [{"start": 1, "end": 5, "label": "x"}]}'.encode()
    assert good_and_bad(FORMAT, inside, options)[1][0].code == "span_out_of_range"


def test_fields_are_mapped_both_ways() -> None:
    options = ReadOptions(
        columns={"content": "review.body", "key": "review.ids.0"},
        mapping=parsed_mapping({"labels": {"constant": ["new"]}}),
    )
    file = b'{"review": {"body": "Ada", "ids": ["r1"]}}'
    assert only(FORMAT, file, options) == [
        TextDocument(
            "Ada", key="r1", labels=("new",), metadata={"review": {"body": "Ada", "ids": ["r1"]}}
        )
    ]
    out = written(FORMAT, [plain(0)], WriteOptions(columns={"content": "body"}))
    assert out.startswith(b'{"annotations":') or b'"body":' in out
    assert only(FORMAT, out, ReadOptions(columns={"content": "body"})) == [plain(0)]
