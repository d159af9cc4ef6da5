"""File reading: what a file holds, as blocks of items, and what of it is rejected.

It runs in a thread of its own and holds a few documents at a time; what was rejected waits in a
nameless database until it is known whether the file is taken.
"""

from __future__ import annotations

import codecs
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, BinaryIO, Final

import structlog

from domain.errors import FileRefused, InvalidCommand
from domain.systems.annotations.formats import contract
from domain.systems.annotations.formats.archives import is_archive
from domain.systems.annotations.formats.contract import Format, ReadOptions, Subject
from domain.systems.annotations.formats.documents import Document, Rejected
from domain.systems.annotations.formats.encoding import Evidence, encoding_of
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.mapping import FieldMapping
from domain.systems.annotations.formats.registry import chosen
from domain.systems.annotations.formats.rejecting import unforeseen
from domain.systems.annotations.formats.validity import printable
from domain.systems.annotations.import_terms import refusal
from domain.systems.annotations.intakes import INTAKES, Intake
from streams.stores.payloads import MAX_LINE_BYTES

log = structlog.get_logger(__name__)

BLOCK: Final = 200_000
"""Bytes of items after which a block is handed on."""
TOLD: Final = 100
"""So many rejects are told of one by one in the summary; their file has them all."""
MAX_LABELS: Final = 1_000
"""A file that names more is not what it is taken for: its texts are read as labels, say."""

MAX_REJECTS: Final = 200_000_000
"""Bytes of what is rejected that are kept; a file that has more of it is the wrong one."""

