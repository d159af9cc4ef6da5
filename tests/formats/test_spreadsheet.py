"""Workbooks: what ours are like, those of others, and hostile ones."""

from __future__ import annotations

import io
import re
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from xml.sax.saxutils import quoteattr

import pytest

from domain.systems.annotations.formats import spreadsheet, workbook_writing
from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.registry import detected, format_named
from tests.formats import data
from tests.formats.files import everything, good_and_bad, only, rejects_file, written

XLSX = spreadsheet.FORMAT
PACKED_WELL = ReadOptions(bounds=Bounds(ratio=10_000))
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET = "xl/worksheets/sheet1.xml"


def members(file: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(file)) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def packed(parts: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
    return out.getvalue()


def of_sheets(*sheets: str, **parts: str) -> bytes:
    """A workbook as another program might write it: sheets as rows of XML, and more parts."""
    numbers = range(1, len(sheets) + 1)
    made = members(b"".join(workbook_writing.workbook(["content"], [])))
    listed = "".join(f'<sheet name="s{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    link = 'Type="x/{}" Target="{}"/>'
    links = "".join(
        f'<Relationship Id="rId{n}" ' + link.format("worksheet", f"worksheets/sheet{n}.xml")
        for n in numbers
    ) + "".join(
        f'<Relationship Id="{name}" ' + link.format(name, f"/xl/{name}.xml") for name in parts
    )
    made["xl/workbook.xml"] = re.sub(r"<sheets>.*</sheets>", listed, made["xl/workbook.xml"])
    made["xl/_rels/workbook.xml.rels"] = f"<Relationships>{links}</Relationships>"
    for number, rows in zip(numbers, sheets, strict=True):
        sheet = f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData>{rows}</x:sheetData></x:worksheet>'
        made[f"xl/worksheets/sheet{number}.xml"] = re.sub(
            r"<(/?)(?=\w+[ />])(?!x:)", r"<\1x:", sheet
        )
    return packed(made | {f"xl/{name}.xml": part for name, part in parts.items()})


def row(*cells: str) -> str:
    return f"<row>{''.join(cells)}</row>"


def words(text: str, place: str = "") -> str:
    where = f' r="{place}"' if place else ""
    return f'<c{where} t="inlineStr"><is><t>{text}</t></is></c>'


TOP = row(words("content"), words("n"))


def test_the_shape_of_our_files() -> None:
    document = TextDocument("Ada & <Bob>", (Span(0, 3, "PER", 0.5),), key="=1+1")
    parts = members(written(XLSX, [document]))
    assert set(parts) == {
        SHEET,
        "xl/workbook.xml",
        "xl/_rels/workbook.xml.rels",
        "_rels/.rels",
        "[Content_Types].xml",
    }
    second = parts[SHEET].split('<row r="2">')[1]
    assert second.startswith('<c r="A2"><v>1</v></c><c r="B2" t="inlineStr">')
    assert "Ada &amp; &lt;Bob&gt;" in second
    assert '<c r="F2"><v>0</v></c><c r="G2"><v>3</v></c>' in second
    assert '<c r="J2"><v>0.5</v></c>' in second


def test_a_file_is_the_same_however_often_it_is_written() -> None:
    assert written(XLSX, data.many(5)) == written(XLSX, data.many(5))


def test_no_cell_is_a_formula_and_minus_five_stays() -> None:
    texts = ["=cmd|' /C calc'!A0", "+1", "@SUM(A1)", "-5", "-5-5", "<r><t>x</t></r>", "'=1", "=1\n"]
    documents = [TextDocument(text, (Span(0, 1, text),), key=text) for text in texts]
    file = written(XLSX, documents)
    assert "<f>" not in members(file)[SHEET]
    assert "<v>-5" not in members(file)[SHEET], "a text is no number"
    assert only(XLSX, file) == documents


def test_what_xml_cannot_hold_comes_back() -> None:
    texts = ["a\x01\x0b\x1f", "_x0041_", "_x005F_x0041_", "a\rb\r\nc\td\n", " \ufffe\uffff "]
    texts += ["_X0041_", "_x00e9_", "_x0041\r", "_xd83d\x01", "_x0041_x0042\uffff", "__x0041__"]
    documents = [TextDocument(text, metadata={"as": text}) for text in texts]
    assert only(XLSX, written(XLSX, documents)) == documents


def test_texts_that_pack_too_well_for_an_archive_come_back() -> None:
    documents = [TextDocument("-" * 30_000), TextDocument("=" * 30_000)] * 40
    assert only(XLSX, written(XLSX, documents)) == documents


def test_a_text_too_long_for_a_cell_is_left_out_and_named() -> None:
    fitting = TextDocument("😀" * (workbook_writing.MAX_CELL // 2))
    beyond = TextDocument(fitting.content + "xx")
    assert XLSX.losses is not None
    lost = [[loss.code for loss in XLSX.losses(each, WriteOptions())] for each in (fitting, beyond)]
    assert lost == [[], ["document"]]
    assert only(XLSX, written(XLSX, [beyond, fitting, beyond])) == [fitting]


@pytest.mark.parametrize("bound", [("MAX_ROWS", 6), ("MAX_SHEET", 1)])
def test_what_one_sheet_cannot_hold_goes_on_in_another(
    bound: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook_writing, *bound)
    monkeypatch.setattr(workbook_writing, "PIECE", 1)
    documents = list(data.many(7))
    file = written(XLSX, documents)
    sheets = [name for name in members(file) if "/sheet" in name]
    assert len(sheets) > 3
    assert only(XLSX, file) == documents


def test_texts_that_cells_share_and_cells_of_every_type() -> None:
    shared = (
        "<sst><si><t>content</t></si>"
        "<si><r><t>Ad</t></r><r><t>a_x0021_</t></r><rPh><t>x</t></rPh></si></sst>"
    )
    styles = (
        '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="[$-409]d\\ mmm&quot; y&quot;"/>'
        '<numFmt numFmtId="171" formatCode="0.0&quot;days&quot;"/></numFmts><cellStyleXfs>'
        '<xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="170"/>'
        '<xf numFmtId="171"/><xf numFmtId="22"/></cellXfs></styleSheet>'
    )
    top = row('<c t="s"><v>0</v></c>', *(words(name) for name in "abcdefg"))
    one = row(
        '<c t="s"><v>1</v></c>',
        '<c s="1"><v>45292</v></c>',
        '<c s="3"><v>45292.25</v></c>',
        '<c s="2"><v>45292.5</v></c>',
        '<c t="b"><v>1</v></c>',
        '<c t="str"><f>A1&amp;"x"</f><v>made</v></c>',
        "<c><v>0.10000000000000001</v></c>",
        "<c/>",
    )
    (found,) = only(XLSX, of_sheets(top + one, sharedStrings=shared, styles=styles))
    assert isinstance(found, TextDocument)
    assert found.content == "Ada!"
    assert found.metadata == {
        "a": "2024-01-01",
        "b": "2024-01-01T06:00:00",
        "c": "45292.5",
        "d": "true",
        "e": "made",
        "f": "0.1",
    }


@pytest.mark.parametrize(
    ("form", "stored", "expected"),
    [
        ("30", "45292", "2024-01-01"),
        ("57", "45292", "2024-01-01"),
        ('_-* #,##0.00_-;-* #,##0.00_-;_-* "-"??_-', "1200.5", "1200.5"),
        ("#,##0.00_d;*s#,##0.00", "1200.5", "1200.5"),
        ("20", "0.5", "12:00:00"),
        ("20", "0", "00:00:00"),
        ("20", "45292.5", "2024-01-01T12:00:00"),
        ("46", "1.5", "36:00:00"),
        ("[h]:mm", "1.5", "36:00:00"),
        ("[mm]:ss", "0.25", "06:00:00"),
        ("yyyy-mm-dd hh:mm", "0.5", "12:00:00"),
        ("0", "12345678901234567890", "12345678901234567890"),
        ("0", "1.2345678901234E+16", "12345678901234000"),
        ("0", "1E+300", "1e+300"),
        ("0", " 7 ", "7"),
    ],
)
def test_what_a_number_is_goes_by_its_format(form: str, stored: str, expected: str) -> None:
    own = f'<numFmts><numFmt numFmtId="170" formatCode={quoteattr(form)}/></numFmts>'
    used = form if form.isdigit() and form != "0" else "170"
    styles = (
        f'<styleSheet>{own}<cellXfs><xf numFmtId="0"/><xf numFmtId="{used}"/></cellXfs>'
        "</styleSheet>"
    )
    rows = TOP + row(words("x"), f'<c s="1"><v>{stored}</v></c>')
    (found,) = only(XLSX, of_sheets(rows, styles=styles))
    assert found == TextDocument("x", metadata={"n": expected})


def test_an_empty_cell_beyond_the_last_column_is_none() -> None:
    empty = '<c r="XFD1" s="1"/>'
    rows = row(words("content"), words("n"), empty) + row(words("x"), words("1"), empty)
    assert only(XLSX, of_sheets(rows)) == [TextDocument("x", metadata={"n": "1"})]


def test_a_character_may_be_escaped_in_halves_and_half_of_one_is_no_escape() -> None:
    shared = "<sst><si><t>_xD83D__xDE00_</t></si><si><t>_xd83d_ _xDE00__xD83D_!</t></si></sst>"
    rows = [row('<c t="s"><v>0</v></c>', '<c t="s"><v>1</v></c>'), row(words("_xD83D_ is none"))]
    found = only(XLSX, of_sheets(TOP + "".join(rows), sharedStrings=shared))
    assert all(isinstance(one, TextDocument) for one in found)
    assert [(one.content, one.metadata) for one in found if isinstance(one, TextDocument)] == [
        ("😀", {"n": "_xd83d_ _xDE00__xD83D_!"}),
        ("_xD83D_ is none", {}),
    ]


def test_cells_say_where_they_are_and_blank_rows_are_none() -> None:
    rows = f'{TOP}<row r="9"/><row r="12">{words("7", "B12")}{words("x", "A12")}</row>'
    (found,) = only(XLSX, of_sheets(rows))
    assert found == TextDocument("x", metadata={"n": "7"})
    wide = row(words("x"), words("1"), words("2"))
    good, bad = good_and_bad(XLSX, of_sheets(TOP + wide + row(words("y"))))
    assert (good, [(one.code, one.line) for one in bad]) == (
        [TextDocument("y")],
        [("wrong_width", 2)],
    )


def test_sheets_with_another_header_are_named_and_empty_ones_are_not() -> None:
    second, other = TOP + row(words("two")), row(words("notes")) + row(words("of mine"))
    file = of_sheets("", TOP + row(words("one")), second, other)
    good, bad = good_and_bad(XLSX, file)
    assert good == [TextDocument("one"), TextDocument("two")]
    assert [(one.code, one.file) for one in bad] == [("other_header", "s4")]


def test_cells_at_fault_cost_their_row_and_are_named() -> None:
    cells = [
        ('<c t="e"><v>#N/A</v></c>', "bad_cell"),
        ('<c t="s"><v>7</v></c>', "bad_cell"),
        ("<c><v>many</v></c>", "bad_cell"),
        ("<c><v>NaN</v></c>", "bad_cell"),
        ("<c><v>1_000</v></c>", "bad_cell"),
        (words("x" * 100_001), "too_long"),
        (words("x", "ZZZ1"), "too_wide"),
    ]
    rows = "".join(row(words("bad"), cell) + row(words("good")) for cell, _ in cells)
    good, bad = good_and_bad(XLSX, of_sheets(TOP + rows), PACKED_WELL)
    assert len(good) == len(cells)
    assert [one.code for one in bad] == [code for _, code in cells]
    assert [one.line for one in bad] == list(range(2, 16, 2))


def test_the_rejects_corrected_bring_it_to_all() -> None:
    documents = list(data.many(6))
    for n in (1, 4):
        documents[n] = replace(documents[n], key="=key", spans=(Span(0, 3, "MARK"),))
    parts = members(written(XLSX, documents))
    # The end of a span that is behind its text.
    parts[SHEET] = re.sub(r"<v>3</v>(?=.{0,200}MARK)", "<v>999</v>", parts[SHEET])
    broken = packed(parts)
    good, bad = good_and_bad(XLSX, broken)
    assert good == [documents[n] for n in (0, 2, 3, 5)]
    assert [one.code for one in bad] == ["span_out_of_range"] * 2
    again = members(rejects_file(XLSX, broken))
    assert good_and_bad(XLSX, packed(again))[0] == []
    again[SHEET] = again[SHEET].replace(">999<", ">3<")
    assert only(XLSX, packed(again)) == [documents[1], documents[4]]


@pytest.mark.parametrize("numbered", [[], ["document"]])
def test_texts_that_are_alike_stay_two_when_they_are_corrected(numbered: list[str]) -> None:
    names = [*numbered, "content", "start_char", "end_char", "label"]
    rows = [[None] * len(numbered) + ["'=Ada", "0", end, "X"] for end in ("9", "3", "8")]
    rows.insert(1, [*["7"] * len(numbered), "Bob", "0", "3", "X"])
    rows.insert(3, [*["7"] * len(numbered), "Cid", "0", "3", "X"])
    file = b"".join(workbook_writing.workbook(names, iter([rows])))
    options = ReadOptions()
    assert len(good_and_bad(XLSX, file, options)[1]) == 2
    again = members(rejects_file(XLSX, file, options))
    again[SHEET] = re.sub(">[98]<", ">2<", again[SHEET])
    expected = "'=Ada" if not numbered else "=Ada"
    assert [one.content for one in only(XLSX, packed(again)) if isinstance(one, TextDocument)] == [
        expected,
        expected,
    ]


def test_one_rejected_text_has_a_number_where_it_may_be_two() -> None:
    rows: list[list[workbook_writing.Cell]] = [["Ada", "a"], ["Ada", "b"]]
    file = b"".join(workbook_writing.workbook(["content", "labels"], iter([rows])))
    again = rejects_file(XLSX, file)
    assert [one.code for one in good_and_bad(XLSX, again)[1]] == ["fields_differ"]
    assert ">document<" in members(again)[SHEET]


@pytest.mark.parametrize(
    "name", [SHEET, "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "_rels/.rels"]
)
@pytest.mark.parametrize(
    "start",
    [
        '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>',
    ],
    ids=["entities", "external", "dtd", "parameter"],
)
def test_a_document_type_is_refused_wherever_it_is(name: str, start: str) -> None:
    parts = members(written(XLSX, data.many(2)))
    head, _, rest = parts[name].partition("?>")
    with pytest.raises(FileRefused, match="document type"):
        everything(XLSX, packed(parts | {name: f"{head}?>{start}{rest}"}))


def _without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda parts: {key: part for key, part in parts.items() if key != name}


@pytest.mark.parametrize(
    "broken",
    [
        _without(SHEET),
        _without("xl/workbook.xml"),
        _without("xl/_rels/workbook.xml.rels"),
        _without("_rels/.rels"),
        lambda parts: parts | {SHEET: parts[SHEET][:-40]},
        lambda parts: parts | {SHEET: "<a>" * 100 + "</a>" * 100},
        lambda parts: parts | {SHEET: f'<a b="{"x" * 1_000_000}"/>'},
        lambda parts: parts | {"../evil.xml": ""},
        lambda parts: parts | {"xl/embedded.zip": "PK"},
    ],
    ids=["sheet", "book", "links", "root", "cut", "deep", "tag", "outside", "nested"],
)
def test_what_is_no_whole_workbook_is_refused(
    broken: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    with pytest.raises(FileRefused):
        everything(XLSX, packed(broken(members(written(XLSX, data.many(2))))))


@pytest.mark.parametrize("name", [SHEET, "_rels/.rels"])
@pytest.mark.parametrize(
    "encoding", ["UT-1F-8", "utf-32", "shift_jis", "base64", "idna", "punycode", "undefined"]
)
def test_an_encoding_that_is_none_of_xml_is_refused(name: str, encoding: str) -> None:
    parts = members(written(XLSX, data.many(2)))
    parts[name] = re.sub('encoding="[^"]*"', f'encoding="{encoding}"', parts[name])
    with pytest.raises(FileRefused, match=f"{name}.*save the table anew"):
        everything(XLSX, packed(parts))


def test_links_lead_nowhere_but_to_members() -> None:
    parts = members(written(XLSX, data.many(2)))
    name = "xl/_rels/workbook.xml.rels"
    parts[name] = parts[name].replace("worksheets/sheet1.xml", "../../../../etc/passwd")
    with pytest.raises(FileRefused, match="etc/passwd"):
        everything(XLSX, packed(parts))


def _links(count: int, target: str = "a{}") -> dict[str, str]:
    """The parts of a workbook whose own part has so many links."""
    parts = members(written(XLSX, data.many(2)))
    name = "xl/_rels/workbook.xml.rels"
    more = "".join(f'<Relationship Id="x{n}" Target="{target.format(n)}"/>' for n in range(count))
    parts[name] = parts[name].replace("</Relationships>", f"{more}</Relationships>")
    return parts


@pytest.mark.parametrize(
    ("count", "target"), [(10_001, "a{}"), (20, "x" * 60_000)], ids=["many", "long"]
)
def test_links_without_end_are_refused(count: int, target: str) -> None:
    assert only(XLSX, packed(_links(1_000)), PACKED_WELL) == list(data.many(2))
    with pytest.raises(FileRefused, match=r"links .*; save the table anew"):
        everything(XLSX, packed(_links(count, target)), PACKED_WELL)


def test_formats_of_numbers_with_long_names_are_not_held() -> None:
    parts = members(of_sheets(TOP + row(words("Ada")), styles="<styleSheet/>"))
    formats = "".join(f'<numFmt numFmtId="{n}{"0" * 50_000}" formatCode="d"/>' for n in range(400))
    parts["xl/styles.xml"] = f"<styleSheet><numFmts>{formats}</numFmts></styleSheet>"
    file = packed(parts)
    tracemalloc.start()
    try:
        everything(XLSX, file, PACKED_WELL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize("part", ["sheet", "attribute"])
def test_names_without_end_are_refused_since_the_parser_keeps_each(part: str) -> None:
    made = {
        "sheet": "".join(f"<n{n}/>" for n in range(10_001)),
        "attribute": "".join(f'<c n{n}=""/>' for n in range(10_001)),
    }[part]
    with pytest.raises(FileRefused, match="different names"):
        everything(XLSX, of_sheets(TOP + row(made)), PACKED_WELL)


def _large(cells: int) -> Iterator[str]:
    yield TOP
    for _ in range(cells):
        yield row('<c t="s"><v>0</v></c>' * 50)


def test_a_shared_text_that_is_named_without_end_ends() -> None:
    shared = f"<sst><si><t>{'x' * 90_000}</t></si></sst>"
    file = of_sheets("".join(_large(400)), sharedStrings=shared)
    began = time.process_time()
    with pytest.raises(FileRefused, match="more than 100000000 characters"):
        everything(XLSX, file, ReadOptions(bounds=Bounds(unpacked=100_000_000, ratio=10_000)))
    assert time.process_time() - began < 20


def test_a_cell_of_50_megabytes_is_rejected_and_never_held() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, part in members(written(XLSX, data.many(1))).items():
            if name != SHEET:
                opened.writestr(name, part)
        with opened.open(SHEET, "w") as sheet:
            before, _, after = f"{TOP}{row(words('*'))}{row(words('y'))}".partition("*")
            sheet.write(f"<worksheet><sheetData>{before}".encode())
            for _ in range(500):
                sheet.write(b"x" * 100_000)
            sheet.write(f"{after}</sheetData></worksheet>".encode())
    tracemalloc.start()
    try:
        good, bad = good_and_bad(XLSX, out.getvalue(), PACKED_WELL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert good == [TextDocument("y")]
    assert [(one.code, one.line) for one in bad] == [("too_long", 2)]
    assert peak < 4_000_000


def test_it_is_told_from_other_archives() -> None:
    file = written(XLSX, data.many(1))
    assert detected(io.BytesIO(file), "upload.zip").name == "xlsx"
    assert format_named("xlsx").likeness(packed({"word/document.xml": ""}), "a.docx") == 0.0
