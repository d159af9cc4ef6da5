"""How much processor time a piece of a test takes, without what is not its own."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Taken:
    """`seconds` of processor time, there once the block has ended."""

    seconds: float


@contextmanager
def processor_time() -> Iterator[Taken]:
    """Measure this thread alone, and collect no garbage meanwhile.

    What the tests before have left in the process costs some tenths of a second whenever all of
    it is looked through, and their threads may still work: neither tells how quick the block is.
    """
    taken = Taken()
    gc.collect()
    gc.disable()
    began = time.thread_time()
    try:
        yield taken
    finally:
        taken.seconds = time.thread_time() - began
        gc.enable()
