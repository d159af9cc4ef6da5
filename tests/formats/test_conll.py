"""CoNLL: schemes, columns, comments, documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.systems.annotations.formats.conll import FORMAT
from domain.systems.annotations.formats.conll_tags import Scheme, entities, scheme_of, tags_of
from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    ReadOptions,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Span, TextDocument
from tests.formats.data import STEADY
from tests.formats.files import good_and_bad, only, rejects_file, written

ADA = TextDocument("Ada Lovelace saw Paris", (Span(0, 12, "PER"), Span(17, 22, "LOC")))


def file(*rows: str) -> bytes:
    return "\n".join(rows).encode() + b"\n"


def test_the_shape_of_our_files() -> None:
    assert written(FORMAT, [ADA]).decode() == (
        "-DOCSTART- -X- O O\n\n"
        "Ada -X- _ B-PER\nLovelace -X- _ I-PER\nsaw -X- _ O\nParis -X- _ B-LOC\n\n"
    )


@pytest.mark.parametrize(
    "tags",
    [
        "I-PER I-PER O I-LOC",
        "B-PER I-PER O B-LOC",
        "B-PER E-PER O S-LOC",
        "B-PER L-PER O U-LOC",
        "B-PER E-PER O W-LOC",
    ],
)
@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_schemes_and_separators_are_found(tags: str, separator: str) -> None:
    rows = [separator.join(row) for row in zip(ADA.content.split(), tags.split(), strict=True)]
    assert only(FORMAT, file(*rows)) == [ADA]


def test_iob1_in_which_every_entity_begins_with_i() -> None:
    rows = ["U.N. I-ORG", "official O", "Ekeus I-PER", "Smith B-PER", "Paris I-LOC"]
    (document,) = only(FORMAT, file(*rows))
    assert isinstance(document, TextDocument)
    assert [(document.content[s.start : s.end], s.label) for s in document.spans] == [
        ("U.N.", "ORG"),
        ("Ekeus", "PER"),
        ("Smith", "PER"),
        ("Paris", "LOC"),
    ]


def test_the_four_columns_of_2003_with_chunks_before_the_tags() -> None:
    rows = [
        "-DOCSTART- -X- -X- O",
        "",
        "EU NNP B-NP B-ORG",
        "rejects VBZ B-VP O",
        "German JJ B-NP B-MISC",
        "call NN I-NP O",
        "",
        "Peter NNP B-NP B-PER",
        "",
        "-DOCSTART- -X- -X- O",
        "",
        "Rome NNP B-NP B-LOC",
    ]
    assert only(FORMAT, file(*rows)) == [
        TextDocument(
            "EU rejects German call\nPeter",
            (Span(0, 2, "ORG"), Span(11, 17, "MISC"), Span(23, 28, "PER")),
        ),
        TextDocument("Rome", (Span(0, 4, "LOC"),)),
    ]


def test_the_tag_may_stand_in_any_column() -> None:
    rows = ["Ada\tB-PER\tada\tNNP", "saw\tO\tsee\tVBD"]
    assert only(FORMAT, file(*rows)) == [TextDocument("Ada saw", (Span(0, 3, "PER"),))]
    rows = ["B-PER Ada", "O saw"]
    assert only(FORMAT, file(*rows)) == [TextDocument("Ada saw", (Span(0, 3, "PER"),))]
    rows = ["1 Ada B-NP B-PER", "2 saw B-VP O"]
    options = ReadOptions(dialect={"token": "2", "tag": "3"})
    assert only(FORMAT, file(*rows), options) == [
        TextDocument("Ada saw", (Span(0, 3, "NP"), Span(4, 7, "VP")))
    ]
    with pytest.raises(FileRefused, match="from 1 to 4"):
        only(FORMAT, file(*rows), ReadOptions(dialect={"tag": "5"}))


def test_tokens_with_a_number_sign_are_no_comments() -> None:
    rows = [
        "# id 6c3e2f domain=en",
        "# a comment of five words",
        "#Brexit B-MISC",
        "# O",
        "1 O",
        "#newdoc O",
    ]
    (document,) = only(FORMAT, file(*rows))
    assert document == TextDocument(
        "#Brexit # 1 #newdoc", (Span(0, 7, "MISC"),), "6c3e2f domain=en"
    )
    out = written(FORMAT, [TextDocument("#Brexit # 1 #newdoc")])
    assert only(FORMAT, out) == [TextDocument("#Brexit # 1 #newdoc")]


@pytest.mark.parametrize(
    ("begin", "key"),
    [
        ("-DOCSTART- -X- O O", None),
        ("-DOCSTART- (doc 7)", "doc 7"),
        ("-DOCSTART- -X- -X- O doc-7", "doc-7"),
        ("-DOCSTART-\tO", None),
        ("#begin document (bc/cctv/0001); part 000", "bc/cctv/0001/000"),
        ("# newdoc id = n7", "n7"),
        ("# doc_id = d7", "d7"),
    ],
)
def test_documents_and_their_names(begin: str, key: str | None) -> None:
    rows = [begin, "Ada B-PER", "", "saw O", "#end document", begin, "Rome B-LOC"]
    first, second = only(FORMAT, file(*rows))
    assert first == TextDocument("Ada\nsaw", (Span(0, 3, "PER"),), key)
    assert second == TextDocument("Rome", (Span(0, 4, "LOC"),), key)


def test_without_documents_each_sentence_is_one_and_named_by_its_comment() -> None:
    rows = ["# sent_id = s1", "Ada B-PER", "", "", "# sent_id = s2", "saw O"]
    assert only(FORMAT, file(*rows)) == [
        TextDocument("Ada", (Span(0, 3, "PER"),), "s1"),
        TextDocument("saw", key="s2"),
    ]


def test_tokens_may_have_blanks_where_tabs_set_columns_apart() -> None:
    rows = ["New York\tB-LOC", "10 000\tO"]
    assert only(FORMAT, file(*rows)) == [TextDocument("New York 10 000", (Span(0, 8, "LOC"),))]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("saw", "wrong_width"),
        ("saw it O", "wrong_width"),
        ("saw X-PER", "bad_tag"),
        ("saw I-LOC", "bad_sequence"),
        ("saw b-per", "bad_tag"),
    ],
)
def test_a_line_at_fault_is_named_and_takes_its_sentence_with_it(row: str, code: str) -> None:
    rows = ["Ada B-PER", "ran O", "", "Bob B-PER", row, "", "Rome B-LOC", "is O"]
    good, bad = good_and_bad(FORMAT, file(*rows))
    assert [one.content for one in good if isinstance(one, TextDocument)] == ["Ada ran", "Rome is"]
    assert [(one.line, one.code) for one in bad] == [(5, code)]
    assert rejects_file(FORMAT, file(*rows)) == file("Bob B-PER", row, "")


def test_an_explicit_scheme_wins() -> None:
    rows = file("Ada I-PER", "Bob B-PER")
    assert only(FORMAT, rows)
    assert good_and_bad(FORMAT, rows, ReadOptions(scheme="bio"))[1][0].code == "bad_sequence"
    bioes = file("Ada B-PER", "Bob O")
    assert good_and_bad(FORMAT, bioes, ReadOptions(scheme="bioes"))[1][0].code == "bad_sequence"
    with pytest.raises(FileRefused, match="choose one of"):
        only(FORMAT, rows, ReadOptions(scheme="iob9"))


def test_prose_and_tables_are_refused() -> None:
    for other in (b"Just some words.\nAnd more of them.\n", b"a,b\n1,2\n", b"\n\n\n"):
        with pytest.raises(FileRefused, match="no column has tags"):
            only(FORMAT, other)


def test_what_is_lost_is_named() -> None:
    def lost(document: TextDocument) -> set[str]:
        assert FORMAT.losses is not None
        return {loss.code for loss in FORMAT.losses(document, WriteOptions())}

    assert lost(ADA) == set()
    assert lost(TextDocument(" \t")) == {"document"}
    assert lost(TextDocument("two  blanks")) == {"content"}
    assert lost(TextDocument("Ada", key="k", labels=("x",), metadata={"a": 1})) == {
        "key",
        "document_labels",
        "document_metadata",
    }
    overlapping = TextDocument("Ada Bob", (Span(0, 7, "X"), Span(4, 7, "Y")))
    assert lost(overlapping) == {"span"}
    assert lost(TextDocument("Ada x", (Span(0, 4, "X"),))) == {"span_offsets"}
    assert lost(TextDocument("Ada", (Span(0, 3, "a b"),))) == {"span_label"}
    assert lost(TextDocument("Ada", (Span(0, 3, "X", 0.5, {"a": 1}),))) == {
        "span_confidence",
        "span_metadata",
    }
    assert "content" in lost(TextDocument("Berlin-based", (Span(0, 6, "LOC"),)))


def test_a_text_may_look_like_the_beginning_of_a_document() -> None:
    document = TextDocument("a -DOCSTART- b")
    assert FORMAT.losses is not None
    assert [loss.code for loss in FORMAT.losses(document, WriteOptions())] == ["content"]
    assert only(FORMAT, written(FORMAT, [document])) == [TextDocument("a DOCSTART b")]


def test_a_million_columns_and_a_document_without_end() -> None:
    wide = b"-DOCSTART- O\nAda O\nBob" + b" x" * 1_000_000 + b"\n\n-DOCSTART- O\n\nRome O\n"
    good, bad = good_and_bad(FORMAT, wide)
    assert good == [TextDocument("Rome")]
    assert [(one.line, one.code) for one in bad] == [(3, "wrong_width")]
    endless = b"-DOCSTART- O\n" + b"Ada O\n" * 30_000 + b"-DOCSTART- O\nRome O\n"
    good, bad = good_and_bad(FORMAT, endless, ReadOptions(bounds=Bounds(line=100_000)))
    assert good == [TextDocument("Rome")]
    assert [(one.code, one.raw) for one in bad] == [("too_long", b"")]


sentences = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["", "PER", "LOC"])), min_size=1, max_size=8
)


@given(sentences, st.sampled_from(Scheme))
@STEADY
def test_tags_stand_for_the_entities_they_were_made_from(
    parts: list[tuple[int, str]], scheme: Scheme
) -> None:
    marked, at = [], 0
    for length, label in parts:
        if label:
            marked.append((at, at + length, label))
        at += length
    tags = tags_of(at, marked, scheme)
    assert entities(tags, scheme) == marked
    if marked and scheme is not Scheme.BIO:
        assert scheme_of([tags]) is scheme


@pytest.mark.parametrize("scheme", ["iob1", "bio", "bioes"])
def test_the_scheme_is_told_by_the_first_entity_however_far_it_stands(scheme: str) -> None:
    documents = [
        TextDocument("nothing here " * 10_000 + "."),
        TextDocument("Ada Lovelace saw London", (Span(0, 12, "PER"), Span(17, 23, "LOC"))),
    ]
    file = written(FORMAT, documents, WriteOptions(scheme=scheme))
    found = only(FORMAT, file)
    assert [one.spans for one in found if isinstance(one, TextDocument)] == [
        (),
        (Span(0, 12, "PER"), Span(17, 23, "LOC")),
    ]
    assert only(FORMAT, file, ReadOptions(scheme=scheme)) == found
