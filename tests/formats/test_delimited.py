"""Delimited text: dialects, quotes, rows that are at fault, formulas."""

from __future__ import annotations

import csv
import io
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    OffsetUnit,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.delimited import FORMAT
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.formats.formulas import guarded, unguarded
from domain.systems.annotations.formats.mapping import Constant, parsed_mapping
from domain.systems.annotations.formats.registry import format_named
from domain.systems.annotations.formats.workbook_writing import workbook
from tests.formats.data import STEADY, plain, texts
from tests.formats.files import good_and_bad, only, rejects_file, written

OURS = """document,key,content,labels,text_metadata,start_char,end_char,selected_text,label,\
confidence_score,metadata\r
1,a,Ada in London,"[""bio""]","{""year"":1843}",0,3,Ada,PER,0.5,"{""by"":""x""}"\r
1,,,,,7,13,London,LOC,,\r
2,,Nothing here,,,,,,,,\r
"""


def test_the_shape_of_our_files() -> None:
    documents = [
        TextDocument(
            "Ada in London",
            (Span(0, 3, "PER", 0.5, {"by": "x"}), Span(7, 13, "LOC")),
            "a",
            ("bio",),
            {"year": 1843},
        ),
        TextDocument("Nothing here"),
    ]
    assert written(FORMAT, documents).decode() == OURS
    assert only(FORMAT, OURS.encode()) == documents


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(delimiter: str) -> None:
    row = delimiter.join(["text", "start", "end", "label", "note"])
    values = delimiter.join(["Ada, in; London", "0", "3", "PER", "a|b"])
    quoted = delimiter.join(['"Ada, in; London"', "0", "3", "PER", '"a|b"'])
    file = f"{row}\n{quoted}\n{values if delimiter == chr(9) else quoted}\n".encode()
    found = only(FORMAT, file)
    expected = TextDocument(
        "Ada, in; London", (Span(0, 3, "PER"), Span(0, 3, "PER")), metadata={"note": "a|b"}
    )
    assert found == [expected]


def test_an_explicit_dialect_wins() -> None:
    file = b"text~label\n'a~b'~x\n"
    options = ReadOptions(dialect={"delimiter": "~", "quotechar": "'"})
    assert only(FORMAT, file, options) == [TextDocument("a~b", labels=("x",))]
    with pytest.raises(FileRefused, match="one character"):
        only(FORMAT, file, ReadOptions(dialect={"delimiter": "~~"}))


def test_quotes_and_line_ends_in_cells() -> None:
    content = 'He said "no"\r\nand\rleft\n, or; so'
    found = only(FORMAT, written(FORMAT, [TextDocument(content)]))
    assert found == [TextDocument(content)]
    assert only(FORMAT, b'text\na 5" disk\n') == [TextDocument('a 5" disk')]


def test_rows_of_strangers_with_the_same_text_are_one_document() -> None:
    file = (
        b"id,text,start,end,label,source\n"
        b"7,Ada in London,0,3,PER,web\n7,Ada in London,7,13,LOC,web\n8,Ada in London,0,3,PER,web\n"
    )
    first, second = only(FORMAT, file)
    assert isinstance(first, TextDocument)
    assert (first.key, len(first.spans), first.metadata) == ("7", 2, {"source": "web"})
    assert isinstance(second, TextDocument)
    assert (second.key, len(second.spans)) == ("8", 1)


def test_columns_are_renamed_and_mapped() -> None:
    file = b'name,body,extra\nx,Ada,"{""a"": 1}"\n'
    renamed = ReadOptions(columns={"content": "body", "key": "name"})
    assert only(FORMAT, file, renamed) == [
        TextDocument("Ada", key="x", metadata={"extra": '{"a": 1}'})
    ]
    spec = {"content": {"template": "{name}: {body}"}, "labels": {"constant": ["new"]}}
    found = only(FORMAT, file, ReadOptions(mapping=parsed_mapping(spec)))[0]
    assert isinstance(found, TextDocument)
    assert (found.content, found.labels) == ("x: Ada", ("new",))
    out = written(FORMAT, [plain(1)], WriteOptions(columns={"content": "body"}))
    assert b"body" in out.split(b"\r\n")[0]
    assert only(FORMAT, out, ReadOptions(columns={"content": "body"})) == [plain(1)]


