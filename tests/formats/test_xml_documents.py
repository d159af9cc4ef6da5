"""XML: the shape, what is refused, and where broken elements end."""

from __future__ import annotations

import time

import pytest

from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.formats.xml_documents import FORMAT
from tests.formats.files import good_and_bad, only, rejects_file, written

ONE, TWO = TextDocument("one"), TextDocument("two")
DOC_ONE = "<document><content>one</content></document>\n"
DOC_TWO = "<document><content>two</content></document>\n"


def around(*parts: str) -> bytes:
    return f"<documents>\n{''.join(parts)}</documents>\n".encode()


def test_the_shape_of_our_files() -> None:
    spans = (Span(0, 3, "PER", 0.5, {"by": "é"}), Span(4, 5, "A & B"))
    document = TextDocument("Ada <\r\n", spans, 'a"b', ("bio",), {"source": "web"})
    assert written(FORMAT, [document]).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<documents>\n'
        "<document key='a\"b'>\n"
        "<content>Ada &lt;&#13;\n</content>\n"
        "<label>bio</label>\n"
        '<metadata>{"source":"web"}</metadata>\n'
        '<annotation start_char="0" end_char="3" label="PER" confidence_score="0.5"'
        ' metadata=\'{"by":"\\u00e9"}\'>Ada</annotation>\n'
        '<annotation start_char="4" end_char="5" label="A &amp; B">&lt;</annotation>\n'
        "</document>\n</documents>\n"
    )
    assert only(FORMAT, written(FORMAT, [document])) == [document]


