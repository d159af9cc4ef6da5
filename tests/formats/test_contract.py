"""What every format of texts promises, tried on each of them."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats.contract import (
    Bounds,
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import Rejected, TextDocument
from domain.systems.annotations.formats.registry import FORMATS, detected
from tests.formats import data
from tests.formats.files import everything, good_and_bad, only, rejects_file, written
from tests.sampled import sampled

TEXT_FORMATS = [form for form in FORMATS if form.subject is Subject.TEXT]
each = pytest.mark.parametrize("form", TEXT_FORMATS, ids=lambda form: form.name)
# A workbook has its own encoding and bounds of cells: test_spreadsheet.py tries those.
AS_TEXT = [form for form in TEXT_FORMATS if form.name != "xlsx"]
each_as_text = pytest.mark.parametrize("form", AS_TEXT, ids=lambda form: form.name)

# How one document of a file is broken, and mended again in the file of rejects.
BREAKS = {
    "csv": (b",MARK,", b',"MA"RK",'),
    "conll": (b"B-MARK", b"Q-MARK"),
    "doccano": (b'"MARK"', b'"MARK'),
    "json": (b'"label":"MARK"', b'"label":"MARK'),
    "labelstudio": (b'"labels":["MARK"]', b'"labels":["MARK]'),
    "xml": (b' label="MARK"', b' label="MARK'),
    "jsonl": (b'"label":"MARK"', b'"label":"MARK'),
}

FEW = settings(data.STEADY, max_examples=sampled(15))


def dropped(form: Format, document: TextDocument) -> set[str]:
    assert form.losses is not None
    return {loss.code for loss in form.losses(document, WriteOptions())}


def rejected_or_refused(form: Format, file: bytes) -> list[Rejected]:
    """What is rejected of a file; nothing where all of it is refused."""
    with suppress(FileRefused):
        return good_and_bad(form, file)[1]
    return []


@each
@given(st.lists(data.documents(), max_size=4))
@settings(data.STEADY, max_examples=sampled(25))
def test_what_is_written_comes_back_or_its_loss_was_named(
    form: Format, documents: list[TextDocument]
) -> None:
    losses = [dropped(form, document) for document in documents]
    expected = [
        (document, lost)
        for document, lost in zip(documents, losses, strict=True)
        if "document" not in lost
    ]
    if not expected:
        return
    found = only(form, written(form, documents))
    assert len(found) == len(expected)
    for after, (before, lost) in zip(found, expected, strict=True):
        assert isinstance(after, TextDocument)
        if not lost:
            assert data.ordered(after) == data.ordered(before)
        for name, code in (
            ("content", "content"),
            ("key", "key"),
            ("labels", "document_labels"),
            ("metadata", "document_metadata"),
        ):
            assert code in lost or getattr(after, name) == getattr(before, name)


@each
def test_plain_documents_lose_nothing(form: Format) -> None:
    documents = list(data.many(3))
    assert [dropped(form, document) for document in documents] == [set()] * 3
    assert only(form, written(form, documents)) == documents


@each
def test_a_file_is_known_by_what_it_holds(form: Format) -> None:
    stream = io.BytesIO(written(form, data.many(20)))
    assert detected(stream, "upload").name == form.name
    assert detected(stream, f"upload{form.suffix}").name == form.name
    assert detected(stream, "upload.dat").name == form.name
    assert stream.tell() == 0


@each_as_text
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_encodings_are_told_apart(form: Format, encoding: str) -> None:
    documents = [replace(data.plain(n), content=f"Zoë Köhler, “{n}” über Öl") for n in range(5)]
    documents = [replace(one, spans=(replace(one.spans[0], end=3),)) for one in documents]
    file = written(form, documents).decode().encode(encoding)
    assert only(form, file) == documents


@each_as_text
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_like(form: Format, end: str) -> None:
    documents = list(data.many(3))
    file = written(form, documents).decode().replace("\r\n", "\n").replace("\n", end).encode()
    assert only(form, file) == documents


@each
def test_memory_does_not_grow_with_the_file(form: Format, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}{form.suffix}"
        assert form.write is not None
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with path.open("wb") as out:
            for piece in form.write(data.many(count), WriteOptions()):
                out.write(piece)
        with path.open("rb") as stream:
            assert sum(1 for _ in form.read(stream, ReadOptions())) == count
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(300)
        # The smaller one is larger than what readers look at before they begin.
        small, large = peak(900), peak(2700)
    finally:
        tracemalloc.stop()
    assert large < small + 256 * 1024


@each
@given(st.integers(0, 3000))
@FEW
def test_a_file_cut_off_gives_what_was_whole(form: Format, at: int) -> None:
    documents = list(data.many(6))
    file = written(form, documents)
    try:
        found = good_and_bad(form, file[:at])[0]
    except FileRefused:
        return
    # The last one may have lost lines that nobody can tell are missing.
    whole = max(0, len(found) - 1)
    assert found[:whole] == documents[:whole]


@each
@given(st.lists(st.tuples(st.integers(0, 1500), st.binary(max_size=4)), min_size=1, max_size=6))
@FEW
def test_damage_is_reported_and_raises_nothing_else(
    form: Format, damages: list[tuple[int, bytes]]
) -> None:
    file = written(form, data.many(6))
    for at, instead in damages:
        file = file[:at] + instead + file[at + 2 :]
    for rejected in rejected_or_refused(form, file):
        assert rejected.line >= 1
        assert rejected.code
        assert rejected.message


@each
@given(st.binary(max_size=200))
@FEW
def test_what_is_no_such_file_raises_nothing_else(form: Format, file: bytes) -> None:
    for rejected in rejected_or_refused(form, file):
        assert rejected.message


@each
@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n" + bytes(100),
        b"\x1f\x8b\x08" + bytes(100),
        bytes(1000),
        bytes(range(256)) * 8,
        b"\xff\xfe\0\0" + "text".encode("utf-32-le"),
    ],
    ids=["empty", "png", "zip", "pdf", "gzip", "zeros", "binary", "utf-32"],
)
def test_another_kind_of_file_is_refused_under_a_right_name(form: Format, file: bytes) -> None:
    with pytest.raises(FileRefused):
        everything(form, file)


@each_as_text
def test_a_document_too_large_is_left_out_and_the_rest_goes_on(form: Format) -> None:
    large = replace(
        data.plain(1),
        content=data.plain(1).content + " word" * 50_000,
        spans=data.plain(1).spans[:1],
    )
    documents = [data.plain(0), large, data.plain(2)]
    options = ReadOptions(bounds=Bounds(line=100_000))
    good, bad = good_and_bad(form, written(form, documents), options)
    assert good == [data.plain(0), data.plain(2)]
    assert [(one.code, one.raw) for one in bad] == [("too_long", b"")]


def _endless(form: Format, size: int) -> Iterator[bytes]:
    """A file whose second document has a field of ``size`` bytes."""
    whole = written(form, [data.plain(0), replace(data.plain(1), content="MARK"), data.plain(2)])
    before, after = whole.split(b"MARK", 1)
    yield before
    for _ in range(size // 100_000):
        yield b"x" * 100_000
    yield after


@each_as_text
def test_a_field_of_many_megabytes_takes_no_memory(form: Format, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as out:
        out.writelines(_endless(form, sampled(30_000_000)))
    options = ReadOptions(bounds=Bounds(line=200_000))
    tracemalloc.start()
    try:
        with path.open("rb") as stream:
            found = list(form.read(stream, options))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert next(one for one in found if not isinstance(one, Rejected)) == data.plain(0)
    assert peak < 4_000_000


@each_as_text
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_the_rejects_corrected_bring_it_to_all(form: Format, encoding: str) -> None:
    right, wrong = BREAKS[form.name]
    documents = [data.plain(n) for n in range(9)]
    for n in (0, 4, 5, 8):
        spans = (replace(documents[n].spans[0], label="MARK"), documents[n].spans[1])
        documents[n] = replace(documents[n], spans=spans)
    file = written(form, documents)
    broken = file.replace(right, wrong)
    assert broken != file
    broken = broken.decode().encode(encoding)
    good, bad = good_and_bad(form, broken)
    assert good == [documents[n] for n in (1, 2, 3, 6, 7)]
    assert bad
    rejects = rejects_file(form, broken)
    again, still = good_and_bad(form, rejects)
    assert again == []
    assert [one.code for one in still] == [one.code for one in bad]
    mended = rejects.decode(encoding).encode().replace(wrong, right)
    assert only(form, mended) == [documents[n] for n in (0, 4, 5, 8)]