@pytest.mark.parametrize(
    ("spec", "content", "key"),
    [
        ({"key": {"template": "{source}-{id}"}}, "Ada", "web-7"),
        ({"content": {"template": "{source}: {text}"}}, "web: Ada", "7"),
        ({"content": "text", "key": "id"}, "Ada", "7"),
        ({"key": "source"}, "Ada", "web"),
        ({"content": {"template": "{id}{page}"}}, "74", "7"),
        ({"key": "ident"}, "Ada", "7"),
        ({"content": "body", "key": {"template": "{key}!"}}, "Ada", "7!"),
        ({"content": {"template": "{source}: {content}"}}, "web: Ada", "7"),
        ({"content": "content", "note": {"template": "{source}{absent}"}}, "Ada", "7"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_mapping_goes_by_the_names_that_stand_in_the_file(
    form: str, spec: dict[str, object], content: str, key: str
) -> None:
    options = ReadOptions(mapping=parsed_mapping(spec))
    cells = [["id", "source", "text", "page"], ["7", "web", "Ada", "4"]]
    lines = "".join(",".join(row) + "\n" for row in cells).encode()
    file = lines if form == "csv" else b"".join(workbook(cells[0], iter([[cells[1]]])))
    (document,) = only(format_named(form), file, options)
    assert isinstance(document, TextDocument)
    assert (document.content, document.key) == (content, key)


@pytest.mark.parametrize("labels", [5, True, {"a": 1}, 1.5])
def test_labels_that_a_mapping_makes_no_list_of_names_cost_their_text(labels: object) -> None:
    options = ReadOptions(mapping={"labels": Constant(labels)})
    for form, file in (
        (FORMAT, b"content\nAda\n"),
        (format_named("xlsx"), written(format_named("xlsx"), [TextDocument("Ada")])),
        (format_named("xml"), written(format_named("xml"), [TextDocument("Ada")])),
        (format_named("json"), written(format_named("json"), [TextDocument("Ada")])),
    ):
        good, bad = good_and_bad(form, file, options)
        assert (good, [one.code for one in bad]) == ([], ["not_a_list"])
        assert "give a list of names" in bad[0].message


def test_a_header_in_another_encoding_is_said_in_a_message_that_can_be_sent() -> None:
    file = "Überschrift;Länge\nä;5\n".encode("latin-1")
    with pytest.raises(FileRefused, match="no column is the content") as refused:
        only(FORMAT, file, ReadOptions(encoding="utf-8"))
    assert r"\udcdcberschrift, L\udce4nge" in str(refused.value)
    assert str(refused.value).encode()


def test_a_column_and_metadata_of_one_name_are_both_kept() -> None:
    file = b'content,year,text_metadata\nAda,1843,"{""year"": 1842, ""n"": 1}"\n'
    (document,) = only(FORMAT, file)
    assert isinstance(document, TextDocument)
    assert document.metadata == {"year": "1843", "metadata.year": 1842, "n": 1}


def test_an_unclosed_quote_costs_its_line_and_names_it() -> None:
    file = b'text,label\none,a\ntwo,"b\nthree,c\nfour,d\n'
    good, bad = good_and_bad(FORMAT, file)
    assert [one.content for one in good if isinstance(one, TextDocument)] == [
        "one",
        "three",
        "four",
    ]
    assert [(one.line, one.code, one.raw) for one in bad] == [(3, "unclosed_quote", b'two,"b\n')]
    assert "line 3" in bad[0].message
    mended = rejects_file(FORMAT, file).replace(b'"b', b'"b"')
    assert only(FORMAT, mended) == [TextDocument("two", labels=("b",))]


def test_the_line_where_the_unclosed_quote_opened_is_not_always_the_rows_first() -> None:
    file = b'text,label\n"one\n1",a\n"two\n2","b\nthree,c\n'
    _, bad = good_and_bad(FORMAT, file)
    assert [(one.line, one.code, one.raw) for one in bad] == [
        (5, "unclosed_quote", b'"two\n2","b\n')
    ]


def test_a_quote_that_another_row_closes_costs_no_other_row() -> None:
    file = b'text,label\none,"a\ntwo,b\nthree,"c"\nfour,d\n'
    good, bad = good_and_bad(FORMAT, file)
    assert [one.content for one in good if isinstance(one, TextDocument)] == [
        "two",
        "three",
        "four",
    ]
    assert [(one.line, one.code) for one in bad] == [(2, "bad_quote")]


def test_unclosed_quotes_everywhere_take_no_time() -> None:
    file = b"text,label\n" + b'x,"a\ny,b\n' * 5_000
    started = time.thread_time()
    good, bad = good_and_bad(FORMAT, file, ReadOptions(bounds=Bounds(line=20_000)))
    assert len(good) + len(bad) == 10_000
    assert time.thread_time() - started < 10


@pytest.mark.parametrize("where", ["header", "row", "quoted"])
def test_a_million_columns_are_refused_before_they_are_made(where: str) -> None:
    wide = b"," * 1_000_000
    if where == "header":
        with pytest.raises(FileRefused, match="1,000 columns"):
            only(FORMAT, b"text" + wide + b"\n")
        return
    line = b'"x\n"' + wide if where == "quoted" else b"x" + wide
    good, bad = good_and_bad(FORMAT, b"text,label\n" + line + b"\ny,b\n")
    assert good == [TextDocument("y", labels=("b",))]
    assert "too_wide" in [one.code for one in bad]


def test_a_text_of_delimiters_is_not_wide() -> None:
    content = "a,b" * 5_000
    assert only(FORMAT, written(FORMAT, [TextDocument(content)])) == [TextDocument(content)]


def test_a_row_at_fault_takes_its_document_with_it() -> None:
    file = OURS.replace("7,13,London", "7,130,London").encode()
    good, bad = good_and_bad(FORMAT, file)
    assert good == [TextDocument("Nothing here")]
    assert [one.line for one in bad] == [2]
    assert rejects_file(FORMAT, file).count(b"\r\n") == 3
    short = OURS.replace("LOC,,\r", "LOC,\r").encode()
    _, bad = good_and_bad(FORMAT, short)
    assert [(one.line, one.code) for one in bad] == [(3, "wrong_width")]
    assert rejects_file(FORMAT, short).count(b"\r\n") == 3


@pytest.mark.parametrize(
    ("header", "torn", "mended", "second", "other"),
    [
        ("document,key,text", "1,k,Ada saw,0,3", "1,k,Ada saw,0,3,P", "1,,,4,7,X", "2,j,Bob,0,3,X"),
        ("id,text", "7,Ada saw,0,3", "7,Ada saw,0,3,P", "7,Ada saw,4,7,X", "8,Ada saw,0,3,X"),
        ("text", "Ada saw,0,3", "Ada saw,0,3,P", "Ada saw,4,7,X", "Bob,0,3,X"),
        ("text", 'Ada saw,0,3,"P"R', "Ada saw,0,3,P", "Ada saw,4,7,X", "Bob,0,3,X"),
        ("text", 'Ada saw,0,3,"P', "Ada saw,0,3,P", "Ada saw,4,7,X", "Bob,0,3,X"),
        ("text", '"A\n\nd\na",0', '"A\n\nd\na",0,3,P', '"A\n\nd\na",4,6,X', "Bob,0,3,X"),
    ],
)
def test_a_first_row_at_fault_takes_its_text_with_it(
    header: str, torn: str, mended: str, second: str, other: str
) -> None:
    file = f"{header},start,end,label\n{torn}\n{second}\n{other}\n".encode()
    good, bad = good_and_bad(FORMAT, file)
    assert [len(one.spans) for one in good if isinstance(one, TextDocument)] == [1]
    assert [one.raw.decode() for one in bad] == [f"{torn}\n{second}\n"]
    corrected = rejects_file(FORMAT, file).decode().replace(torn, mended, 1)
    (document,) = only(FORMAT, corrected.encode())
    assert isinstance(document, TextDocument)
    assert [span.label for span in document.spans] == ["P", "X"]


@pytest.mark.parametrize(
    ("torn", "taken"),
    [
        ("7,Ada,0,3", ["7,Ada,4,7,X", "7,,4,7,X"]),
        ('7,"Ada saw,0,3,P', ["7,Ada saw,4,7,X", "7,Ada saw,4,7,Y"]),
        ('7,"Ada "saw"",0,3,P', ['7,"Ada ""saw""",4,7,X']),
        ("7", ["7,Ada,0,3,X", "7,Ada,0,3,Y"]),
        ('8,"Ada', []),
        ("7,Ada,0", ['7,"Ada,0', "7,Ada"]),
    ],
)
def test_behind_a_torn_row_the_texts_of_others_with_its_key_are_their_own(
    torn: str, taken: list[str]
) -> None:
    lines = [torn, *taken, "7,Bob,0,3,X", "7,Bob,1,3,Y", "7,Cid,0,3,Z", ""]
    good, bad = good_and_bad(FORMAT, "\n".join(["id,text,start,end,label", *lines]).encode())
    assert [one.raw.decode() for one in bad] == ["\n".join([torn, *taken, ""])]
    assert [(one.content, len(one.spans)) for one in good if isinstance(one, TextDocument)] == [
        ("Bob", 2),
        ("Cid", 1),
    ]


def test_behind_a_torn_row_without_a_number_a_text_that_has_one_is_its_own() -> None:
    file = b"id,document,text,start,end,label\n7,,Ada,0,3\n7,1,Ada,0,3,X\n"
    good, bad = good_and_bad(FORMAT, file)
    assert (len(good), [one.raw for one in bad]) == (1, [b"7,,Ada,0,3\n"])


def test_a_text_with_a_row_in_which_no_cell_is_known_stays_together() -> None:
    torn = b'7,,"Ada"x,0,3,P\n7,,Adax,0,3,X\n'
    file = b"id,document,text,start,end,label\n" + torn + b"8,,Bob,0,9,X\n"
    again = rejects_file(FORMAT, file)
    assert again.endswith(torn + b"8,rejected-2,Bob,0,9,X\r\n")
    assert len(good_and_bad(FORMAT, again)[1]) == 2


def test_a_torn_row_takes_no_text_of_others_with_its_key() -> None:
    file = b"id,text,start,end,label\n7,Ada,0,3,X\n7,Bob,0\n7,Cid,0,3,Z\n"
    good, bad = good_and_bad(FORMAT, file)
    assert [one.raw for one in bad] == [b"7,Bob,0\n"]
    assert len(good) == 2


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("spec", "key", "content", "metadata"),
    [
        ({"key": {"template": "proj-{key}"}}, "proj-a", "Ada saw", {"by": "eve"}),
        ({"content": {"template": "{content} ({key})"}}, "a", "Ada saw (a)", {"by": "eve"}),
        ({"of": {"template": "text {key}"}}, "a", "Ada saw", {"of": "text a", "by": "eve"}),
        ({"of": {"template": "{key}{none}"}}, "a", "Ada saw", {"of": "a", "by": "eve"}),
    ],
)
def test_a_template_goes_by_what_stands_in_the_first_row_of_a_text(
    form: str, spec: dict[str, object], key: str, content: str, metadata: dict[str, object]
) -> None:
    spans = (Span(0, 3, "PER"), Span(4, 7, "X", metadata={"n": 1}))
    file = written(format_named(form), [TextDocument("Ada saw", spans, "a", (), {"by": "eve"})])
    options = ReadOptions(mapping=parsed_mapping(spec))
    expected = TextDocument(content, spans, key, (), metadata)
    assert only(format_named(form), file, options) == [expected]


def test_a_template_of_annotations_goes_by_each_row() -> None:
    options = ReadOptions(mapping=parsed_mapping({"label": {"template": "{kind}{more}"}}))
    file = b"text,start,end,kind,more\nAda saw,0,3,P,-x\nAda saw,4,7,Q,\n"
    (document,) = only(FORMAT, file, options)
    assert isinstance(document, TextDocument)
    assert [span.label for span in document.spans] == ["P-x", "Q"]


def test_columns_that_differ_among_the_rows_of_a_text_are_of_its_annotations() -> None:
    file = (
        b"text,start,end,label,by,source,note\n"
        b"Ada saw,0,3,PER,eve,web,\nAda saw,4,7,X,bob,web,late\nAda saw,4,7,Y,,,\n"
    )
    assert only(FORMAT, file) == [
        TextDocument(
            "Ada saw",
            (
                Span(0, 3, "PER", metadata={"by": "eve"}),
                Span(4, 7, "X", metadata={"by": "bob", "note": "late"}),
                Span(4, 7, "Y"),
            ),
            metadata={"source": "web"},
        )
    ]
    filled = b"document,text,start,end,label,by\n1,Ada,0,3,PER,eve\n1,,0,2,X,\n"
    (document,) = only(FORMAT, filled)
    assert isinstance(document, TextDocument)
    assert document.metadata == {"by": "eve"}


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("labels", "a", "b"),
        ("key", "a", "b"),
        ("text_metadata", '"{""a"":1}"', '"{""a"":2}"'),
        ("note", "", "b"),
    ],
)
def test_what_a_later_row_says_otherwise_of_its_text_is_not_dropped(
    header: str, first: str, second: str
) -> None:
    file = f"document,text,{header},label\n1,Ada,{first},X\n1,Ada,{second},Y\n2,Bob,{first},\n"
    good, bad = good_and_bad(FORMAT, file.encode())
    assert len(good) == 1
    assert [(one.line, one.code) for one in bad] == [(3, "fields_differ")]
    assert f"another {header!r} than" in bad[0].message


