"""ZIP files: read without trusting what they say, written as a stream.

An archive comes from whoever uploads it. So its directory is counted before it is loaded, every
name and every stated size is looked at before the first member is opened, and what a member
gives is counted again while it is read. Nothing is ever unpacked to a path: members are streams
that are known by their names.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Protocol

from domain.systems.annotations.formats.contract import Bounds, FileRefused

MAGIC = b"PK\x03\x04"
EMPTY_MAGIC = b"PK\x05\x06"

NAME_LENGTH = 1_024
"""Bytes of the name of a member; file systems end at 255 a folder."""
SMALL = 64 * 1024
"""Below this many bytes no ratio is looked at: a few lines of one word pack well."""
PIECE = 64 * 1024
_STRETCH = 128 * 1024
"""Bytes that are packed together, and of which it is seen how well they pack."""
_END_OF_PACKED = zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()

_NESTED = re.compile(r"\.(zip|jar|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|lz4|lzma|7z|rar|cab|iso)$", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"^[A-Za-z]:")
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error),
    UnicodeDecodeError,
)

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL_HEADER = 30
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def is_archive(stream: BinaryIO) -> bool:
    """Whether a file begins as a ZIP does."""
    stream.seek(0)
    found = stream.read(4) in (MAGIC, EMPTY_MAGIC)
    stream.seek(0)
    return found


class Members(Protocol):
    """Files that belong together, by their names with ``/`` between folders."""

    @property
    def names(self) -> list[str]:
        """Of all files."""

    def __contains__(self, name: str) -> bool: ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, a piece at a time."""

    def read(self, name: str, limit: int) -> bytes:
        """All of a file; raises MemberDamaged for one longer than ``limit``."""

    def head(self, name: str, length: int) -> bytes:
        """The first bytes of a file."""


class MemberDamaged(FileRefused):
    """One member cannot be read, or is larger than it may be; the others can."""


class Archive:
    """The members of a ZIP file, each looked at before any is opened.

    Raises FileRefused for an archive that is none, that is damaged, or that asks for more than
    ``bounds`` give.
    """

    def __init__(self, stream: BinaryIO, bounds: Bounds) -> None:
        self._bounds = bounds
        self._left = bounds.unpacked
        size = _size_of(stream)
        _require_few(stream, size, bounds)
        try:
            self._zip = zipfile.ZipFile(stream)
        except (*_DAMAGE, ValueError) as error:
            raise FileRefused(f"the ZIP file is damaged: {error}; pack it again") from error
        self._members = _members_of(self._zip, bounds)
        _require_apart(self._zip.infolist(), size)

    @property
    def names(self) -> list[str]:
        """Of the files, as they stand in the archive, with ``/`` between folders."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """What the archive says that the member has unpacked."""
        return self._members[name].file_size

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a member, a piece at a time; never more than the archive stated."""
        member = self._members[name]
        try:
            with self._zip.open(member) as opened:
                left = member.file_size
                while piece := opened.read(PIECE):
                    left -= len(piece)
                    self._take(len(piece))
                    yield piece
        except _DAMAGE as error:
            raise MemberDamaged(
                f"{name!r} in the ZIP file is damaged or not of the size it states: {error};"
                " pack it again"
            ) from error
        if left:
            raise MemberDamaged(
                f"{name!r} in the ZIP file states {member.file_size} bytes and has"
                f" {member.file_size - left}; pack it again"
            )

    def read(self, name: str, limit: int) -> bytes:
        """All of a member, which may have ``limit`` bytes at most."""
        if self.size(name) > limit:
            raise MemberDamaged(
                f"{name!r} in the ZIP file has {self.size(name)} bytes, and {limit} are read at"
                " most; split it"
            )
        return b"".join(self.pieces(name))

    def head(self, name: str, length: int) -> bytes:
        """The first bytes of a member."""
        head = bytearray()
        for piece in self.pieces(name):
            head += piece
            if len(head) >= length:
                break
        return bytes(head[:length])

    def _take(self, length: int) -> None:
        self._left -= length
        if self._left < 0:
            raise FileRefused(
                f"the ZIP file gives more than {self._bounds.unpacked} bytes; split it"
            )


