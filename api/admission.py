"""Admission: how many live streams this process serves, and how all of them are ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from api.limits import Limits
from api.problems import refused

AGAIN_SECONDS: Final = 0.1
"""After which those are ended that could not be when all were."""


class Streams:
    """The live streams that are open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: set[asyncio.Timeout] = set()
        self._of: Counter[str] = Counter()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    def of(self, tenant: str) -> int:
        """How many a tenant has."""
        return self._of[tenant]

    @contextmanager
    def admitted(self, scope: asyncio.Timeout, tenant: str) -> Iterator[None]:
        """Keep a stream in mind while it lasts; raises RequestRefused when there are too many."""
        if self._closing or len(self._open) >= self._limits.streams:
            raise refused(
                503,
                "too_many_streams",
                "this server has as many live streams as it can serve; come back later",
                headers={"Retry-After": str(self._limits.retry_after)},
            )
        most = self._limits.quotas.of(tenant).streams
        if most is not None and self._of[tenant] >= most:
            raise refused(
                429,
                "quota_exceeded",
                f"tenant {tenant} has {most} live streams here, as many as it may; end some",
                headers={"Retry-After": str(self._limits.retry_after)},
            )
        self._open.add(scope)
        self._of[tenant] += 1
        try:
            yield
        finally:
            self._open.discard(scope)
            self._of[tenant] -= 1
            if not self._of[tenant]:
                del self._of[tenant]

    def close(self) -> None:
        """End every stream at its next wait; its client comes back with the last id it saw."""
        self._closing = True
        loop = asyncio.get_running_loop()
        for scope in self._open:
            # One that ends in this turn of the loop cannot be moved, nor one that is still being
            # opened: Python 3.11 asserts that.
            with suppress(RuntimeError, AssertionError):
                scope.reschedule(loop.time())
        if self._open:
            loop.call_later(AGAIN_SECONDS, self.close)
