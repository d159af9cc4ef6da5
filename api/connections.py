"""Connections: the WebSockets that are open at this process, and what has gone through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from api.interests import Interests
from api.limits import Limits
from api.problems import RequestRefused, refused

SHARE: Final = 4
"""One address has so many times fewer places for clients that are unknown than there are."""


@dataclass(slots=True)
class Counts:
    """What one connection has to tell of itself."""

    tenant: str
    opened_at: datetime
    interests: Interests
    received: int = 0
    sent: int = 0
    overflows: int = 0


@dataclass(slots=True)
class Connections:
    """All that are open, with those of clients that have not said yet who they are."""

    limits: Limits
    _open: dict[int, Counts] = field(default_factory=dict)
    _unknown: Counter[str] = field(default_factory=Counter)
    """By the address they come from."""

    def __len__(self) -> int:
        return len(self._open)

    def of(self, tenant: str) -> list[Counts]:
        """Those of a tenant."""
        return [one for one in self._open.values() if one.tenant == tenant]

    @contextmanager
    def opened(self, counts: Counts) -> Iterator[None]:
        """Keep a connection in mind while it lasts."""
        self._open[id(counts)] = counts
        try:
            yield
        finally:
            del self._open[id(counts)]

    @contextmanager
    def unknown(self, whence: str) -> Iterator[None]:
        """While a client has not said who it is; raises RequestRefused for too many of those.

        Those that come from one address leave places to others: nothing is known of them.
        """
        most = self.limits.ws_unknown
        if self._unknown.total() >= most:
            raise self._refused("too many clients")
        if self._unknown[whence] >= max(most // SHARE, 1):
            raise self._refused("too many clients of your address")
        self._unknown[whence] += 1
        try:
            yield
        finally:
            self._unknown[whence] -= 1
            if not self._unknown[whence]:
                del self._unknown[whence]

    def _refused(self, whom: str) -> RequestRefused:
        return refused(
            503,
            "too_many_streams",
            f"{whom} have not said yet who they are; come back later, with a token",
            headers={"Retry-After": str(self.limits.retry_after)},
        )
