"""Heads: the file of signed last events, one line for each job of each commit.

A line is ``head JOB VERSION ID HASH SIGNATURE``. The last line of a job counts. A line
that a later one contradicts is evidence: it becomes ``disputed`` and is never dropped,
nor is a line that is not ours. Everything else is dropped by ``compact``.

A line is written and not synced: the events themselves are durable, and the next start
signs what a power failure took (:mod:`streams.stores.audit.reconcile`). What a full disk does
not take is kept and written before anything that comes later, so that the file ends with the
newest event that is signed.
"""

from __future__ import annotations

import binascii
import hmac
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import structlog

from domain.errors import StoreUnavailable
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.key import AuditKey
from streams.stores.chain import Head

log = structlog.get_logger(__name__)

FILE_NAME = "heads"
MAX_STRANGE = 1000
MAX_LINE_BYTES = 1000
BLOCK = 1 << 20
"""Bytes in which a job is looked for at once."""
OWED_JOBS = 10_000
"""Jobs whose lines are kept while the disk takes none, some MB; the next start signs the rest."""

_HEAD = "head"
_DISPUTED = "disputed"


@dataclass
class Heads:
    """What a heads file says. ``last`` has one head a job; so many lines were ``read``.

    ``strange`` are lines (number, content) that are not signed with the key, of which
    there are ``strange_count`` in all.
    """

    last: dict[str, Head] = field(default_factory=dict)
    disputed: dict[str, list[Head]] = field(default_factory=dict)
    strange: list[tuple[int, bytes]] = field(default_factory=list)
    strange_count: int = 0
    read: int = 0

    def of(self, job_id: str) -> list[Head]:
        """Every head that the job's events must agree with."""
        last = [self.last[job_id]] if job_id in self.last else []
        return [*self.disputed.get(job_id, ()), *last]

    @property
    def last_id(self) -> int:
        """The id of the newest signed event; 0 when there is none."""
        heads = [*self.last.values(), *(head for known in self.disputed.values() for head in known)]
        return max((head.id for head in heads), default=0)

    @property
    def foreign(self) -> bool:
        """Whether the file was written with another key."""
        return self.read > 0 and self.strange_count == self.read

    def report(self, report: Report) -> None:
        """Tell of the lines that are not signed with the key."""
        if self.foreign:
            report.add(
                Kind.HEADS_LINE, "no line of the heads file is signed with this key; find the key"
            )
            return
        for number, _ in self.strange:
            report.add(Kind.HEADS_LINE, f"line {number} of the heads file is not as it was signed")
        report.more += self.strange_count - len(self.strange)

    def report_of(self, report: Report, job_id: str) -> None:
        """As ``report``, where what was read is of one job (``HeadsFile.read_of``)."""
        if self.strange_count:
            report.add(
                Kind.HEADS_LINE,
                f"{self.strange_count} of {self.read} lines of the heads file that name the job "
                "are not signed with this key; find the key, or who has changed them",
                job_id,
            )

    def take(self, tag: str, head: Head) -> None:
        """Take a signed line in."""
        if tag == _DISPUTED:
            self._dispute(head)
            return
        before = self.last.get(head.job_id)
        if before and _contradicts(head, before):
            self._dispute(before)
        self.last[head.job_id] = head

    def _dispute(self, head: Head) -> None:
        known = self.disputed.setdefault(head.job_id, [])
        if head not in known:
            known.append(head)


def _contradicts(head: Head, before: Head) -> bool:
    """Whether no trail can have led from the one that was signed before to this one."""
    return before.version >= head.version and before.hash != head.hash


class _Signed(NamedTuple):
    """A line, and what it says."""

    tag: str
    head: Head
    line: bytes


class _Owed:
    """Lines that could not be written, of so many jobs; of each those that count, in order."""

    def __init__(self) -> None:
        self._of: dict[str, list[_Signed]] = {}
        self.left_out = 0
        """Heads of more jobs than are kept; a start signs them."""

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[_Signed]:
        for signed in self._of.values():
            yield from signed

    def add(self, signed: _Signed) -> None:
        """One more; the one before it of its job counts no longer, unless they contradict."""
        job_id = signed.head.job_id
        full = job_id not in self._of and len(self._of) >= OWED_JOBS
        if full and signed.tag == _HEAD:
            self.left_out += 1
            return
        known = self._of.setdefault(job_id, [])
        if known and known[-1].tag == signed.tag and not _contradicts(signed.head, known[-1].head):
            known.pop()
        known.append(signed)

    def clear(self) -> None:
        """All of them are written."""
        self._of.clear()
        self.left_out = 0


