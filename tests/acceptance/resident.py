"""How much memory the processes of a server have had, all of them together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from benchmarks import measure

MB = 1_000_000
_EVERY = 0.25


@dataclass
class Resident:
    """The sum of what each process has had at most, in bytes: no moment had more."""

    peak: int = 0


@contextmanager
def watched(pid: int) -> Iterator[Resident]:
    """Look at a process and all that it has started, again and again, until the block ends."""
    seen, over = Resident(), threading.Event()

    def look() -> None:
        # One that ends meanwhile is looked at no more.
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            seen.peak = max(seen.peak, measure.take(measure.family(pid)).peak)

    def keep_looking() -> None:
        while not over.wait(_EVERY):
            look()

    looking = threading.Thread(target=keep_looking, name="resident")
    looking.start()
    try:
        yield seen
        look()
    finally:
        over.set()
        looking.join()
