"""Compensation: taking back what items have done outside of the database, on an undo. Pure.

It happens item by item, the last one first, each with its attempts; what is taken back stays
taken back, whatever becomes of the chunk, of the process or of this undo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.options import Backoff
from domain.outcomes import Conflicted, Failed, Restored, UndoResult
from domain.retrying import Draw

HELD_BACK = "held_back"
"""The code of what is not put back, as something that goes with it is not."""
NOT_TRIED = Failed("not_compensated", "its effects outside are not taken back yet", retryable=True)


class Stage(StrEnum):
    """How far the compensation of an item has come."""

    TRYING = "trying"
    DONE = "done"
    FAILED = "failed"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Tried:
    """What is known of the compensation of the item at ``position``.

    ``generation`` is that of the undo which has tried it last, ``attempts`` how often that one
    has; with ``ended`` that one tries no more, unless it is done.
    """

    position: int
    generation: int
    attempts: int
    result: UndoResult
    ended: bool = True

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if isinstance(self.result, Restored):
            return Stage.DONE
        if not self.ended:
            return Stage.TRYING
        return Stage.CONFLICT if isinstance(self.result, Conflicted) else Stage.FAILED

    def of(self, generation: int) -> UndoResult | None:
        """What the undo of a generation need not ask for again."""
        settled = self.ended and self.generation == generation
        return self.result if settled or self.stage is Stage.DONE else None


def attempts_before(known: Tried | None, generation: int) -> int:
    """How often an undo has tried an item so far."""
    return known.attempts if known is not None and known.generation == generation else 0


def again_in(patience: Backoff, attempts: int, result: UndoResult, draw: Draw) -> float | None:
    """After how many seconds an item is tried again; None when it is not.

    A random part of a window that grows with each attempt (full jitter).
    """
    if not isinstance(result, Failed) or not result.retryable or attempts >= patience.attempts:
        return None
    return draw() * patience.window(attempts)


class Fellows:
    """Items that wrote to the same records: all of them are put back, or none is."""

    def __init__(self, groups: Iterable[Sequence[int]]) -> None:
        self._group = {position: group[0] for group in groups for position in group}
        self._kept: dict[int, tuple[int, UndoResult | None]] = {}
        """By group, an item of it that stays as it is, and why."""

    def learn(self, position: int, result: UndoResult | None) -> None:
        """What has become of the compensation of an item; None if it was never asked for."""
        group = self._group.get(position)
        if group is not None and not isinstance(result, Restored):
            self._kept.setdefault(group, (position, result))

    def held(self, position: int) -> UndoResult | None:
        """Why an item stays as it is because of another one."""
        kept = self._kept.get(self._group.get(position, -1))
        if kept is None or kept[0] == position:
            return None
        other, result = kept
        if isinstance(result, Conflicted):
            reason = f"{result.reason}, which item {other} has met"
            return Conflicted(result.record, result.by, reason)
        what = "is not compensated" if result is None else "could not be compensated"
        message = f"it is put back only along with item {other}, which {what}"
        return Failed(HELD_BACK, message, retryable=True)


def left_alone(
    positions: Iterable[int], known: Mapping[int, UndoResult | None], fellows: Fellows
) -> dict[int, UndoResult]:
    """Of the items of an undo those whose records stay as they are, each with the reason.

    ``known`` has what became of the compensation of every item that still stands.
    """
    for position, result in known.items():
        fellows.learn(position, result)
    left: dict[int, UndoResult] = {}
    for position in positions:
        result = known.get(position) or NOT_TRIED
        found = fellows.held(position) if isinstance(result, Restored) else result
        if found is not None:
            left[position] = found
    return left
