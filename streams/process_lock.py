"""Process lock: one server a data directory, proved by the kernel and not by a pid file.

The lock (``flock``) belongs to the open file, so a child that inherits the descriptor
holds it as well: it is free only when parent and child are both gone, however they ended.
The embedded start relies on that: whoever holds the lock knows that all older leases are
dead. A child whose parent was killed ends a moment later, so a start waits for that.

A SQLite file has a lock of its own, FILE.lock beside it: two data directories may name one file.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]  # it ships no types

from domain.errors import DataDirectoryUnusable, StoreUnavailable

LOCK_FILE = "lock"
SIGNS = "signs"
"""Noted by who holds a directory and has signed there what others have committed."""
ORPHAN_SECONDS = 5.0
"""How long the child of a holder that was killed may take to end."""
_LOOK_AGAIN = 0.02
_NAMED_BYTES = 64
"""The pid of a holder, and what it has noted."""


class ProcessLock:
    """The lock of a data directory or of a file, held until ``release``; see :func:`acquire`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._noted = ""

    def fileno(self) -> int:
        """The descriptor to hand to a child; raises ValueError once released."""
        if self._descriptor < 0:
            raise ValueError("the process lock was released")
        return self._descriptor

    def note(self, said: str) -> None:
        """Tell :func:`is_held` of it; what a full disk does not take may be noted again."""
        if self._noted != said and _name_holder(self.fileno(), said):
            self._noted = said

    def release(self) -> None:
        """Let go; a child that inherited the lock keeps it. Does nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a lock keeps, and how that is said: its noun, and the option that names another."""

    noun: str
    place: Path
    option: str

    @property
    def name(self) -> str:
        return f"the {self.noun} {self.place}"


def acquire(data_dir: Path) -> ProcessLock:
    """Take the lock of a data directory, which is made when it is not there.

    Raises:
        DataDirectoryUnusable: Another process holds it (its pid is named), or the directory
            cannot be made or written.
    """
    return _acquired(_opened(data_dir), _directory(data_dir))


def acquire_file(database: Path) -> ProcessLock:
    """Take the lock of a SQLite file, which need not be there, by whatever name it is reached.

    Raises:
        DataDirectoryUnusable: Another process holds it (its pid is named).
        StoreUnavailable: Nothing can be written beside the file, as before its disk is mounted.
    """
    # Not of Path: that raises for a circle of links.
    file = Path(os.path.realpath(database))
    return _acquired(_opened_beside(file), _Kept("database", file, "--database"))


def attempt(data_dir: Path) -> ProcessLock | None:
    """The lock of a data directory, or None while another process holds it; does not wait.

    Raises DataDirectoryUnusable when the directory cannot be made or written.
    """
    descriptor = _opened(data_dir)
    try:
        if _taken(descriptor, _directory(data_dir)):
            _name_holder(descriptor)
            return ProcessLock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_held(data_dir: Path, noted: str) -> bool:
    """Whether a process holds the lock of a data directory and has noted just that.

    Makes nothing, and disturbs nobody who has noted another thing. False where it may not look.
    """
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _named(descriptor)[1:] == [noted] and _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _directory(data_dir: Path) -> _Kept:
    return _Kept("data directory", data_dir, "--data-dir")


def _acquired(descriptor: int, kept: _Kept) -> ProcessLock:
    try:
        _lock(descriptor, kept)
    except BaseException:
        os.close(descriptor)
        raise
    return ProcessLock(descriptor)


def _opened(data_dir: Path) -> int:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the data directory {data_dir} cannot be used ({error.strerror}); "
            "name another one with --data-dir"
        ) from error


def _opened_beside(file: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(file.with_name(f"{file.name}.lock"), flags, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"the database is away (in {file.parent} no {file.name}.lock can be written: "
            f"{error.strerror}); have that directory there, and let this process write to it"
        ) from error
    with suppress(OSError):
        # As SQLite does with its log: what root has made must not keep the owner out.
        owner = file.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _lock(descriptor: int, kept: _Kept) -> None:
    until = time.monotonic() + ORPHAN_SECONDS
    while not _taken(descriptor, kept):
        holder = _holder(descriptor)
        if _lives(holder) or time.monotonic() > until:
            raise DataDirectoryUnusable(
                f"{kept.name} is in use by process {holder or '(unknown)'}; "
                f"stop that one, or name another {kept.noun} with {kept.option}"
            )
        time.sleep(_LOOK_AGAIN)
    _name_holder(descriptor)


def _name_holder(descriptor: int, *noted: str) -> bool:
    """The pid is only for the message above: what counts is the lock itself."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{' '.join((str(os.getpid()), *noted))}\n".encode(), 0)
    except OSError:
        return False
    return True


def _taken(descriptor: int, kept: _Kept) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the file system of {kept.place} cannot lock files ({error.strerror}); "
            f"name a {kept.noun} on a local disk with {kept.option}"
        ) from error
    return True


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _named(descriptor: int) -> list[str]:
    """The words that a holder, now or once, has written: its pid, and its note."""
    return os.pread(descriptor, _NAMED_BYTES, 0).decode("ascii", "replace").split()


def _holder(descriptor: int) -> int | None:
    first = next(iter(_named(descriptor)), "")
    return int(first) if first.isdigit() else None


def _lives(pid: int | None) -> bool:
    """Whether the process runs; one that cannot be told counts as running."""
    if pid is None:
        return True
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
