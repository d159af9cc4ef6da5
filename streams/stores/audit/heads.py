"""Heads: the file of signed last events, one line for each job of each commit.

A line is ``head JOB VERSION ID HASH SIGNATURE``. The last line of a job counts. A line
that a later one contradicts is evidence: it becomes ``disputed`` and is never dropped,
nor is a line that is not ours. Everything else is dropped by ``compact``.

A line is written and not synced: the events themselves are durable, and the next start
signs what a power failure took (:mod:`streams.stores.audit.reconcile`).
"""

from __future__ import annotations

import binascii
import hmac
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog

from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.key import AuditKey
from streams.stores.chain import Head

log = structlog.get_logger(__name__)

FILE_NAME = "heads"
MAX_STRANGE = 1000
MAX_LINE_BYTES = 1000
BLOCK = 1 << 20
"""Bytes in which a job is looked for at once."""

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

    def take(self, tag: str, head: Head) -> None:
        """Take a signed line in."""
        if tag == _DISPUTED:
            self._dispute(head)
            return
        before = self.last.get(head.job_id)
        if before and before.version >= head.version and before.hash != head.hash:
            self._dispute(before)
        self.last[head.job_id] = head

    def _dispute(self, head: Head) -> None:
        known = self.disputed.setdefault(head.job_id, [])
        if head not in known:
            known.append(head)


class HeadsFile:
    """Appends to and reads the file; holds nothing open between two calls."""

    def __init__(self, path: Path, key: AuditKey) -> None:
        self.path = path
        self._key = key
        self._lock = threading.Lock()

    def append(self, heads: Iterable[Head]) -> bool:
        """Sign heads, after the commit of their events; returns whether they are written.

        A disk that is full costs nothing but the signature's promptness: it is logged,
        and the job's next commit or the next start makes up for it.
        """
        return self._write(b"".join([self._line(_HEAD, head) for head in heads]))

    def dispute(self, heads: Iterable[Head]) -> None:
        """Keep heads, which the database contradicts, for ever."""
        self._write(b"".join([self._line(_DISPUTED, head) for head in heads]))

    def read(self) -> Heads:
        """What the file says now; an unfinished last line is the trace of a crash."""
        found = Heads()
        if not self.path.exists():
            return found
        with self.path.open("rb") as file:
            self._take_all(found, file)
        return found

    def read_of(self, job_id: str) -> Heads:
        """As ``read``, of the lines that name a job; those of the others are not verified.

        There is a line for every job that ever was, and nearly all of the time of a line is its
        signature's.
        """
        found, name = Heads(), job_id.encode()
        if not self.path.exists():
            return found
        with self.path.open("rb") as file:
            for line in self._lines_with(file, b" %b " % name):
                if line.split(b" ", 2)[1] == name:
                    self._take(found, line)
        return found

    def lines_of(self, job_id: str, found: Heads) -> list[bytes]:
        """The signed lines that a job's events must agree with, without their ends."""
        last = [found.last[job_id]] if job_id in found.last else []
        signed = [(_DISPUTED, head) for head in found.disputed.get(job_id, ())]
        signed += [(_HEAD, head) for head in last]
        return [self._line(tag, head)[:-1] for tag, head in signed]

    def compact(self) -> None:
        """Drop what later lines have replaced. May run in a thread beside ``append``."""
        if not self.path.exists():
            return
        draft = self.path.with_name(f"{self.path.name}.draft")
        with self.path.open("rb") as file, draft.open("wb") as short:
            found = Heads()
            self._take_all(found, file)
            short.writelines(self._lines(found))
            with self._lock:
                # What was appended meanwhile.
                shutil.copyfileobj(file, short)
                short.flush()
                os.fsync(short.fileno())
                draft.replace(self.path)

    def _lines(self, heads: Heads) -> Iterator[bytes]:
        yield from (line + b"\n" for _, line in heads.strange)
        for disputed in heads.disputed.values():
            yield from (self._line(_DISPUTED, head) for head in disputed)
        yield from (self._line(_HEAD, head) for head in heads.last.values())

    def _write(self, lines: bytes) -> bool:
        if not lines:
            return True
        with self._lock:
            try:
                _append(self.path, lines)
            except OSError as error:
                log.warning(
                    "heads were not written; a later commit or the next start makes up for it",
                    why=str(error),
                )
                return False
        return True

    def _line(self, tag: str, head: Head) -> bytes:
        signature = self._key.sign(tag, head).hex()
        words = (tag, head.job_id, str(head.version), str(head.id), head.hash.hex(), signature)
        return " ".join(words).encode() + b"\n"

    def _take_all(self, heads: Heads, file: BinaryIO) -> None:
        """Every whole line up to the present end, and not half of one being written."""
        left = self._size(file)
        while left > 0:
            line = file.readline()
            left -= len(line)
            if line.endswith(b"\n"):
                self._take(heads, line[:-1])

    def _lines_with(self, file: BinaryIO, words: bytes) -> Iterator[bytes]:
        """As ``_take_all``, those that have some words in them, without their ends."""
        left, half = self._size(file), b""
        while left > 0 and (block := file.read(min(left, BLOCK))):
            left -= len(block)
            whole, _, half = (half + block).rpartition(b"\n")
            if words in whole:
                yield from (line for line in whole.split(b"\n") if words in line)

    def _size(self, file: BinaryIO) -> int:
        """Up to where nothing is being written."""
        with self._lock:
            return os.fstat(file.fileno()).st_size

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


def _append(path: Path, lines: bytes) -> None:
    """All lines or none, as far as the disk lets us."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, lines)
        if written != len(lines):
            os.ftruncate(descriptor, before)
            raise OSError(f"{written} of {len(lines)} bytes were written")
    finally:
        os.close(descriptor)
