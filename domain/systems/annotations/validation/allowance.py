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
        self._end = thread_time() + seconds
        self._steps = BETWEEN
        self._is_spent = False

    @classmethod
    def of(cls, items: int) -> Allowance:
        """That of a chunk of so many items."""
        return cls(min(SECONDS, AT_FIRST + FOR_EACH * items))

    def has_room(self, steps: int) -> bool:
        """Whether something that takes so many steps at most may still be begun."""
        self._steps += steps
        if self._steps >= BETWEEN and not self._is_spent:
            self._steps = 0
            self._is_spent = thread_time() >= self._end
        return not self._is_spent

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A scope that takes nothing of it, as to make ready what is kept for later chunks."""
        began = thread_time()
        yield
        self._end += thread_time() - began
