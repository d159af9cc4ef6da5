"""Faults: the failures of one chunk by what they have in common, counted when they are stored.

A row beside the outcome, so that a reader learns from a few hundred bytes what a ledger of
a thousand items says: which codes it has, what its failures look like, and whose they are.
It repeats the ledger and adds nothing: where there is no row, the ledger is read.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from domain.ranges import Ranges
from streams.stores.compression import compress_marked, decompress

SAMPLES = 3
MAX_GROUPS = 200
OTHERS = "(other)"
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")

Key = tuple[str, str]
"""Code and signature."""
Sample = tuple[int, str, str]
"""Position, message and pointer."""
Failure = tuple[int, str, str, str]
"""Position, code, message and pointer."""


@dataclass(frozen=True, slots=True)
class Group:
    """Failures that look alike; ``samples`` are the first of them, ``items`` all of them."""

    code: str
    signature: str
    count: int
    samples: Sequence[Sample]
    items: Ranges


@dataclass(frozen=True, slots=True)
class Faults:
    """The columns of a chunk's row: its codes as a JSON list, and its groups, compressed."""

    codes: bytes
    groups: bytes


@lru_cache(maxsize=1024)
def signature(message: str) -> str:
    """A message without what varies from item to item: quoted text and numbers."""
    return _VARYING.sub("…", message)


class Grouping:
    """Groups so far; what is too much for their number goes into one of its code."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._samples: dict[Key, list[Sample]] = {}

    def add(self, code: str, sample: Sample) -> None:
        """One more failure."""
        self.join((code, signature(sample[1])), 1, (sample,))

    def join(self, key: Key, count: int, samples: Iterable[Sample]) -> None:
        """More failures of one group; the samples of a group are its first items."""
        if key not in self._counts and len(self._counts) >= MAX_GROUPS:
            key = key[0], OTHERS
        self._counts[key] = self._counts.get(key, 0) + count
        kept = self._samples.setdefault(key, [])
        for sample in samples:
            if len(kept) < SAMPLES or sample < kept[-1]:
                insort(kept, sample)
                del kept[SAMPLES:]

    def found(self) -> Iterator[tuple[Key, int, Sequence[Sample]]]:
        """Each group with its count and samples, in the order of their first failures."""
        for key, count in self._counts.items():
            yield key, count, self._samples[key]


def encode(failures: Iterable[Failure]) -> Faults:
    """The row of a chunk with those failures, in the order of their positions."""
    groups: dict[Key, _Forming] = {}
    for position, code, message, pointer in failures:
        key = code, signature(message)
        group = groups.get(key)
        if group is None:
            if len(groups) >= MAX_GROUPS:
                key = code, OTHERS
            group = groups.setdefault(key, _Forming())
        if len(group.samples) < SAMPLES:
            group.samples.append((position, message, pointer))
        group.add(position)
    rows = [[*key, group.count, group.samples, group.spans] for key, group in groups.items()]
    codes = list(dict.fromkeys(code for code, _ in groups))
    return Faults(orjson.dumps(codes), compress_marked(orjson.dumps(rows)))


class _Forming:
    """A group while the failures of its chunk pass by."""

    __slots__ = ("count", "samples", "spans")

    def __init__(self) -> None:
        self.count = 0
        self.samples: list[Sample] = []
        self.spans: list[list[int]] = []

    def add(self, position: int) -> None:
        """One more, behind all others."""
        self.count += 1
        if self.spans and self.spans[-1][1] == position:
            self.spans[-1][1] += 1
        else:
            self.spans.append([position, position + 1])


def decode(groups: bytes) -> list[Group]:
    """The groups of a chunk."""
    return [
        Group(code, sign, count, list(map(_sample, samples)), _ranges(spans))
        for code, sign, count, samples, spans in orjson.loads(decompress(groups))
    ]


def decode_codes(codes: bytes) -> list[str]:
    """The codes of a chunk's failures, in the order of the first of each."""
    found: list[str] = orjson.loads(codes)
    return found


def failures_of(items: Ranges, document: Mapping[str, Any]) -> Iterator[Failure]:
    """The failed items of a ledger's columns; an undo that failed is no failed item."""
    letters: str = document["statuses"]
    faults = document.get("faults") or ()
    positions = list(items) if faults else []
    for index, code, message, pointer, *_rest in faults:
        if letters[index] == "f":
            yield positions[index], code, message, pointer


def _sample(fields: Sequence[Any]) -> Sample:
    position, message, pointer = fields
    return position, message, pointer


def _ranges(spans: Sequence[Sequence[int]]) -> Ranges:
    """As they were written: sorted and apart, so there is nothing to check."""
    return Ranges(tuple((first, end) for first, end in spans))
