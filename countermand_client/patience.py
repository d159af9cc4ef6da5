"""Patience: how often and how long a call is repeated. No I/O here: it says how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Repetitions of one call, or of one stream while nobody sends it; waits in seconds.

    ``connect`` is how long a connection may take, ``answer`` how long an answer, ``silence``
    how long a stream may bring nothing (the server sends a sign of life every 15 s).
    """

    attempts: int = 10
    first: float = 0.1
    longest: float = 5.0
    give_up: float = 60.0
    connect: float = 5.0
    answer: float = 60.0
    silence: float = 45.0


class Waits:
    """The waits between the attempts at one thing; ``draw`` gives a number from 0 to 1."""

    def __init__(
        self, patience: Patience, clock: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._draw = draw
        self.start_over()

    def start_over(self) -> None:
        """It went well for once: patience is whole again."""
        self._attempts = 0
        self._since: float | None = None
        self._opened: float | None = None

    def opened(self) -> None:
        """The server sends from now on, if it has anything to say.

        A connection that has stood for longer than the longest wait was no failed attempt: of a
        job that stands still nothing comes for hours.
        """
        self._opened = self._clock()

    def next(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait after a failure; None when it is time to give up.

        As long as the server asks for, where it does; else a random part of a window that
        doubles, so that many clients do not come back at once.
        """
        now, patience = self._clock(), self._patience
        if self._opened is not None and now - self._opened > patience.longest:
            self.start_over()
        self._opened = None
        self._since = now if self._since is None else self._since
        self._attempts += 1
        window = min(patience.longest, patience.first * 2.0 ** (self._attempts - 1))
        wait = window * (0.5 + self._draw() / 2) if retry_after is None else retry_after
        late = now + wait - self._since > patience.give_up
        return None if late or self._attempts >= patience.attempts else wait
