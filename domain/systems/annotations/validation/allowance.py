"""Allowance: how long a project's own patterns and expressions may be worked on for one chunk.

Each takes time in proportion to the text; but to its own size as well, and a project has a
hundred of them: a single request could keep a worker at it for minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time

SECONDS = 10.0
"""Seconds of the processor for all of a chunk. Time that others take away does not count."""
AT_FIRST, FOR_EACH = 2.0, 0.1
"""Seconds that a chunk has for one item at least, and for each of few: somebody waits for them."""
BETWEEN = 1_000_000
"""Steps between two looks at the clock: of the costliest patterns, a hundredth of a second."""


class Allowance:
    """What is left of the time; belongs to one thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._paused = thread_time()
        self._end = self._paused + seconds
        self._steps = BETWEEN
        self._is_spent = False

    @classmethod
    def of(cls, items: int) -> Allowance:
        """That of a chunk of so many items."""
        return cls(min(SECONDS, AT_FIRST + FOR_EACH * items))

    def left(self) -> float:
        """The seconds that are left, by the clock; 0 once they are spent."""
        left = self._end - thread_time()
        self._is_spent = self._is_spent or left <= 0
        return 0.0 if self._is_spent else left

    def has_room(self, steps: int) -> bool:
        """Whether something that takes so many steps at most may still be begun."""
        self._steps += steps
        if self._steps >= BETWEEN and not self._is_spent:
            self._steps = 0
            self.left()
        return not self._is_spent

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """A scope that takes of it; what else a chunk does between two of them takes nothing."""
        self._end += thread_time() - self._paused
        yield
        self._paused = thread_time()