class ArchiveWriter:
    """Packs members one after the other; each method gives the bytes that are ready by then.

    A reader finds the list of members at the end of the archive, so the writer keeps it: some
    500 bytes a member.
    """

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def add(self, name: str, content: bytes) -> Iterator[bytes]:
        """Pack a small member."""
        return self.add_pieces(name, (content,))

    def add_pieces(self, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pack a member of any size."""
        info = zipfile.ZipInfo(name, date_time=_FIXED_TIME)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        opened: Any = self._zip.open(info, "w")
        opened._compressor = _Packer()
        with opened:
            for piece in pieces:
                opened.write(piece)
                yield from self._sink.ready(PIECE)
        yield from self._sink.ready(PIECE)

    def close(self) -> Iterator[bytes]:
        """End the archive with the list of its members."""
        self._zip.close()
        yield from self._sink.ready(1)


class _Packer:
    """Packs a member stretch by stretch, and leaves a stretch as it is that packs too well.

    A member that unpacks to very much is taken for a bomb, by us as by others. One that is not
    packed at all is no way out: who reads a stream finds the end of a member by its packing.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def compress(self, data: bytes) -> bytes:
        """What is ready by then of a member."""
        self._held += data
        packed = []
        while len(self._held) >= _STRETCH:
            packed.append(_packed(bytes(self._held[:_STRETCH])))
            del self._held[:_STRETCH]
        return b"".join(packed)

    def flush(self) -> bytes:
        """The rest of it."""
        return _packed(bytes(self._held)) + _END_OF_PACKED


def _packed(stretch: bytes) -> bytes:
    """A part of a packed member, which needs nothing of those before it."""
    packed = _deflated(stretch, zlib.Z_DEFAULT_COMPRESSION)
    well = len(stretch) > SMALL and 2 * len(stretch) > Bounds().ratio * len(packed)
    return _deflated(stretch, zlib.Z_NO_COMPRESSION) if well else packed


def _deflated(stretch: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return packer.compress(stretch) + packer.flush(zlib.Z_FULL_FLUSH)


def is_hidden(name: str) -> bool:
    """Whether a file is one that systems and tools leave behind, and nobody means."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and part != "." for part in parts)


def names_at_start(head: bytes) -> list[str]:
    """The names of members whose beginning stands in the first bytes of an archive."""
    names = []
    at = head.find(MAGIC)
    while 0 <= at <= len(head) - _LOCAL_HEADER:
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        name = head[at + _LOCAL_HEADER : at + _LOCAL_HEADER + length]
        names.append(name.decode("utf-8", "replace").replace("\\", "/"))
        at = head.find(MAGIC, at + _LOCAL_HEADER)
    return names


def names_as_head(stream: BinaryIO) -> bytes:
    """The names of all members, as an archive begins whose members are empty.

    Files are known by their first bytes, which a photograph fills alone. There are none for what
    is no archive, or one whose list is damaged or too long: whoever reads it says so.
    """
    if not is_archive(stream):
        return b""
    try:
        size = _size_of(stream)
        _require_few(stream, size, Bounds())
        start, length = _directory(stream, size)
        stream.seek(start)
        return b"".join(map(_empty_member, _names_listed(stream.read(length))))
    except FileRefused:
        return b""
    finally:
        stream.seek(0)


def _empty_member(name: bytes) -> bytes:
    """The header of a member, of which nothing is told but its name."""
    length = len(name).to_bytes(2, "little")
    return MAGIC.ljust(_LOCAL_HEADER - 4, b"\0") + length + bytes(2) + name


def _names_listed(listing: bytes) -> Iterator[bytes]:
    at = 0
    while at + _ENTRY.size <= len(listing):
        name, extra, comment = _ENTRY.unpack_from(listing, at)[12:15]
        yield listing[at + _ENTRY.size : at + _ENTRY.size + name]
        at += _ENTRY.size + name + extra + comment


class _Sink(io.RawIOBase):
    """Where the archive is written to: it cannot be sought in, so nothing is written twice."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._buffer += data
        return memoryview(data).nbytes

    def ready(self, least: int) -> Iterator[bytes]:
        if len(self._buffer) >= least:
            piece = bytes(self._buffer)
            self._buffer.clear()
            yield piece


def _size_of(stream: BinaryIO) -> int:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def _require_few(stream: BinaryIO, size: int, bounds: Bounds) -> None:
    """Count the list of members before it is loaded, and do not believe its own count."""
    start, length = _directory(stream, size)
    if length > bounds.members * (_ENTRY.size + NAME_LENGTH) or start < 0:
        raise FileRefused(
            f"the list of members of the ZIP file would have {length} bytes; pack fewer files"
        )
    stream.seek(start)
    listing = memoryview(stream.read(length))
    count = at = 0
    while at + _ENTRY.size <= len(listing):
        fields = _ENTRY.unpack_from(listing, at)
        at += _ENTRY.size + fields[12] + fields[13] + fields[14]
        count += 1
        if count > bounds.members:
            raise FileRefused(
                f"the ZIP file has more than {bounds.members} members; split it into several"
            )
    stream.seek(0)


def _directory(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Where the list of members begins, and how long it is."""
    tail_length = min(size, _END.size + 0xFFFF)
    stream.seek(size - tail_length)
    tail = stream.read(tail_length)
    at = tail.rfind(EMPTY_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise FileRefused("this is no ZIP file, or its end is missing; upload all of it")
    end = size - tail_length + at
    length = _END.unpack_from(tail, at)[5]
    locator = at - _END64_LOCATOR.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        record = locator - _END64.size
        end = size - tail_length + record
        named = _END64_LOCATOR.unpack_from(tail, locator)[2]
        if record < 0 or tail[record : record + 4] != b"PK\x06\x06" or named != end:
            raise FileRefused("the end of the ZIP file is damaged; pack it again")
        length = _END64.unpack_from(tail, record)[8]
    return end - length, length


def _members_of(opened: zipfile.ZipFile, bounds: Bounds) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    unpacked = 0
    for info in opened.infolist():
        name = _safe_name(info.orig_filename)
        _require_plain(name, info, bounds)
        unpacked += info.file_size
        if unpacked > bounds.unpacked:
            raise FileRefused(
                f"the ZIP file would unpack to more than {bounds.unpacked} bytes; split it"
            )
        if name.endswith("/"):
            continue
        if name in members:
            raise FileRefused(f"the ZIP file has two members named {name!r}; keep one of them")
        members[name] = info
    return members


def _safe_name(name: str) -> str:
    """The name with ``/`` between folders; refuses one that leads out of the archive."""
    plain = name.replace("\\", "/")
    if len(plain.encode("utf-8", "replace")) > NAME_LENGTH:
        raise FileRefused(
            f"the ZIP file has a member whose name is longer than {NAME_LENGTH} bytes; shorten it"
        )
    if _CONTROL.search(plain) or not plain.strip("/"):
        raise FileRefused(f"the ZIP file has a member named {name!r}; give it a readable name")
    if plain.startswith("/") or _DRIVE.match(plain) or ".." in plain.split("/"):
        raise FileRefused(
            f"the ZIP file has a member named {name!r}, which leads out of the archive; pack the"
            " files with names relative to their common folder"
        )
    return plain


def _require_plain(name: str, info: zipfile.ZipInfo, bounds: Bounds) -> None:
    """Refuse what is no plain, plainly packed file or folder."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "no file"
        raise FileRefused(f"{name!r} in the ZIP file is {what}; pack the file itself")
    if info.flag_bits & 0x1:
        raise FileRefused(f"{name!r} in the ZIP file is encrypted; pack it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileRefused(
            f"{name!r} in the ZIP file is packed by method {info.compress_type}; use deflate,"
            " which every packer has"
        )
    if _NESTED.search(name):
        raise FileRefused(f"{name!r} in the ZIP file is an archive itself; unpack it first")
    if info.file_size > SMALL and info.file_size > bounds.ratio * info.compress_size:
        raise FileRefused(
            f"{name!r} in the ZIP file would unpack to {info.file_size} bytes from"
            f" {info.compress_size}, more than {bounds.ratio} times as many; leave it out"
        )


def _require_apart(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse members that lie over one another: small files that unpack to much do."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise FileRefused(
                f"{info.filename!r} in the ZIP file lies over another member; pack it again"
            )
        end = info.header_offset + _LOCAL_HEADER + len(info.filename) + info.compress_size
    if end > size:
        raise FileRefused("the ZIP file is cut off; upload all of it")
