"""What the domain asks of the world: time and names. Passed in, never taken from the air."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is recorded, monotonic time for what is measured."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin that never goes back."""
        ...


class Ids(Protocol):
    """Source of identifiers."""

    def new(self) -> str:
        """A fresh identifier (UUID, text form); later ones sort after earlier ones."""
        ...
