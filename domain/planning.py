"""How many items go into a chunk, and how many chunks into one dispatch. Pure.

A fast chunk aims at ``TARGET_MS`` of work, or at ``LONG_MS``, so that progress moves, a crash
repeats little, and the cost of a chunk is spread over many items; a job's first is small, for
the first progress. What the caller asked for wins: it bounds the failure domain, and several
such chunks are then packed into one message and one transaction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from domain.caps import TICK
from domain.events import Cause
from domain.options import NO_CAPS, Caps, JobOptions

FIRST_ITEMS = 100
TARGET_MS = 40.0
"""Where a worker works one message at a time, and whatever comes waits for a chunk to end."""
LONG_MS = 250.0
"""Where it works a short one beside it. What is done for each chunk, in all processes, takes 24 ms
of a processor over Kafka; a pause waits for the chunks in flight."""
SHORT_ITEMS = FIRST_ITEMS
SHORT_MS = 10.0
"""100 items of 0.1 ms each, a job's first chunk, are just short."""
LEAST_ITEMS = 20
"""A transaction has a cost of its own. Where that is above the target, as on a database that
is busy, each smaller chunk would only make its items look dearer, down to one by one."""
MOST_MS = 1000.0
MAX_ITEMS = 2000
MAX_PACKED = 5000
"""Items of small chunks in one transaction: each chunk has its own results, so that many of
them make no large ones, and what the transaction costs is spread over more items."""
MAX_BYTES = 4_000_000
"""Of rows of 20 kB, chunks of a megabyte cost 40 % more processor time an item than the largest."""
MOST_BYTES = 8_000_000
"""What no chunk holds more of, about, whoever has said how many items: a worker has them all in
memory, and of slow work several chunks at once. One item may be larger."""
MAX_GROWTH = 10
SLOW_ITEMS = 128
SLOW_CHUNKS = 16
"""Chunks in flight of a slow job with a cap: with fewer, each that ends would leave much idle."""
SMOOTHING = 0.5
MAX_STARTS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a job's work so far; ``None`` before the first chunk is closed."""

    ms_per_item: float | None
    bytes_per_item: float
    last_items: int = FIRST_ITEMS
    target_ms: float = TARGET_MS


def smoothed(ms_per_item: float | None, measured: float) -> float:
    """The next estimate of the time an item takes, in milliseconds."""
    if ms_per_item is None:
        return measured
    return ms_per_item + SMOOTHING * (measured - ms_per_item)


def automatic_items(pace: Pace, *, slow: bool) -> int:
    """The number of items that a chunk should hold."""
    if slow:
        return SLOW_ITEMS
    return min(_fitting(pace), max(1, pace.last_items * MAX_GROWTH))


def chunk_items(options: JobOptions, pace: Pace, *, slow: bool, caps: Caps = NO_CAPS) -> int:
    """The size of the next chunk, in items; of a slow job with caps it follows from them.

    Large items make it smaller than what the caller has asked for, which is a bound.
    """
    auto = options.chunk_size == "auto"
    size = automatic_items(pace, slow=slow) if auto else int(options.chunk_size)
    if slow and caps.rate is not None:
        size = min(size, math.ceil(caps.rate * TICK))
    if slow and caps.concurrency is not None:
        size = min(size, max(1, caps.concurrency // SLOW_CHUNKS))
    return max(1, min(size, int(MOST_BYTES / max(pace.bytes_per_item, 1.0))))


def chunks_per_dispatch(
    options: JobOptions, pace: Pace, *, slow: bool, caps: Caps = NO_CAPS
) -> int:
    """How many chunks take one place; those of a job that is not slow share a message.

    Small chunks of slow work cost their workers no more than the items of a large one.
    Automatic ones grow up to their largest before several of them travel together.
    """
    if slow and not caps:
        return 1
    size = chunk_items(options, pace, slow=slow, caps=caps)
    if slow:
        return max(1, SLOW_ITEMS // size)
    most = _fitting(pace, MAX_PACKED)
    if options.chunk_size == "auto":
        return max(1, min(most, pace.last_items * MAX_GROWTH) // size)
    return max(1, most // options.chunk_size)


def undo_chunks_per_dispatch(waiting: Iterable[int], pace: Pace, *, slow: bool) -> int:
    """How many undo chunks share a message and a transaction.

    ``waiting`` is how many items each of those that come next has to put back; ``pace``
    that of the undo.
    """
    if slow:
        return 1
    left, chunks = _fitting(pace), 0
    for items in waiting:
        left -= items
        if left < 0:
            break
        chunks += 1
    return max(1, chunks)


def _fitting(pace: Pace, most: int = MAX_ITEMS) -> int:
    """The items that a transaction may hold by time, bytes and number."""
    by_bytes = int(MAX_BYTES / max(pace.bytes_per_item, 1.0))
    if pace.ms_per_item is None:
        by_time = FIRST_ITEMS
    else:
        each = max(pace.ms_per_item, 1e-6)
        by_time = max(int(pace.target_ms / each), min(LEAST_ITEMS, int(MOST_MS / each)))
    return max(1, min(by_time, by_bytes, most))


def is_short(ms_per_item: float | None, items: int, *, first: bool) -> bool:
    """Whether work is done so soon that it should wait for nothing that takes longer.

    Where nothing is known, the ``first`` message of a job is taken for it.
    """
    if items > SHORT_ITEMS:
        return False
    return first if ms_per_item is None else items * ms_per_item <= SHORT_MS


def is_suspect(cause: Cause, parent: int | None) -> bool:
    """Whether a chunk is a part of one that has killed its workers."""
    return cause is Cause.BISECT or (cause.undoing and parent is not None)


def starts_allowed(cause: Cause, parent: int | None) -> int:
    """How often a chunk may be started without outcome before it counts as a killer.

    For a suspect one death is enough.
    """
    return 1 if is_suspect(cause, parent) else MAX_STARTS
