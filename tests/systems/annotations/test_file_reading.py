"""Files are read a block at a time; labels that they name are made once."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from domain.errors import FileRefused, InvalidCommand
from domain.systems.annotations import tables
from domain.systems.annotations.formats.contract import ReadOptions
from domain.systems.annotations.formats.documents import Document, Rejected, TextDocument
from domain.systems.annotations.formats.json_lines import read_lines
from domain.systems.annotations.formats.mapping import Path
from domain.systems.annotations.formats.records import text_of
from domain.systems.annotations.formats.spill import Spill
from streams.callers import Caller
from streams.stores.database import Database
from streams.stores.payloads import MAX_LINE_BYTES
from streams.systems.annotations.file_reading import (
    BLOCK,
    MAX_LABELS,
    SPILLED,
    TOLD,
    FileReader,
    Wanted,
)
from streams.systems.annotations.labelling import add_labels
from tests.formats.images import packed
from tests.systems.annotations.conftest import Ground

ONE = TextDocument("one")


class Noon:
    def now(self) -> datetime:
        return datetime(2026, 11, 26, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def line(content: str, *labels: str) -> bytes:
    spans = [{"start_char": 0, "end_char": 1, "label": label} for label in labels]
    return json.dumps({"content": content, "annotations": spans}).encode() + b"\n"


def test_a_block_is_bounded_whatever_the_file_has() -> None:
    file = io.BytesIO((line("x" * 1000, "a") + b"{}\n") * 1000)
    with Spill(SPILLED) as spill:
        reader = FileReader(file, Wanted(format="jsonl"), spill)
        blocks = list(iter(reader.block, b""))
        rejects = b"".join(reader.rejects())
    assert max(map(len, blocks)) < BLOCK + 2000
    assert sum(block.count(b"\n") for block in blocks) == 1000
    summary = reader.summary()
    assert (summary["accepted"], summary["rejected"], len(summary["rejects"])) == (1000, 1000, TOLD)
    assert rejects == b"{}\n" * 1000


def test_a_text_that_no_item_can_be_is_rejected_alone() -> None:
    file = io.BytesIO(line("a", "x") + line("b" * MAX_LINE_BYTES) + line("c"))
    with Spill(SPILLED) as spill:
        reader = FileReader(file, Wanted(format="jsonl"), spill)
        assert sum(block.count(b"\n") for block in iter(reader.block, b"")) == 2
        assert reader.summary()["rejects"] == [
            {
                "line": 2,
                "file": None,
                "code": "too_large",
                "message": "document 2 has more than 1,000,000 bytes; split the text",
                "kept": False,
            }
        ]


def data_set(names: list[str], boxes: int, label: str = "dog") -> bytes:
    """Images of so many boxes each."""
    return json.dumps(
        {
            "images": [
                {"id": n, "file_name": name, "width": 640, "height": 480}
                for n, name in enumerate(names)
            ],
            "annotations": [
                {"image_id": n, "category_id": 1, "bbox": [place % 600, 0.123456789, 30, 40]}
                for n in range(len(names))
                for place in range(boxes)
            ],
            "categories": [{"id": 1, "name": label}],
        }
    ).encode()


def test_images_come_in_blocks_and_one_that_no_item_can_be_is_rejected_alone() -> None:
    file = io.BytesIO(data_set([f"{n}.jpg" for n in range(40)], 100))
    with Spill(SPILLED) as spill:
        reader = FileReader(file, Wanted(name="x.json", new_labels=True), spill)
        blocks = list(iter(reader.block, b""))
        assert max(map(len, blocks)) < BLOCK + 10_000
        assert sum(block.count(b"\n") for block in blocks) == 40
        assert (reader.accepted, reader.annotations, list(reader.labels)) == (40, 4_000, ["dog"])
    file = io.BytesIO(data_set(["a.jpg"], 6_000, "d" * 150))
    with Spill(SPILLED) as spill:
        reader = FileReader(file, Wanted(name="x.json"), spill)
        with pytest.raises(FileRefused, match=r"1,000,000 bytes; give the boxes .* several files"):
            reader.block()


def test_half_a_character_rejects_its_document_and_no_other() -> None:
    broken = b'{"content": "a", "metadata": {"x": "\\ud800"}}\n'
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(line("b") + broken), Wanted(format="jsonl"), spill)
        assert sum(block.count(b"\n") for block in iter(reader.block, b"")) == 1
        assert reader.summary()["codes"] == {"not_text": 1}


@pytest.mark.parametrize(
    "broken",
    [
        b'{"content": "a", "metadata": {"x": ["\\ud800"]}}\n',
        b'{"content": "a", "metadata": {"\\udfff": 1}}\n',
        b'{"content": "a", "y": "\\ud800"}\n',
        b'{"text": "a", "annotations": [{"start": 0, "end": 1, "label": "x", "z": "\\ud800"}]}\n',
    ],
)
def test_half_a_character_in_metadata_is_told_by_its_line_and_can_be_corrected(
    broken: bytes,
) -> None:
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(b"\n\n" + line("b") + broken), Wanted(format="jsonl"), spill)
        assert sum(block.count(b"\n") for block in iter(reader.block, b"")) == 1
        (told,) = reader.summary()["rejects"]
        assert (told["line"], told["code"], told["kept"]) == (4, "not_text", True)
        assert b"".join(reader.rejects()) == broken


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("form", ["jsonl", "csv", "json", "conll"])
def test_rejects_of_a_text_in_utf_8_are_read_as_that_when_they_are_corrected(
    form: str, mark: bytes
) -> None:
    good = "Zoë aß über".encode()
    around = {
        "jsonl": (b"", b'{"content": "%s", "key": "%s"}\n', b""),
        "json": (b"[", b'{"content": "%s", "key": "%s"},\n', b'{"content": "x"}]'),
        "csv": (b"text,id\n", b"%s,%s\n", b""),
        "conll": (b"", b"%s O\n%s B-X\n\n", b""),
    }
    before, piece, after = around[form]
    torn = piece % (good.replace(b" ", b""), b"\xff\xfe\xfa\xff\xfe\xfa\xff")
    file = mark + before + piece % (b"a", good.replace(b" ", b"")) * 3 + torn + after
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(file), Wanted(format=form), spill)
        list(iter(reader.block, b""))
        rejects = b"".join(reader.rejects())
    assert rejects.count(b"\xef\xbb\xbf") == 1
    mended = rejects.replace(b"\xff\xfe\xfa\xff\xfe\xfa\xff", b"\xff")
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(mended), Wanted(format=form), spill)
        assert reader.encoding == "utf-8"


def test_rejects_that_are_known_by_themselves_have_no_mark() -> None:
    torn = '{"content": "Zoë aß über", "key": "'.encode() + b'\xff"}\n'
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(line("a") + torn), Wanted(format="jsonl"), spill)
        list(iter(reader.block, b""))
        assert b"".join(reader.rejects()) == torn


@pytest.mark.parametrize(
    ("file", "wanted", "pointer"),
    [
        (b"Ada B-X\nsaw O\n", Wanted(mapping={"content": Path("x")}), "/field_mapping"),
        (data_set(["a.jpg"], 1), Wanted(mapping={"key": Path("x")}), "/field_mapping"),
        (line("a"), Wanted(scheme="bio"), "/scheme"),
        (data_set(["a.jpg"], 1), Wanted(scheme="zero_based"), "/scheme"),
        (line("a"), Wanted(existing="refuse"), "/existing_images"),
        (packed({"labels/a.txt": b"0 .5 .5 .1 .1"}), Wanted(encoding="utf-8"), "/encoding"),
        (packed({"xl/workbook.xml": b""}), Wanted(encoding="cp1252"), "/encoding"),
    ],
)
def test_what_is_asked_for_and_the_format_has_no_use_for_is_refused(
    file: bytes, wanted: Wanted, pointer: str
) -> None:
    with (
        Spill(SPILLED) as spill,
        pytest.raises(InvalidCommand, match=r"leave it|mapping is for") as error,
    ):
        FileReader(io.BytesIO(file), wanted, spill)
    assert error.value.pointer == pointer


def test_a_table_is_known_in_the_encoding_that_is_said() -> None:
    file = "text,label\nЖж,x\nЩщ,y\n".encode("utf-16-le")
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(file), Wanted(encoding="utf-16-le"), spill)
        assert (reader.format.name, reader.encoding) == ("csv", "utf-16-le")
        assert b"".join(iter(reader.block, b"")).count(b"\n") == 2
    unlike = f"text,label\n{'Щщщ,Жж' * 50}\n".encode("utf-16-le")
    with Spill(SPILLED) as spill, pytest.raises(FileRefused, match=r"encoding is utf-16-le"):
        FileReader(io.BytesIO(unlike), Wanted(format="csv"), spill)


def test_what_nobody_foresaw_in_a_document_costs_it_and_is_logged() -> None:
    def item(document: Document) -> dict[str, str]:
        content = text_of(document).content
        if content == "odd":
            raise KeyError("nobody foresaw it")
        return {"content": content}

    with Spill(SPILLED) as spill, capture_logs() as logs:
        file = io.BytesIO(line("a") + line("odd") + line("b"))
        reader = FileReader(file, Wanted(format="jsonl"), spill)
        reader.intake = replace(reader.intake, item=item)
        blocks = b"".join(iter(reader.block, b""))
    assert blocks == b'{"content":"a"}\n{"content":"b"}\n'
    (told,) = reader.summary()["rejects"]
    assert (told["line"], told["code"], told["kept"]) == (2, "internal", False)
    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("a piece of a file met a fault of ours", "error")
    ]


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_what_is_no_fault_of_a_document_ends_the_reading(error: type[Exception]) -> None:
    def item(document: Document) -> dict[str, str]:
        raise error

    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(line("a")), Wanted(format="jsonl"), spill)
        reader.intake = replace(reader.intake, item=item)
        with pytest.raises(error):
            reader.block()


def test_what_nobody_foresaw_in_a_piece_is_logged_and_comes_back() -> None:
    def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
        return read_lines(stream, options, lambda value, _: TextDocument(value["content"]))

    with Spill(SPILLED) as spill, capture_logs() as logs:
        file = io.BytesIO(line("a") + b'{"x": 1}\n')
        reader = FileReader(file, Wanted(format="jsonl"), spill)
        reader._found = read(file, ReadOptions())
        assert sum(block.count(b"\n") for block in iter(reader.block, b"")) == 1
        assert reader.summary()["codes"] == {"internal": 1}
        assert b"".join(reader.rejects()) == b'{"x": 1}\n'
    assert [each["line"] for each in logs] == [2]


def test_a_refusal_and_a_reject_can_be_sent_whatever_the_file_has() -> None:
    with Spill(SPILLED) as spill:
        file = io.BytesIO("Überschrift;Länge\nä;5\n".encode("latin-1"))
        with pytest.raises(FileRefused) as refused:
            FileReader(file, Wanted(format="csv", encoding="utf-8"), spill).block()
        assert str(refused.value).encode()
        reader = FileReader(io.BytesIO(line("a")), Wanted(format="jsonl"), spill)
        reader._found = iter([Rejected(1, "odd", "half: \udcdc", b"x", "\udcdc.txt"), ONE])
        reader.block()
        assert json.dumps(reader.summary(), ensure_ascii=False).encode()


def test_a_file_of_labels_without_end_is_the_wrong_one() -> None:
    data = b"".join(line("x", f"label {number}") for number in range(MAX_LABELS + 1))
    with Spill(SPILLED) as spill:
        reader = FileReader(io.BytesIO(data), Wanted(format="jsonl", new_labels=True), spill)
        with pytest.raises(FileRefused, match="more than 1000 labels"):
            list(iter(reader.block, b""))
        reader = FileReader(io.BytesIO(data), Wanted(format="jsonl"), spill)
        assert len(list(iter(reader.block, b""))) > 0


async def test_labels_of_files_that_come_at_once_are_made_once(
    database: Database, ground: Ground
) -> None:
    ada = Caller("local", "ada")
    names = ["later", "thing", "n" * 201, *(f"l{number}" for number in range(50))]
    counts = await asyncio.gather(
        *(add_labels(database, Noon(), ada, ground.project, names) for _ in range(4))
    )
    assert sorted(counts) == [0, 0, 0, 51]
    label = tables.labels.c
    rows = database.read_now(
        lambda connection: connection.execute(
            select(label.name, label.order)
            .where(label.project_id == ground.project)
            .order_by(label.order, label.id)
        ).all()
    )
    assert [name for name, _ in rows][2:] == ["later", *(f"l{number}" for number in range(50))]
