"""The contract of a format: how it is recognised, read, written, and what it drops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO

from domain.systems.annotations.formats.documents import Document, Loss, Rejected
from domain.systems.annotations.formats.mapping import FieldMapping


class FileRefused(ValueError):
    """A file is not of the format, is damaged, or would take more than it may.

    The message says where, what is wrong and the remedy; whoever reads on behalf of a caller
    answers with it.
    """


class Subject(StrEnum):
    """What a format annotates."""

    TEXT = "text"
    IMAGE = "image"


class OffsetUnit(StrEnum):
    """What the offsets of a file count."""

    CODE_POINTS = "code_points"
    UTF16 = "utf16"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a reader may take into memory or go through, whatever the file asks for."""

    line: int = 16 * 1024 * 1024
    """Bytes of one line, row, object or element."""
    columns: int = 1_000
    depth: int = 64
    """How deep JSON and XML may be nested."""
    members: int = 50_000
    """Files in an archive."""
    unpacked: int = 4 * 1024 * 1024 * 1024
    """Bytes of all files in an archive together."""
    ratio: int = 200
    """How many times its packed size a member of an archive may have."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is to be read; what is ``None`` is found out from the file.

    ``columns`` renames: the name that a field has in the file, by the name that it has here.
    ``mapping`` does that and more, for the formats whose documents are records.
    """

    encoding: str | None = None
    dialect: Mapping[str, str] | None = None
    scheme: str | None = None
    offsets: OffsetUnit = OffsetUnit.CODE_POINTS
    columns: Mapping[str, str] = field(default_factory=dict)
    mapping: FieldMapping = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a file is to be written.

    ``labels`` are in the order of the project: where classes are numbers, the place of each
    is its class.
    """

    labels: Sequence[str] = ()
    scheme: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    mapping: FieldMapping = field(default_factory=dict)


Read = Callable[[BinaryIO, ReadOptions], Iterator[Document | Rejected]]
"""Reads a seekable binary file as a stream; raises FileRefused for one that is no such file."""

Write = Callable[[Iterable[Document], WriteOptions], Iterator[bytes]]
"""Writes documents as pieces of a file, holding a few documents at a time."""

Rejects = Callable[[Iterable[Rejected], BinaryIO, ReadOptions], Iterator[bytes]]
"""Writes what was rejected as a file of the same format; is given the file it was read from."""

Losses = Callable[[Document, WriteOptions], Iterable[Loss]]
"""What the format would drop of a document."""

Likeness = Callable[[bytes, str], float]
"""How much a file looks like the format, 0 to 1: its first 64 KiB, and its name."""


@dataclass(frozen=True)
class Format:
    """A format of files. ``write`` is ``None`` where it is only read.

    ``family`` is a name that it shares with others: by that one it is told from them by what
    the file holds.
    """

    name: str
    title: str
    subject: Subject
    media_type: str
    suffix: str
    read: Read
    rejects: Rejects
    likeness: Likeness
    write: Write | None = None
    losses: Losses | None = None
    family: str = ""
