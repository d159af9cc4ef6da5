"""Connections: the WebSockets that are open at this process, and what has gone through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from api.interests import Interests
from api.limits import Limits
from api.problems import refused


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
    _unknown: int = 0

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
    def unknown(self) -> Iterator[None]:
        """While a client has not said who it is; raises RequestRefused for too many of those."""
        if self._unknown >= self.limits.ws_unknown:
            raise refused(
                503,
                "too_many_streams",
                "too many clients have not said yet who they are; come back later, with a token",
                headers={"Retry-After": str(self.limits.retry_after)},
            )
        self._unknown += 1
        try:
            yield
        finally:
            self._unknown -= 1