class DirectoryRefused(StoreUnavailable):
    """A data directory takes no heads, which is mended over there."""


@contextmanager
def signing_in(folder: Path) -> Iterator[None]:
    """What a data directory does not take is tried again: its disk may be full for a while."""
    try:
        yield
    except OSError as error:
        raise DirectoryRefused(
            f"nothing can be signed in {folder} ({error.strerror or error}); free some space "
            "there, or let this process write to it"
        ) from error


class HeadsFile:
    """Appends to and reads the file; holds nothing open between two calls."""

    def __init__(self, path: Path, key: AuditKey) -> None:
        self.path = path
        self._key = key
        self._lock = threading.Lock()
        self._owed = _Owed()

    def append(self, heads: Iterable[Head]) -> bool:
        """Sign heads, after the commit of their events; returns whether they are written.

        A disk that is full costs nothing but the signature's promptness: it is logged, and
        what comes next makes up for it: other heads, ``make_up``, or the next start.
        """
        return self._write(_HEAD, heads)

    def dispute(self, heads: Iterable[Head]) -> None:
        """Keep heads, which the database contradicts, for ever."""
        self._write(_DISPUTED, heads)

    def make_up(self) -> bool:
        """Write what could not be written before, if anything; returns whether all is written."""
        return self._write(_HEAD, ())

    @property
    def unwritten(self) -> int:
        """How many heads wait until they can be written."""
        return len(self._owed)

    def read(self) -> Heads:
        """What the file says now, and what could not be written to it yet.

        An unfinished last line is the trace of a crash.
        """
        found = Heads()
        with self._open() as file:
            size, owed = self._now(file)
            self._take_all(found, file, size)
        self._take_owed(found, owed)
        return found

    def read_of(self, job_id: str) -> Heads:
        """As ``read``, of the lines that name a job; those of the others are not verified.

        There is a line for every job that ever was, and nearly all of the time of a line is its
        signature's.
        """
        found, name = Heads(), job_id.encode()
        with self._open() as file:
            size, owed = self._now(file)
            for line in self._lines_with(file, size, b" %b " % name):
                if line.split(b" ", 2)[1] == name:
                    self._take(found, line)
        self._take_owed(found, [signed for signed in owed if signed.head.job_id == job_id])
        return found

    def lines_of(self, job_id: str, found: Heads) -> list[bytes]:
        """The signed lines that a job's events must agree with, without their ends."""
        last = [found.last[job_id]] if job_id in found.last else []
        signed = [(_DISPUTED, head) for head in found.disputed.get(job_id, ())]
        signed += [(_HEAD, head) for head in last]
        return [self._line(tag, head)[:-1] for tag, head in signed]

    def compact(self) -> None:
        """Drop what later lines have replaced. May run in a thread beside ``append``.

        Where the disk has no room for that, it is logged, and the file is left as it is.
        """
        draft = self.path.with_name(f"{self.path.name}.draft")
        try:
            if self.path.exists():
                self._shorten(draft)
        except OSError as error:
            log.warning(
                "the heads file was not made shorter; make room on its disk, or let it be written",
                file=str(self.path),
                why=str(error),
            )
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _shorten(self, draft: Path) -> None:
        with self.path.open("rb") as file, draft.open("wb") as short:
            found = Heads()
            size, _ = self._now(file)
            reached = self._take_all(found, file, size)
            short.writelines(self._lines(found))
            with self._lock:
                # What was appended meanwhile.
                short.write(_whole_lines(self.path, reached))
                short.flush()
                os.fsync(short.fileno())
                draft.replace(self.path)

    def _lines(self, heads: Heads) -> Iterator[bytes]:
        yield from (line + b"\n" for _, line in heads.strange)
        for disputed in heads.disputed.values():
            yield from (self._line(_DISPUTED, head) for head in disputed)
        yield from (self._line(_HEAD, head) for head in heads.last.values())

    def _write(self, tag: str, heads: Iterable[Head]) -> bool:
        signed = [_Signed(tag, head, self._line(tag, head)) for head in heads]
        with self._lock:
            # Who is told that nothing was written may come with the same again.
            lines = dict.fromkeys(one.line for one in (*self._owed, *signed))
            if not lines:
                return True
            try:
                _append(self.path, b"".join(lines))
            except OSError as error:
                self._owe(signed, error)
                return False
            if self._owed:
                log.info(
                    "heads were written that could not be before; those left out are signed at a "
                    "start",
                    jobs=len(self._owed),
                    left_out=self._owed.left_out,
                )
                self._owed.clear()
        return True

    def _owe(self, signed: list[_Signed], error: OSError) -> None:
        if not self._owed:
            log.warning(
                "heads were not written; make room on the disk, what comes next makes up for it",
                file=str(self.path),
                why=str(error),
            )
        for one in signed:
            self._owed.add(one)

    def _line(self, tag: str, head: Head) -> bytes:
        signature = self._key.sign(tag, head).hex()
        words = (tag, head.job_id, str(head.version), str(head.id), head.hash.hex(), signature)
        return " ".join(words).encode() + b"\n"

    def _open(self) -> BinaryIO:
        """The file, or an empty one while there is none."""
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            return Path(os.devnull).open("rb")

    def _now(self, file: BinaryIO) -> tuple[int, list[_Signed]]:
        """Up to where nothing is being written, and what could not be."""
        with self._lock:
            return os.fstat(file.fileno()).st_size, list(self._owed)

    def _take_all(self, heads: Heads, file: BinaryIO, size: int) -> int:
        """Every whole line of so many bytes; where the last one ends."""
        left, reached = size, 0
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            if line.endswith(b"\n"):
                self._take(heads, line[:-1])
                reached += len(line)
        return reached

    def _take_owed(self, heads: Heads, owed: list[_Signed]) -> None:
        for signed in owed:
            heads.read += 1
            heads.take(signed.tag, signed.head)

    def _lines_with(self, file: BinaryIO, size: int, words: bytes) -> Iterator[bytes]:
        """As ``_take_all``, those that have some words in them, without their ends."""
        left, half = size, b""
        while left > 0 and (block := file.read(min(left, BLOCK))):
            left -= len(block)
            whole, _, half = (half + block).rpartition(b"\n")
            if words in whole:
                yield from (line for line in whole.split(b"\n") if words in line)

    def _take(self, heads: Heads, line: bytes) -> None:
        heads.read += 1
        signed = self._parsed(line)
        if signed is not None:
            heads.take(*signed)
            return
        heads.strange_count += 1
        if len(heads.strange) < MAX_STRANGE:
            heads.strange.append((heads.read, line[:MAX_LINE_BYTES]))

    def _parsed(self, line: bytes) -> tuple[str, Head] | None:
        """None for a line that was not signed with the key."""
        try:
            tag, job_id, version, number, digest, signature = line.decode("ascii").split(" ")
            head = Head(job_id, int(version), int(number), bytes.fromhex(digest))
            given = bytes.fromhex(signature)
        except (ValueError, binascii.Error):
            return None
        # Compared as it is written: int() and fromhex() take other spellings as well.
        ours = hmac.compare_digest(self._key.sign(tag, head), given)
        return (tag, head) if ours and self._line(tag, head) == line + b"\n" else None


