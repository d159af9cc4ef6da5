"""JSON lists: where elements end, and where broken ones do."""

from __future__ import annotations

import io
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import Bounds, FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import TextDocument
from domain.systems.annotations.formats.encoding import Encoding
from domain.systems.annotations.formats.json_array import FORMAT
from domain.systems.annotations.formats.json_elements import elements
from tests.formats.data import STEADY, json_values, plain
from tests.formats.files import good_and_bad, only, rejects_file, written

ONE, TWO, THREE = (TextDocument(word) for word in ("one", "two", "three"))


def cut(text: str) -> list[str | None]:
    file = io.BytesIO(text.encode())
    return [element.text for element in elements(file, Encoding("utf-8"), Bounds())]


@pytest.mark.parametrize("indent", [None, 0, 1, 2, "\t"])
@given(values=st.lists(json_values, max_size=5))
@settings(STEADY, max_examples=30)
def test_elements_are_those_that_a_parser_finds(
    indent: int | str | None, values: list[object]
) -> None:
    text = json.dumps(values, indent=indent)
    assert [json.loads(part or "") for part in cut(text)] == values


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_lists_laid_out_in_any_way(indent: int | None) -> None:
    value = [
        {"content": "one", "annotations": [], "metadata": {"a": [{}, [], {"b": ']}\\"'}]}},
        {"content": "two"},
    ]
    found = only(FORMAT, json.dumps(value, indent=indent).encode())
    assert [one.content for one in found if isinstance(one, TextDocument)] == ["one", "two"]


def test_the_shape_of_our_files() -> None:
    assert written(FORMAT, [ONE, TWO]).decode() == (
        '[\n{"content":"one","annotations":[]},\n{"content":"two","annotations":[]}\n]\n'
    )
    assert written(FORMAT, []) == b"[]\n"
    assert only(FORMAT, b" [ ] \n") == []


def test_one_object_is_one_document() -> None:
    assert only(FORMAT, b'{\n "content": "one"\n}\n') == [ONE]


@pytest.mark.parametrize(
    "broken",
    [
        '{"content": "x"',
        '{"content": "x',
        '{"content": "x}',
        '{"content": x"}',
        '{"content": ["x"}',
        '{"content": "x"]}',
        '{"content": "x", "metadata": {"a": [1}',
        '{"content": "x", "metadata": [{"a": "b]}',
        '{"content": NaN}',
        '{"content": "x",}',
        '"text"',
        "text",
        "7",
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_broken_element_ends_where_the_next_line_begins_as_it_did(broken: str, at: int) -> None:
    rows = ['{"content": "one"}', '{"content": "two"}']
    rows.insert(at, broken)
    file = ("[\n" + ",\n".join(rows) + "\n]\n").encode()
    good, bad = good_and_bad(FORMAT, file)
    assert good == [ONE, TWO]
    assert [(one.line, one.raw.decode()) for one in bad] == [(at + 2, broken)]
    assert rejects_file(FORMAT, file).decode() == f"[\n{broken}\n]\n"


def test_a_broken_element_of_an_indented_list() -> None:
    text = json.dumps([{"content": "one", "metadata": {"a": {}}}, {"content": "two"}], indent=2)
    for what in ('"a": {}', '"content": "one"'):
        broken = text.replace(what, what[:-1])
        good, bad = good_and_bad(FORMAT, broken.encode())
        assert good == [TWO]
        assert [one.line for one in bad] == [2]


def test_what_is_missing_at_the_end_is_said() -> None:
    good, bad = good_and_bad(FORMAT, b'[\n{"content": "one"},\n')
    assert good == [ONE]
    assert [(one.code, one.raw) for one in bad] == [("not_json", b"")]
    assert "whole" in bad[0].message


def test_nested_without_end_is_refused_and_takes_no_memory() -> None:
    deep = "[" * 1_000_000
    good, bad = good_and_bad(FORMAT, f'[{{"content": "one"}},\n{{"a": {deep}'.encode())
    assert good == [ONE]
    assert bad[0].code in ("too_deep", "not_json")


def test_broken_elements_everywhere_take_no_time() -> None:
    file = b"[\n" + b'{"content": "x,\n{"content": ["y",\n{"content": "one"},\n' * 3_000 + b"]\n"
    started = time.thread_time()
    good, bad = good_and_bad(FORMAT, file)
    assert (len(good), len(bad)) == (3_000, 6_000)
    assert time.thread_time() - started < 10


@pytest.mark.parametrize("file", [b"text", b" \n", b"<a/>", b"1,2\n", b'"x"'])
def test_what_is_no_list_of_objects_is_refused(file: bytes) -> None:
    with pytest.raises(FileRefused):
        only(FORMAT, file)


def test_a_long_list_in_one_line() -> None:
    documents = [plain(n) for n in range(2_000)]
    file = written(FORMAT, documents).replace(b"\n", b"")
    assert only(FORMAT, file, ReadOptions(bounds=Bounds(line=1_000))) == documents
