"""Portions: how much one event may hold, so that each fits into a message.

Ranges of single positions are what makes events large: every other item of a job of
150,000 has failed, and is retried. What is more than a portion goes into several events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from domain.outcomes import ClosedChunk
from domain.ranges import Ranges

MAX_SPANS = 20_000
"""A span takes 18 bytes as JSON, so that a portion is well below half a message."""
CHUNK_SPANS = 25
"""What a chunk takes beside its spans, as if it were spans."""
NOTHING: Mapping[int, int] = MappingProxyType({})


def of_ranges(items: Ranges) -> Iterator[Ranges]:
    """The ranges in portions, in order."""
    for first in range(0, len(items.spans), MAX_SPANS):
        yield Ranges(items.spans[first : first + MAX_SPANS])


def of_chunks(
    chunks: Iterable[ClosedChunk], beside: Mapping[int, int] = NOTHING
) -> Iterator[tuple[ClosedChunk, ...]]:
    """The chunks in portions, in order; a chunk is never cut.

    ``beside`` is how many spans more an event may hold for a chunk, by its number.
    """
    portion: list[ClosedChunk] = []
    room = MAX_SPANS
    for chunk in chunks:
        takes = weight(chunk.returned) + beside.get(chunk.chunk, 0)
        room -= takes
        if portion and room < 0:
            yield tuple(portion)
            portion, room = [], MAX_SPANS - takes
        portion.append(chunk)
    if portion:
        yield tuple(portion)


def weight(items: Ranges) -> int:
    """What a chunk with these items takes of a portion."""
    return CHUNK_SPANS + len(items.spans)