def has_lines(path: Path) -> bool:
    """Whether anything was written to the file; half a first line is the trace of a crash."""
    with path.open("rb") as file:
        first = file.read(MAX_LINE_BYTES)
    return b"\n" in first or len(first) == MAX_LINE_BYTES


def _append(path: Path, lines: bytes) -> None:
    """All lines or none, as far as the disk lets us, behind the last whole one."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        if before and os.pread(descriptor, 1, before - 1) != b"\n":
            before = _last_end(descriptor, before)
            os.ftruncate(descriptor, before)
        written = os.write(descriptor, lines)
        if written != len(lines):
            os.ftruncate(descriptor, before)
            raise OSError(f"{written} of {len(lines)} bytes were written")
    finally:
        os.close(descriptor)


def _last_end(descriptor: int, size: int) -> int:
    """Where the last whole line ends: what a crash has left behind it would spoil the next one."""
    while size > 0:
        first = max(0, size - BLOCK)
        end = os.pread(descriptor, size - first, first).rfind(b"\n")
        if end >= 0:
            return first + end + 1
        size = first
    return 0


def _whole_lines(path: Path, first: int) -> bytes:
    """The whole lines of a file from some byte on."""
    with path.open("rb") as file:
        file.seek(first)
        whole, end, _ = file.read().rpartition(b"\n")
    return whole + end