@pytest.mark.parametrize("key", ["", "id,"])
def test_texts_that_are_alike_stay_two_when_they_are_corrected(key: str) -> None:
    name = "7," if key else ""
    file = (
        f"{key}text,start,end,label\n{name}Ada,0,9,X\n{name}Bob,0,3,Y\n"
        f'{name}Ada,0,8,Z\n{name}"A\nd",0,9,X'
    ).encode()
    assert len(good_and_bad(FORMAT, file)[1]) == 3
    mended = rejects_file(FORMAT, file).replace(b",9,", b",3,").replace(b",8,", b",3,")
    assert mended.startswith(b"document," + key.encode())
    assert [one.content for one in only(FORMAT, mended) if isinstance(one, TextDocument)] == [
        "Ada",
        "Ada",
        "A\nd",
    ]
    again = rejects_file(FORMAT, rejects_file(FORMAT, file))
    assert again == rejects_file(FORMAT, file)


@pytest.mark.parametrize(
    ("torn", "mended"), [(",Ada,0,8,Z", ",Ada,0,3,Z"), (',"Ada,0,3,Z', ",Ada,0,3,Z")]
)
def test_texts_whose_own_number_is_empty_get_one_when_they_are_rejected(
    torn: str, mended: str
) -> None:
    lines = [",Ada,0,9,X", "2,Bob,0,3,Y", torn, "3,Cid,0,9,Y", ",Cid,0,9,Y", ""]
    file = "\n".join(["document,text,start,end,label", *lines]).encode()
    again = rejects_file(FORMAT, file)
    corrected = again.replace(torn.encode(), mended.encode()).replace(b",9,", b",3,")
    found = [one.content for one in only(FORMAT, corrected) if isinstance(one, TextDocument)]
    assert found == ["Ada", "Ada", "Cid", "Cid"]
    assert rejects_file(FORMAT, again) == again