def test_an_element_without_anything_in_it_comes_back_alone() -> None:
    empty = '<document key="a" />'
    data = around(DOC_ONE, "<document/>", empty, DOC_TWO, "<document></document>")
    good, bad = good_and_bad(FORMAT, data)
    assert good == [ONE, TWO]
    assert [one.raw.decode() for one in bad] == ["<document/>", empty, "<document></document>"]
    last = around("<document/>")
    assert [one.raw for one in good_and_bad(FORMAT, last)[1]] == [b"<document/>"]
    again = good_and_bad(FORMAT, rejects_file(FORMAT, data))
    assert ([], [one.code for one in bad]) == (again[0], [one.code for one in again[1]])


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE documents [<!ENTITY e0 "lol">{BOMB}]>',
        f'<!DOCTYPE documents [<!ENTITY e11 "{"x" * 100_000}">]>',
        '<!DOCTYPE documents [<!ENTITY e11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE documents [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]>',
        '<!DOCTYPE documents SYSTEM "http://127.0.0.1/x.dtd">',
        "<!DOCTYPE documents>",
    ],
    ids=["laughs", "quadratic", "external", "parameter", "dtd", "bare"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(declared: str, encoding: str) -> None:
    use = f"<document><content>{'&e11;' * 1000}</content></document>"
    started = time.thread_time()
    with pytest.raises(FileRefused, match="document type"):
        only(FORMAT, f"{declared}\n<documents>{use}</documents>".encode(encoding))
    assert time.thread_time() - started < 2


def test_entities_that_nobody_declared_and_references_to_no_character_are_rejected() -> None:
    for wrong in ("&nbsp;", "&#0;", "&#xD800;", "&e"):
        broken = f"<document><content>{wrong}</content></document>\n"
        good, bad = good_and_bad(FORMAT, around(DOC_ONE, broken, DOC_TWO))
        assert good == [ONE, TWO]
        assert [(one.line, one.code, one.raw.decode() + "\n") for one in bad] == [
            (3, "not_xml", broken)
        ]


@pytest.mark.parametrize(
    "broken",
    [
        "<document><content>x</document>",
        "<document><content>x</content>",
        "<document><content>x",
        "<document><content>x</content></document",
        '<document key="a><content>x</content></document>',
        "<document key=a><content>x</content></document>",
        "<document><content>a & b</content></document>",
        "<document><content>a < b</content></document>",
        "<document><!-- x <content>x</content></document>",
        "<document><content><![CDATA[x</content></document>",
        "<document><content>\x01</content></document>",
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_broken_element_ends_where_the_next_begins(broken: str, at: int) -> None:
    rows = [DOC_ONE, DOC_TWO]
    rows.insert(at, f"{broken}\n")
    file = around(*rows)
    good, bad = good_and_bad(FORMAT, file)
    assert good == [ONE, TWO]
    assert [(one.line, one.raw.decode()) for one in bad if one.raw] == [(at + 2, broken)]
    again = rejects_file(FORMAT, file)
    assert broken.encode() in again
    assert only(FORMAT, again.replace(broken.encode(), DOC_ONE.encode())) == [ONE]


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("", "no_content"),
        ("<content></content>", "no_content"),
        ("<content>a<b/></content>", "unknown_element"),
        ("<content>a</content><content>b</content>", "twice"),
        ("<content>a</content><metadata>[1</metadata>", "not_json"),
        ("<content>a</content><metadata>[1]</metadata>", "not_an_object"),
        ("<content>a</content><metadata>{&quot;a&quot;:NaN}</metadata>", "not_json"),
        (
            "<content>a</content><annotation start_char='0' end_char='9' label='x'/>",
            "span_out_of_range",
        ),
        (
            "<content>a</content><annotation start_char='0' end_char='1' label='x'>b</annotation>",
            "text_mismatch",
        ),
        ("<content>a</content><annotation start_char='0' end_char='1'/>", "not_text"),
        ("<content>a</content>" + "<a>" * 70 + "</a>" * 70, "too_deep"),
        ("<content>a</content><a " + " ".join(f"a{n}=''" for n in range(1500)) + "/>", "too_wide"),
    ],
)
def test_elements_that_are_no_document(inside: str, code: str) -> None:
    wrong = f"<document>{inside}</document>\n"
    good, bad = good_and_bad(FORMAT, around(DOC_ONE, wrong, DOC_TWO))
    assert good == [ONE, TWO]
    assert [(one.line, one.code, one.raw.decode() + "\n") for one in bad] == [(3, code, wrong)]


def test_a_million_attributes_a_tag_without_end_and_elements_without_end() -> None:
    wide = "<document " + " ".join(f"a{n}=''" for n in range(200_000)) + ">"
    many = "<document><content>x</content>" + "<a/>" * 150_000 + "</document>\n"
    deep = "<document><content>x</content>" + "<a>" * 150_000 + "</a>" * 150_000 + "</document>\n"
    for hostile in (wide, many, deep):
        good, bad = good_and_bad(FORMAT, around(DOC_ONE, hostile, DOC_TWO))
        assert good == [ONE, TWO]
        assert {one.code for one in bad} & {"too_long", "too_deep"}
    with pytest.raises(FileRefused, match="nested"):
        only(FORMAT, b"<documents>" + b"<a>" * 1000)


@pytest.mark.parametrize(
    "part", ['<document a{}=""><content>x</content></document>', "<a{}/>", f"<a{{}}{'x' * 500}/>"]
)
def test_names_without_end_are_refused_since_the_parser_keeps_each(part: str) -> None:
    few = around(*(part.format(n) for n in range(1_500)), DOC_ONE)
    assert good_and_bad(FORMAT, few)[0][-1] == ONE
    with pytest.raises(FileRefused, match="different names"):
        good_and_bad(FORMAT, around(*(part.format(n) for n in range(10_001)), DOC_ONE))


def test_broken_elements_everywhere_take_no_time() -> None:
    for broken in ("<document><!--", "<document>&x;", "<document a='", "<document>"):
        started = time.thread_time()
        with_good = around(broken * 20_000 + "\n", DOC_ONE)
        try:
            good, _ = good_and_bad(FORMAT, with_good)
            assert good[-1:] in ([ONE], [])
        except FileRefused as refused:
            assert "too much" in str(refused)  # noqa: PT017 - either is fine, and no other
        assert time.thread_time() - started < 20


def test_a_section_that_is_not_closed_costs_its_element() -> None:
    broken = "<document><content><![CDATA[x</content></document>\n"
    file = around(DOC_ONE, broken, DOC_TWO * 2_000)
    good, bad = good_and_bad(FORMAT, file, ReadOptions(bounds=Bounds(line=10_000)))
    assert good == [ONE, *[TWO] * 2_000]
    assert [(one.line, one.code) for one in bad] == [(3, "not_xml")]


@pytest.mark.parametrize("file", [b"<html><p>x</p></html>", b"text", b'{"a": 1}', b"<documents"])
def test_what_is_no_such_xml_is_refused(file: bytes) -> None:
    with pytest.raises(FileRefused):
        only(FORMAT, file)


def test_elements_of_strangers() -> None:
    file = b"<corpus><texts><row id='7'><body>Ada</body><source>web</source></row></texts></corpus>"
    options = ReadOptions(
        dialect={"element": "row"},
        columns={"content": "body"},
        mapping=parsed_mapping({"labels": {"constant": ["new"]}}),
    )
    expected = TextDocument("Ada", key="7", labels=("new",), metadata={"source": "web"})
    assert only(FORMAT, file, options) == [expected]
    broken = file.replace(b"<row", b"<row><body>&x;</body></row><row")
    good, bad = good_and_bad(FORMAT, broken, options)
    assert (good, [one.raw for one in bad]) == ([expected], [b"<row><body>&x;</body></row>"])
    with pytest.raises(FileRefused, match="no name"):
        only(FORMAT, file, ReadOptions(dialect={"element": "a b"}))


def test_an_end_that_is_missing_is_said() -> None:
    good, bad = good_and_bad(FORMAT, f"<documents>\n{DOC_ONE}".encode())
    assert good == [ONE]
    assert [(one.code, one.raw) for one in bad] == [("not_xml", b"")]


def test_as_many_annotations_as_an_export_gives_of_a_text_come_back() -> None:
    document = TextDocument("a", (Span(0, 1, "x"),) * 100_000, "k", ("y",), {"z": 1})
    assert only(FORMAT, written(FORMAT, [document])) == [document]


def test_characters_that_xml_lacks_are_named_as_lost() -> None:
    document = TextDocument("a\x01b\ufffe", (Span(0, 2, "x\x02"),), "k\x03")
    assert FORMAT.losses is not None
    lost = {loss.code for loss in FORMAT.losses(document, WriteOptions())}
    assert lost == {"content", "key", "span_label"}
    assert only(FORMAT, written(FORMAT, [document])) == [
        TextDocument("a\ufffdb\ufffd", (Span(0, 2, "x\ufffd"),), "k\ufffd")
    ]


def test_an_element_too_long_is_left_out() -> None:
    long = f"<document><content>{'x' * 50_000}\n</content></document>\n"
    options = ReadOptions(bounds=Bounds(line=10_000))
    good, bad = good_and_bad(FORMAT, around(DOC_ONE, long, DOC_TWO), options)
    assert good == [ONE, TWO]
    assert [(one.code, one.raw) for one in bad] == [("too_long", b"")]
