"""Admission: how many live streams this process serves, and how all of them are ended.

And how much it takes in at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from api.limits import Limits
from api.problems import RequestRefused, refused

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


class Uploads:
    """How many files are being taken in; each is on the disk of this process meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: Counter[str] = Counter()

    @contextmanager
    def admitted(self, tenant: str) -> Iterator[None]:
        """One more while it lasts; raises RequestRefused where there are as many as may be."""
        most = self._limits.uploads
        if self._of.total() >= most:
            raise _full(
                self._limits,
                503,
                "too_many_uploads",
                f"{most} files are being taken in, as many as this server takes at once",
            )
        if self._of[tenant] >= max(most - 1, 1):
            raise _full(
                self._limits,
                429,
                "quota_exceeded",
                f"{self._of[tenant]} files of tenant {tenant} are being taken in here, as many "
                "as it may; wait for one of them",
            )
        self._of[tenant] += 1
        try:
            yield
        finally:
            self._of[tenant] -= 1
            if not self._of[tenant]:
                del self._of[tenant]


class Bodies:
    """How many bytes of bodies are in memory that are still being read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def admitted(self, tenant: str) -> Iterator[Callable[[int], None]]:
        """One more while it lasts, which tells how many bytes more of it are there.

        To tell raises RequestRefused where there are as many as may be. The first ones of each
        count for nothing: what steers a job is taken in any case.
        """
        came = held = 0

        def take(size: int) -> None:
            nonlocal came, held
            came += size
            more = came - self._limits.small_body - held
            if more > 0:
                self._check(tenant, more)
                self._count(tenant, more)
                held += more

        try:
            yield take
        finally:
            self._count(tenant, -held)

    def _count(self, tenant: str, size: int) -> None:
        self._all += size
        self._of[tenant] += size
        if not self._of[tenant]:
            del self._of[tenant]

    def _check(self, tenant: str, more: int) -> None:
        most = self._limits.bodies
        part = most * 3 // 4
        if self._of[tenant] + more > part:
            raise _full(
                self._limits,
                429,
                "quota_exceeded",
                f"{part} bytes of bodies of tenant {tenant} are being taken in here, as many as "
                "it may; send fewer at once",
            )
        if self._all + more > most:
            raise _full(
                self._limits,
                503,
                "too_many_bodies",
                f"{most} bytes of bodies are being taken in, as many as this server takes at once",
            )


def _full(limits: Limits, status: int, code: str, detail: str) -> RequestRefused:
    headers = {"Retry-After": str(limits.retry_after)}
    return refused(status, code, detail, headers=headers)