@pytest.mark.parametrize(
    ("header", "numbered"),
    [
        ("content,start_char,end_char,label", ["''=1+1,0,9,X\r", "''=1+1,0,8,X\r"]),
        ("text,start,end,label", ["'=1+1,0,9,X", "'=1+1,0,8,X"]),
        ("text,start,end,'=x", ["'=1+1,0,9,X", "'=1+1,0,8,X"]),
    ],
)
def test_numbers_of_rejects_cost_others_no_quote(header: str, numbered: list[str]) -> None:
    options = ReadOptions(mapping=parsed_mapping({"label": {"constant": "X"}}))
    file = f"{header}\n'=1+1,0,9,X\nBob,0,3,X\n'=1+1,0,8,X\n".encode()
    rejected = f"document,{header}\r\n1,{numbered[0]}\n2,{numbered[1]}\n"
    assert rejects_file(FORMAT, file, options).decode() == rejected
    assert rejects_file(FORMAT, rejected.encode(), options).decode() == rejected
    mended = rejected.replace(",9,", ",1,").replace(",8,", ",1,").encode()
    found = [one for one in only(FORMAT, mended, options) if isinstance(one, TextDocument)]
    assert [one.content for one in found] == ["'=1+1", "'=1+1"]
    assert [set(one.metadata) for one in found] == [{"'=x"} & set(header.split(","))] * 2


