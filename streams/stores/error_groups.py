"""Error groups: the failed items of a job by what their errors have in common, in one pass.

Only the ledgers are read, the latest chunk in plan order first, and of each only who has
failed; neither items nor results are looked at.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores.outcomes import ledger_rows

SAMPLES = 3
MAX_GROUPS = 200
OTHERS = "(other)"
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")

Key = tuple[str, str]
"""Code and signature."""
Sample = tuple[int, str, str]
"""Position, message and pointer."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures that look alike, with a few of them."""

    code: str
    signature: str
    count: int
    samples: Sequence[Mapping[str, Any]]


@lru_cache(maxsize=1024)
def signature(message: str) -> str:
    """A message without what varies from item to item: quoted text and numbers."""
    return _VARYING.sub("…", message)


def group_errors(connection: Connection, job_id: str, other: Ranges) -> list[ErrorGroup]:
    """The failed items of a job, the largest group first; those of ``other`` are left out."""
    grouping = Grouping()
    spoken = _Spoken(other)
    for _chunk, _attempt, data in ledger_rows(connection, job_id):
        document = ledgers.decode(data)
        fresh = spoken.take(document)
        for index, code, message, pointer, _retryable in document.get("faults") or ():
            position = fresh.get(index)
            if position is not None:
                grouping.add(code, (position, message, pointer))
    return grouping.found()


class _Spoken:
    """The positions of which the latest word is known."""

    def __init__(self, positions: Ranges) -> None:
        self._flags = bytearray()
        for first, end in positions.spans:
            self._flags.extend(bytes(first - len(self._flags)))
            self._flags.extend(b"\1" * (end - first))

    def take(self, document: Mapping[str, Any]) -> dict[int, int]:
        """Take in a ledger; index and position of the failures that are an item's latest word."""
        failed: dict[int, int] = {}
        positions = Ranges.from_spans(document["items"])
        letters: str = document["statuses"]
        for index, (position, letter) in enumerate(zip(positions, letters, strict=True)):
            status = ledgers.LETTERS[letter]
            if status is None or not self._is_new(position):
                continue
            if status is ItemStatus.FAILED:
                failed[index] = position
        return failed

    def _is_new(self, position: int) -> bool:
        if position >= len(self._flags):
            self._flags.extend(bytes(position + 1 - len(self._flags)))
        if self._flags[position]:
            return False
        self._flags[position] = 1
        return True


class Grouping:
    """Groups so far; what is too much for their number goes into one of its code."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._samples: dict[Key, list[Sample]] = {}

    def add(self, code: str, sample: Sample) -> None:
        """One more failure; the samples of a group are its first items."""
        key = code, signature(sample[1])
        if key not in self._counts and len(self._counts) >= MAX_GROUPS:
            key = code, OTHERS
        self._counts[key] = self._counts.get(key, 0) + 1
        samples = self._samples.setdefault(key, [])
        if len(samples) < SAMPLES or sample < samples[-1]:
            insort(samples, sample)
            del samples[SAMPLES:]

    def found(self) -> list[ErrorGroup]:
        """The groups, the largest first."""
        groups = [
            ErrorGroup(*key, count, [_shown(sample) for sample in self._samples[key]])
            for key, count in self._counts.items()
        ]
        return sorted(groups, key=lambda group: (-group.count, group.code, group.signature))


def _shown(sample: Sample) -> Mapping[str, Any]:
    position, message, pointer = sample
    return {"item": position, "message": message, "pointer": pointer}