SPILLED: Final = (
    "CREATE TABLE rejected (line INTEGER, code TEXT, message TEXT, raw BLOB, file TEXT)"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a file is to be read; what is None is found out.

    With a ``subject`` it must be a file of that, texts or images. ``existing`` is what was said of
    images that are there already.
    """

    name: str = ""
    subject: Subject | None = None
    format: str | None = None
    encoding: str | None = None
    scheme: str | None = None
    mapping: FieldMapping = field(default_factory=dict)
    new_labels: bool = False
    existing: str | None = None


@dataclass(slots=True)
class FileReader:
    """Reads a file once, from its beginning; raises FileRefused for one that cannot be taken."""

    file: BinaryIO
    wanted: Wanted
    spill: sqlite3.Connection
    format: Format = field(init=False)
    intake: Intake = field(init=False)
    encoding: str | None = field(init=False)
    archived: bool = field(init=False)
    """Whether it is a ZIP of files, as its file of rejects is then; a workbook is none."""
    accepted: int = 0
    annotations: int = 0
    rejected: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    labels: dict[str, None] = field(default_factory=dict)
    """Names of labels, in the order in which the file first has them, where they are wanted."""
    _evidence: Evidence = field(default_factory=Evidence)
    """Of what was rejected: where it tells of no UTF-8, a mark does."""
    _kept: int = 0
    _told: list[dict[str, Any]] = field(default_factory=list)
    _found: Iterator[Document | Rejected] = field(init=False)

    def __post_init__(self) -> None:
        wanted = self.wanted
        with _refusing():
            self.format = chosen(
                self.file,
                wanted.name,
                explicit=wanted.format,
                subject=wanted.subject,
                encoding=wanted.encoding,
            )
            self._check_wanted()
            self.intake = INTAKES[self.format.subject]
            self.encoding = wanted.encoding
            packed = is_archive(self.file)
            of_texts = self.format.subject is Subject.TEXT
            if of_texts and not packed:
                self.encoding = encoding_of(self.file, wanted.encoding).name
            self.archived = packed and not of_texts
        self._found = self.format.read(self.file, self._options)

    @property
    def _options(self) -> ReadOptions:
        wanted = self.wanted
        return ReadOptions(encoding=wanted.encoding, scheme=wanted.scheme, mapping=wanted.mapping)

    def _check_wanted(self) -> None:
        wanted = self.wanted
        wrong = refusal(
            self.format,
            mapping=wanted.mapping,
            scheme=wanted.scheme,
            encoding=wanted.encoding,
            existing=wanted.existing,
        )
        if wrong is not None:
            said, pointer = wrong
            raise InvalidCommand(said, pointer=pointer)

    def block(self) -> bytes:
        """The next items, each a line of JSON; empty at the end of the file."""
        items: list[bytes] = []
        size = 0
        with _refusing():
            for found in self._found:
                if isinstance(found, Rejected):
                    self._reject(found)
                elif item := self._item(found):
                    items.append(item)
                    size += len(item)
                if size >= BLOCK:
                    break
        if not items:
            self._check_end()
        return b"".join(items)

    def rejects(self) -> Iterator[bytes]:
        """What was rejected, as a file of the same format."""
        rows = self.spill.execute("SELECT line, code, message, raw, file FROM rejected")
        pieces = self.format.rejects((Rejected(*row) for row in rows), self.file, self._options)
        return pieces if self._evidence.is_for_utf8 else _with_mark(pieces)

    def summary(self) -> dict[str, Any]:
        """What was found, with the first of the rejects."""
        return {
            "subject": self.format.subject.value,
            "format": self.format.name,
            "encoding": self.encoding,
            "accepted": self.accepted,
            "annotations": self.annotations,
            "rejected": self.rejected,
            "codes": dict(self.codes.most_common()),
            "rejects": list(self._told),
        }

    def _item(self, document: Document) -> bytes:
        number = self.accepted + self.rejected + 1
        try:
            item = compact(self.intake.item(document)).encode() + b"\n"
        except UnicodeEncodeError:
            self._reject(_no_text(number))
            return b""
        except (MemoryError, OSError):
            raise
        except Exception as error:
            self._reject(unforeseen(number, error, b""))
            return b""
        if len(item) > MAX_LINE_BYTES:
            self._reject(_too_large(number, self.intake.too_large))
            return b""
        labels = self.intake.labels(document)
        self.accepted += 1
        self.annotations += len(labels)
        if self.wanted.new_labels:
            self._note(labels)
        return item

    def _note(self, labels: list[str]) -> None:
        self.labels |= dict.fromkeys(labels)
        if len(self.labels) > MAX_LABELS:
            raise contract.FileRefused(
                f"the file has more than {MAX_LABELS} labels; check which field is the label, or "
                "create the labels first and leave auto_detect_labels out"
            )

    def _reject(self, found: Rejected) -> None:
        if found.cause is not None:
            log.error(
                "a piece of a file met a fault of ours",
                format=self.format.name,
                line=found.line,
                exc_info=found.cause,
            )
        self.rejected += 1
        self.codes[found.code] += 1
        file = None if found.file is None else printable(found.file)
        message = printable(found.message)
        raw = found.raw if self._kept + len(found.raw) <= MAX_REJECTS else b""
        self._kept += len(raw)
        self._weigh(raw)
        self.spill.execute(
            "INSERT INTO rejected VALUES (?, ?, ?, ?, ?)",
            (found.line, found.code, message, raw, file),
        )
        if len(self._told) < TOLD:
            self._told.append(
                {
                    "line": found.line,
                    "file": file,
                    "code": found.code,
                    "message": message,
                    "kept": bool(raw),
                }
            )

    def _weigh(self, raw: bytes) -> None:
        """Look at a piece of a text in UTF-8: few of them with broken ones look like cp1252."""
        if self.encoding == "utf-8" and not self.archived and self.format.subject is Subject.TEXT:
            self._evidence.add(raw.decode("utf-8", "surrogateescape"))

    def _check_end(self) -> None:
        if self.accepted == 0:
            first = self._told[0] if self._told else None
            why = "" if first is None else f"; line {first['line']}: {first['message']}"
            raise FileRefused(
                f"the file has no {self.format.subject.value} that can be taken "
                f"({self.rejected} rejected){why}",
                pointer="/file",
            )


def _with_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    return chain([codecs.BOM_UTF8 + first.removeprefix(codecs.BOM_UTF8)], pieces)


def said(summary: Mapping[str, Any]) -> str:
    """A summary as it is kept beside the rejects."""
    return json.dumps(summary, ensure_ascii=False, separators=(",", ":"))


# Neither is in the file of rejects: the reader has parsed them, and keeps nothing of them.


def _too_large(number: int, remedy: str) -> Rejected:
    return Rejected(
        number,
        "too_large",
        f"document {number} has more than {MAX_LINE_BYTES:,} bytes; {remedy}",
        b"",
    )


def _no_text(number: int) -> Rejected:
    return Rejected(
        number,
        "not_text",
        f"document {number} has half a character (a lone surrogate); correct its escapes",
        b"",
    )


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns the refusals of formats into those that callers are told of."""
    try:
        yield
    except contract.FileRefused as error:
        raise FileRefused(printable(str(error)), pointer="/file") from None
