"""Standing: whether who is served for long may still be; keys are revoked, tokens end.

Whoever is asked at every turn looks every few seconds only.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from api.edge import IDENTITY, Edge, edge
from domain.errors import CredentialRefused, Unavailable
from streams.identity import Identity


class Looks:
    """When it is time to look again at somebody who is served."""

    def __init__(self, own: Edge) -> None:
        self._own = own
        self._looked = own.clock.monotonic()

    def are_due(self) -> bool:
        """Whether the last look is long enough ago; who is told so is going to look."""
        now = self._own.clock.monotonic()
        if now - self._looked < self._own.limits.recheck:
            return False
        self._looked = now
        return True


class Standing:
    """Looks now and then whether the caller of a request would be let in again.

    A token may have ended ``late`` seconds ago; a key that was revoked is none at once.
    """

    def __init__(self, request: web.Request, late: float = 0.0) -> None:
        self._own = edge(request)
        self._identity = _prolonged(request[IDENTITY], late)
        self._looks = Looks(self._own)

    async def check(self) -> None:
        """Raise CredentialRefused when not."""
        if self._looks.are_due() and not await self._own.callers.holds(self._identity):
            raise CredentialRefused("the token has expired, or the key was revoked")

    async def look(self) -> None:
        """As ``check``, where there is a later one: who cannot be asked about now is let be."""
        with suppress(Unavailable):
            await self.check()


def _prolonged(identity: Identity, late: float) -> Identity:
    """As if a token ended so much later."""
    if identity.key_id or identity.expires_at is None:
        return identity
    return replace(identity, expires_at=identity.expires_at + late)
