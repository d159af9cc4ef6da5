"""JSON lists: where elements end, and where broken ones do."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats import json_elements
from domain.systems.annotations.formats.contract import Bounds, FileRefused, ReadOptions
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.encoding import Encoding
from domain.systems.annotations.formats.json_array import FORMAT
from domain.systems.annotations.formats.json_elements import elements
from tests.formats.data import STEADY, json_values, plain
from tests.formats.data import documents as made_up
from tests.formats.files import good_and_bad, only, rejects_file, written
from tests.sampled import sampled

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


TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
BLANKS = st.sampled_from(["", "", " ", "\n", "\n", "\r\n", "\r", "\n  ", "\n\t", "  \n\n"])


@given(values=st.lists(json_values | st.lists(json_values), max_size=4), draw=st.data())
@settings(STEADY, max_examples=sampled(150))
def test_lines_may_end_wherever_json_lets_them(values: list[object], draw: st.DataObject) -> None:
    tokens = TOKENS.findall(json.dumps(values))
    count = len(tokens) + 1
    blanks = draw.draw(st.lists(BLANKS, min_size=count, max_size=count))
    text = "".join(f"{blank}{token}" for blank, token in zip(blanks, tokens, strict=False))
    assert [json.loads(part or "") for part in cut(text + blanks[-1])] == values


@given(draw=st.data())
@settings(STEADY, max_examples=sampled(100))
def test_documents_are_the_same_however_their_lines_are_laid_out(draw: st.DataObject) -> None:
    documents = draw.draw(st.lists(made_up(), max_size=3))
    tokens = TOKENS.findall(written(FORMAT, documents).decode())
    blanks = draw.draw(st.lists(BLANKS, min_size=len(tokens), max_size=len(tokens)))
    file = "".join(f"{token}{blank}" for blank, token in zip(blanks, tokens, strict=True))
    assert only(FORMAT, file.encode()) == documents


def test_a_list_within_an_element_whose_lines_begin_as_its_own_did() -> None:
    ada = TextDocument("Ada", (Span(0, 3, "PER"), Span(0, 2, "X")), metadata={"a": [{"b": []}]})
    one = (
        '{"content":"Ada","annotations":[\n'
        '{"start_char":0,"end_char":3,"label":"PER"},\n{"start_char":0,"end_char":2,"label":"X"}\n'
        '],"labels":[\n],"metadata":\n{"a":[\n{"b":[\n]}\n]}}'
    )
    assert only(FORMAT, f"[\n{one},\n{one}\n]\n".encode()) == [ada, ada]


@pytest.mark.parametrize(
    "broken",
    [
        '{"content": "x", "annotations": [{"a": 1},',
        '{"content": "x", "annotations": [',
        '{"content": "x", "labels": ["a"',
        '{"content": "x", "metadata":',
        '{"content": "x", "metadata": {"a": [[1, 2],',
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_element_cut_off_within_a_list_ends_where_the_next_line_begins(
    broken: str, at: int
) -> None:
    rows = ['{"content": "one"}', '{"content": "two"}']
    rows.insert(at, broken)
    file = ("[\n" + ",\n".join(rows) + "\n]\n").encode()
    good, bad = good_and_bad(FORMAT, file)
    assert good == [ONE, TWO]
    assert [(one.line, one.raw.decode()) for one in bad] == [(at + 2, broken.rstrip(","))]


def test_an_element_cut_off_in_a_long_file_is_not_sought_for_beyond_the_bounds() -> None:
    rows = ['{"content": "x", "annotations": [{"a": 1}', *['{"content": "one"}'] * 200]
    options = ReadOptions(bounds=Bounds(line=1_000))
    for last in ("\n]\n", "\n]}\n]\n"):
        good, bad = good_and_bad(FORMAT, ("[\n" + ",\n".join(rows) + last).encode(), options)
        assert good == [ONE] * 200
        assert [(one.line, one.raw.decode()) for one in bad][:1] == [(2, rows[0])]


@pytest.mark.parametrize("row", ['{"a": [{"b": 1},', '{"a": [', '{"a": [[{"b":', '{"a":'])
def test_elements_cut_off_within_lists_everywhere_are_gone_through_few_times(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = 0
    follow = json_elements._Cutter._follow

    def counted(cutter: json_elements._Cutter, piece: str) -> Iterator[json_elements.Element]:
        nonlocal followed
        followed += len(piece)
        yield from follow(cutter, piece)

    monkeypatch.setattr(json_elements._Cutter, "_follow", counted)
    file = f"[\n{row}\n".encode() + f'{row}\n{{"content": "one"}},\n'.encode() * 3_000 + b"]\n"
    good, bad = good_and_bad(FORMAT, file)
    assert (len(good), len(bad)) == (3_000, 3_001)
    assert followed < 6 * len(file)


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
