"""Amounts: how much text the spans of one chunk may have.

A span is three numbers, and stands for a hundred thousand characters: a request of some
kilobytes could have a worker hold, and a database keep, gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from domain.outcomes import Failed
from domain.systems.annotations.models import MAX_SELECTED
from domain.systems.annotations.validation.catalogue import TOO_MUCH_TEXT
from domain.systems.annotations.validation.issues import Issue, score_of, told

MAX_TEXT = 10_000_000
"""Characters of all spans of a chunk."""
FEW = MAX_TEXT // MAX_SELECTED
"""Items that are never too many: of those of the store that they name, no span is counted."""
ENDS = ("start_char", "end_char")


class Room:
    """What is left for the spans of a chunk; the first of them has its place in any case."""

    def __init__(self) -> None:
        self._taken = 0

    def takes(self, characters: int) -> bool:
        """Whether a span of so many characters has a place; then it is taken."""
        taken = self._taken + characters
        if taken > MAX_TEXT and self._taken:
            return False
        self._taken = taken
        return True


def beyond(
    room: Room,
    ids: Mapping[int, int],
    rows: Mapping[int, Mapping[str, Any]],
    positions: Sequence[int],
) -> dict[int, Failed]:
    """The items for whose annotations, as the store has them, there is no place in the chunk.

    By their places, as the ``ids`` are; ``rows`` have the ``ENDS`` of those that are there, and
    ``positions`` are the places in the job.
    """
    found: dict[int, Failed] = {}
    for index, key in ids.items():
        row = rows.get(key)
        if row is not None and not room.takes(row["end_char"] - row["start_char"]):
            found[index] = _with_issue(too_much_text("/id"), positions[index])
    return found


def _with_issue(failed: Failed, position: int) -> Failed:
    """The failure with the issue that it is, of an item that is not examined any more."""
    issues = [Issue(TOO_MUCH_TEXT, failed.pointer, failed.message)]
    return replace(failed, details={**told(issues, position), "score": score_of(issues)})


def too_much_text(pointer: str) -> Failed:
    """An item for whose span there is no place in its chunk."""
    return Failed(
        TOO_MUCH_TEXT.id,
        f"the spans of its chunk have more than {MAX_TEXT:,} characters; send it again with "
        f"fewer, or with a chunk_size of {FEW}",
        pointer,
        retryable=TOO_MUCH_TEXT.retryable,
    )
