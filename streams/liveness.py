"""Liveness: whether the stages move. A process that is alive and takes nothing is dead."""

from __future__ import annotations

from domain.ports import Clock


class Progress:
    """When a stage last moved, in monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved_at = clock.monotonic()

    def moved(self) -> None:
        """A message was handled and acknowledged, or its stage knows what it waits for."""
        self._moved_at = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nothing was handled; only means harm while messages wait."""
        return self._clock.monotonic() - self._moved_at
