"""JSON lines: what a line may be."""

from __future__ import annotations

import io

import pytest

from domain.systems.annotations.formats.contract import (
    FileRefused,
    OffsetUnit,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Rejected, Span, TextDocument
from domain.systems.annotations.formats.json_lines import FORMAT, read_lines
from domain.systems.annotations.formats.mapping import Constant, parsed_mapping
from domain.systems.annotations.formats.registry import format_named
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
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "number_out_of_range"),
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
        (
            '{"text": "a", "annotations": [{"start": 0, "end": 1, "label": "x",'
            f' "confidence_score": {10**400}}}]}}',
            "number_out_of_range",
        ),
        (
            '{"text": "a", "annotations": [{"start": 0, "end": 1, "label": "x",'
            ' "confidence_score": 1e308}]}',
            "confidence_out_of_range",
        ),
    ],
)
def test_lines_that_are_no_document(line: str, code: str) -> None:
    file = f'{{"text": "one"}}\n\n{line}\n{{"text": "two"}}\n'.encode()
    good, bad = good_and_bad(FORMAT, file)
    assert good == [TextDocument("one"), TextDocument("two")]
    assert [(one.line, one.code) for one in bad] == [(3, code)]
    assert rejects_file(FORMAT, file) == line.encode() + b"\n"


@pytest.mark.parametrize(
    "score",
    [10**400, -(10**400), float("inf"), float("nan"), True, "1e999"],
    ids=["large", "small", "infinite", "nan", "truth", "text"],
)
def test_a_confidence_without_bounds_that_a_mapping_brings_costs_its_text(score: object) -> None:
    spans = [{"start": 0, "end": 1, "label": "x", "confidence_score": score}]
    options = ReadOptions(mapping={"annotations": Constant(spans)})
    good, bad = good_and_bad(FORMAT, b'{"text": "a"}\n', options)
    assert (good, [one.code for one in bad]) == ([], ["not_a_number"])


def test_a_field_and_metadata_of_one_name_are_both_kept() -> None:
    file = (
        b'{"content": "Ada", "source": "outer", "metadata": {"source": "inner", "n": 1},'
        b' "annotations": [{"start": 0, "end": 3, "label": "x", "by": 1, "metadata": {"by": 2}}]}'
    )
    metadata = {"source": "outer", "metadata.source": "inner", "n": 1}
    span = Span(0, 3, "x", None, {"by": 1, "metadata.by": 2})
    assert only(FORMAT, file) == [TextDocument("Ada", (span,), metadata=metadata)]


def test_what_a_field_and_metadata_say_alike_is_kept_once() -> None:
    documents = [TextDocument("Ada", metadata={"year": 1843, "a": [True]})]
    options = WriteOptions(mapping=parsed_mapping({"year": "metadata.year", "a": "metadata.a"}))
    assert only(FORMAT, written(FORMAT, documents, options)) == documents
    (other,) = only(FORMAT, b'{"text": "Ada", "a": [1], "metadata": {"a": [true]}}')
    assert other.metadata == {"a": [1], "metadata.a": [True]}


def test_offsets_in_another_unit_are_to_be_counted_anew() -> None:
    for span in ('"start": 0, "end": 99', '"start": 0, "end": 2, "selected_text": "Ada"'):
        file = f'{{"text": "Ada", "annotations": [{{{span}, "label": "x"}}]}}\n'.encode()
        _, (bad,) = good_and_bad(FORMAT, file)
        assert bad.message.endswith("count them in code points")


def test_what_nobody_foresaw_costs_its_line_and_is_handed_on() -> None:
    def document(value: dict[str, str], options: ReadOptions) -> TextDocument:
        return TextDocument(value["text"])

    file = io.BytesIO(b'{"text": "one"}\n{"n": 1}\n{"text": "two"}\n')
    one, bad, two = read_lines(file, ReadOptions(), document)
    assert (one, two) == (TextDocument("one"), TextDocument("two"))
    assert isinstance(bad, Rejected)
    assert (bad.line, bad.code, bad.raw) == (2, "internal", b'{"n": 1}')
    assert isinstance(bad.cause, KeyError)
    assert "KeyError" in bad.message


@pytest.mark.parametrize("error", [MemoryError, OSError, FileRefused])
def test_what_is_no_fault_of_a_line_is_none(error: type[Exception]) -> None:
    def document(value: object, options: ReadOptions) -> TextDocument:
        raise error("enough")

    with pytest.raises(error):
        list(read_lines(io.BytesIO(b'{"text": "one"}\n'), ReadOptions(), document))


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


@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "labelstudio", "xml"])
def test_a_long_text_with_many_long_annotations_comes_in_again(name: str) -> None:
    content = "Zoë \N{GRINNING FACE} wrote on, " * 10_000
    spans = tuple(Span(n, len(content) - n, f"L{n}") for n in range(90))
    form, documents = format_named(name), [TextDocument(content, spans, "a"), TextDocument("b")]
    file = written(form, documents)
    assert len(file) < 2_000_000
    assert only(form, file) == documents
