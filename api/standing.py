"""Standing: whether who is served for long may still be; keys are revoked, tokens end."""

from __future__ import annotations

from aiohttp import web

from api.edge import IDENTITY, edge
from domain.errors import CredentialRefused


class Standing:
    """Looks now and then whether the caller of a request would be let in again."""

    def __init__(self, request: web.Request) -> None:
        self._own = edge(request)
        self._identity = request[IDENTITY]
        self._checked = self._own.clock.monotonic()

    async def check(self) -> None:
        """Raise CredentialRefused when not; asked at every turn, it looks every few seconds."""
        now = self._own.clock.monotonic()
        if now - self._checked < self._own.limits.recheck:
            return
        self._checked = now
        if not await self._own.callers.holds(self._identity):
            raise CredentialRefused("the token has expired, or the key was revoked")