def test_one_rejected_text_has_a_number_where_it_may_be_two() -> None:
    file = b"text,labels\nAda,a\nAda,b\nBob,\n"
    again = rejects_file(FORMAT, file)
    assert again == b"document,text,labels\r\n1,Ada,a\n1,Ada,b\n"
    assert only(FORMAT, again.replace(b"1,Ada,b", b"2,Ada,b")) == [
        TextDocument("Ada", labels=("a",)),
        TextDocument("Ada", labels=("b",)),
    ]


RENAMED = {"Text": "content", "Meta": "text_metadata", "Said": "selected_text"}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("back", [{v: k for k, v in RENAMED.items()}, {"content": "Text"}])
def test_an_export_with_names_of_ones_own_comes_in_again(form: str, back: dict[str, str]) -> None:
    document = TextDocument("=1+1 is two", (Span(0, 4, "SUM"), Span(5, 7, "-x")), "=k")
    options = WriteOptions(mapping=parsed_mapping(RENAMED))
    file = written(format_named(form), [document], options)
    (found,) = only(format_named(form), file, ReadOptions(mapping=parsed_mapping(back)))
    assert isinstance(found, TextDocument)
    assert (found.content, found.key) == (document.content, document.key)
    assert [(span.start, span.label) for span in found.spans] == [(0, "SUM"), (5, "-x")]


