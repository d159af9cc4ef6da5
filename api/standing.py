"""Standing: whether who is served for long may still be; keys are revoked, tokens end.

Whoever is asked at every turn looks every few seconds only.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from aiohttp import web

from api.edge import IDENTITY, Edge, edge
from domain.errors import CredentialRefused, Unavailable
from streams.identity import Identity

MOMENT: Final = 1.0
"""Seconds for which whoever was let in needs no other look."""


class Looks:
    """When it is time to look again at somebody who is served."""

    def __init__(self, own: Edge) -> None:
        self._own = own
        self._looked = own.clock.monotonic()

    def are_due(self, most: float = math.inf) -> bool:
        """Whether the last look is long enough ago; who is told so is going to look.

        What is long enough is set for all, and ``most`` seconds at most.
        """
        now = self._own.clock.monotonic()
        if now - self._looked < min(self._own.limits.recheck, most):
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
        self._is_known = True

    async def check(self) -> None:
        """Raise CredentialRefused when not."""
        if self._looks.are_due():
            await self._check()

    async def look(self) -> None:
        """As ``check``, where there is a later one: who cannot be asked about now is let be."""
        try:
            await self.check()
        except Unavailable:
            self._is_known = False

    async def check_last(self) -> None:
        """As ``check``, before what was sent takes effect: of what took more than a moment."""
        if self._looks.are_due(MOMENT) or not self._is_known:
            await self._check()

    async def _check(self) -> None:
        if not await self._own.callers.holds(self._identity):
            raise CredentialRefused("the token has expired, or the key was revoked")
        self._is_known = True


def _prolonged(identity: Identity, late: float) -> Identity:
    """As if a token ended so much later."""
    if identity.key_id or identity.expires_at is None:
        return identity
    return replace(identity, expires_at=identity.expires_at + late)
