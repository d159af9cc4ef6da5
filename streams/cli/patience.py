"""Patience: how long what was lost is asked for again. No I/O here: it says how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waits in seconds: the first, the longest, and after how long it is given up.

    ``give_up`` is for what a stream brings, ``asking`` for what is asked by a key: somebody
    waits for that.
    """

    first: float = 0.1
    longest: float = 2.0
    give_up: float = 60.0
    asking: float = 15.0


class Lost:
    """Counts how long nobody answers."""

    def __init__(self, patience: Patience, clock: Callable[[], float], give_up: float) -> None:
        self._patience = patience
        self._clock = clock
        self._give_up = give_up
        self._delay = 0.0
        self._since: float | None = None
        self._opened: float | None = None

    def opened(self) -> None:
        """The server sends from now on, if it has anything to say."""
        self._opened = self._clock()

    def found(self) -> None:
        """Somebody was there: patience is whole again, and the next try is at once."""
        self._delay, self._since = 0.0, None

    def next(self, retry_after: float = 0.0) -> float | None:
        """Seconds until the next try, no less than the server asks for; None to give up."""
        now = self._clock()
        if self._opened is not None and now - self._opened > self._patience.longest:
            # Of a job that stands still nothing comes for hours; but somebody was there.
            self.found()
        self._opened = None
        self._since = now if self._since is None else self._since
        wait = max(self._delay, retry_after)
        self._delay = min(max(self._delay * 2, self._patience.first), self._patience.longest)
        return None if now + wait - self._since > self._give_up else wait