def test_an_export_without_some_of_its_columns_comes_in_again() -> None:
    document = TextDocument("=1+1 is two", (Span(0, 4, "SUM"),), "a")
    read = csv.DictReader(io.StringIO(written(FORMAT, [document]).decode(), newline=""))
    names = [name for name in read.fieldnames or () if name[:4] not in ("sele", "conf")]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(read)
    assert only(FORMAT, out.getvalue().encode()) == [document]


@pytest.mark.parametrize("cell", ["x{}", "x"])
def test_a_text_of_many_columns_is_held_in_little_memory(cell: str) -> None:
    names = ",".join(f"c{n}" for n in range(900))
    row = ",".join([cell] * 900)
    rows = "".join(f"Ada,0,3,X,{row.format(*[n % 7] * 900)}\n" for n in range(600))
    file = f"text,start,end,label,{names}\n{rows}".encode()
    tracemalloc.start()
    try:
        good, bad = good_and_bad(FORMAT, file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [one.code for one in bad] == ["too_wide"] * ("{" in cell)
    assert len(good) + len(bad) == 1
    assert peak < 90_000_000


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"a,b\n1,2\n", "no column is the content"),
        (b"text,x,x\n1,2,3\n", "twice"),
        (b'text,"x\n1,2\n', "line 1"),
        (b"\n\n", "no row"),
    ],
)
def test_headers_that_cannot_be_used(file: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        only(FORMAT, file)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("Ada,x,3,PER,,", "not_a_number"),
        ("Ada,0,,PER,,", "not_a_number"),
        ("Ada,0,9,PER,,", "span_out_of_range"),
        ("Ada,3,3,PER,,", "span_out_of_range"),
        ("Ada,0,3,,,", "not_text"),
        ("Ada,0,3,PER,2,", "confidence_out_of_range"),
        ("Ada,0,3,PER,nan,", "not_a_number"),
        ("Ada,0,3,PER,,Bob", "text_mismatch"),
        (",0,3,PER,,", "no_content"),
    ],
)
def test_rows_that_are_no_annotation(row: str, code: str) -> None:
    header = "text,start,end,label,confidence,selected_text\n"
    good, bad = good_and_bad(FORMAT, f"{header}{row}\nBob,0,3,PER,1,Bob\n".encode())
    assert [one.code for one in bad] == [code]
    assert len(good) == 1


