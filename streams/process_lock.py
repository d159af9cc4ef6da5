"""Process lock: one server a data directory, proved by the kernel and not by a pid file.

The lock (``flock``) belongs to the open file, so a child that inherits the descriptor
holds it as well: it is free only when parent and child are both gone, however they ended.
The embedded start relies on that: whoever holds the lock knows that all older leases are
dead. A child whose parent was killed ends a moment later, so a start waits for that.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]  # it ships no types

from domain.errors import DataDirectoryUnusable

LOCK_FILE = "lock"
ORPHAN_SECONDS = 5.0
"""How long the child of a holder that was killed may take to end."""
_LOOK_AGAIN = 0.02


class ProcessLock:
    """The lock of a data directory, held until ``release``; see :func:`acquire`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor to hand to a child; raises ValueError once released."""
        if self._descriptor < 0:
            raise ValueError("the process lock was released")
        return self._descriptor

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


def acquire(data_dir: Path) -> ProcessLock:
    """Take the lock of a data directory, which is made when it is not there.

    Raises:
        DataDirectoryUnusable: Another process holds it (its pid is named), or the directory
            cannot be made or written.
    """
    descriptor = _opened(data_dir)
    try:
        _lock(descriptor, data_dir)
    except BaseException:
        os.close(descriptor)
        raise
    return ProcessLock(descriptor)


def attempt(data_dir: Path) -> ProcessLock | None:
    """The lock of a data directory, or None while another process holds it; does not wait.

    Raises DataDirectoryUnusable when the directory cannot be made or written.
    """
    descriptor = _opened(data_dir)
    try:
        if _taken(descriptor, data_dir):
            _name_holder(descriptor)
            return ProcessLock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _opened(data_dir: Path) -> int:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the data directory {data_dir} cannot be used ({error.strerror}); "
            "name another one with --data-dir"
        ) from error


def _lock(descriptor: int, data_dir: Path) -> None:
    until = time.monotonic() + ORPHAN_SECONDS
    while not _taken(descriptor, data_dir):
        holder = _holder(descriptor)
        if _lives(holder) or time.monotonic() > until:
            raise DataDirectoryUnusable(
                f"the data directory {data_dir} is in use by process {holder or '(unknown)'}; "
                "stop that one, or name another directory with --data-dir"
            )
        time.sleep(_LOOK_AGAIN)
    _name_holder(descriptor)


def _name_holder(descriptor: int) -> None:
    """The pid is only for the message above: what counts is the lock itself."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _taken(descriptor: int, data_dir: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the file system of {data_dir} cannot lock files ({error.strerror}); "
            "name a directory on a local disk with --data-dir"
        ) from error
    return True


def _holder(descriptor: int) -> int | None:
    written = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(written) if written.isdigit() else None


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
