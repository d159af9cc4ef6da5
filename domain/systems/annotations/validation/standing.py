"""Standing: which items of a batch have a span, words or values, as turn comes after turn."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

from domain.systems.annotations.validation.subjects import Batch

Key = TypeVar("Key", bound=Hashable)


class Standing(Generic[Key]):
    """The items that stand under a key at the turn of another one, the first of them first.

    An annotation that comes again leaves what it had, unless it is refused there; and who stood
    behind it stands first from then on.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._under: dict[Key, dict[int, None]] = {}
        self._of: dict[int, list[tuple[Key, int]]] = {}

    def walk(self, indexes: Sequence[int]) -> Iterator[int]:
        """The items in the order of their turns, as a job that writes has them."""
        for turn in self._batch.in_turns(indexes):
            for index in turn:
                self._leave(index)
            yield from turn

    def _leave(self, index: int) -> None:
        if index not in self._batch.refused:
            for key, before in self._of.pop(self._batch.own[index], ()):
                del self._under[key][before]

    def stand(self, key: Key, index: int) -> None:
        """Have an item stand there from now on; one that is refused does not."""
        batch = self._batch
        if index not in batch.refused:
            self._under.setdefault(key, {})[index] = None
            if batch.own[index] in batch.repeated:
                self._of.setdefault(batch.own[index], []).append((key, index))

    def other(self, key: Key, index: int) -> int | None:
        """The first item that stands there and is about another annotation than this one."""
        there = self._under.get(key, ())
        return next((one for one in there if not self._batch.is_of_one(index, one)), None)