def test_offsets_in_other_units() -> None:
    file = "text,start,end,label\n😀é x,4,5,A\n".encode()
    assert good_and_bad(FORMAT, file)[1][0].code == "span_out_of_range"
    utf16 = only(FORMAT, file, ReadOptions(offsets=OffsetUnit.UTF16))
    assert utf16 == [TextDocument("😀é x", (Span(3, 4, "A"),))]
    in_bytes = "text,start,end,label\n😀é x,4,6,A\n".encode()
    assert only(FORMAT, in_bytes, ReadOptions(offsets=OffsetUnit.BYTES)) == [
        TextDocument("😀é x", (Span(1, 2, "A"),))
    ]


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n@x", "\uff1d1"],
)
def test_no_cell_is_run_as_a_formula(cell: str) -> None:
    document = TextDocument(cell, (Span(0, 1, cell),), cell, (cell,))
    file = written(FORMAT, [document])
    for row in list(csv.reader(io.StringIO(file.decode(), newline="")))[1:]:
        assert not any(each.lstrip()[:1] in tuple("=+-@\uff1d") and each.strip() for each in row)
    assert only(FORMAT, file) == [document]


def test_a_negative_number_is_no_formula() -> None:
    assert guarded("-5") == "-5"
    assert guarded("-5.25") == "-5.25"
    assert guarded("-5+1") == "'-5+1"
    document = TextDocument("-5", key="-5")
    file = written(FORMAT, [document])
    assert b"1,-5,-5," in file
    assert only(FORMAT, file) == [document]
    assert only(FORMAT, b"text\n'-5\n-5\n") == [TextDocument("-5")]


def test_a_quote_of_others_before_what_looks_like_a_formula_is_theirs() -> None:
    file = b"text,start,end,label,'=x\n'-ish words,0,4,X,'+1\n"
    assert only(FORMAT, file) == [
        TextDocument("'-ish words", (Span(0, 4, "X"),), metadata={"'=x": "'+1"})
    ]


def test_guards_of_a_table_with_renamed_columns_come_off() -> None:
    document = TextDocument("=1+1", (Span(0, 4, "=x"),))
    renamed = {"body": "content", "class": "label", "from": "start_char"}
    file = written(FORMAT, [document], WriteOptions(mapping=parsed_mapping(renamed)))
    back = {ours: theirs for theirs, ours in renamed.items()}
    assert only(FORMAT, file, ReadOptions(mapping=parsed_mapping(back))) == [document]


@given(texts | st.from_regex(r"'{0,3}[=+\-@\t\r]?[0-9']{0,3}", fullmatch=True))
@STEADY
def test_guards_come_off_again(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
