"""Proofs: what callers send to say who they are, a token or an API key, and whether it holds."""

from __future__ import annotations

from domain.ports import Clock
from streams.identity import api_keys
from streams.identity.api_keys import ApiKeys
from streams.identity.identity import Identity, refused
from streams.identity.tickets import Tickets
from streams.identity.tokens import Tokens

__all__ = ["Identity", "Proofs"]


class Proofs:
    """Checks what callers send."""

    def __init__(self, tokens: Tokens, keys: ApiKeys, tickets: Tickets, clock: Clock) -> None:
        self._tokens = tokens
        self.keys = keys
        self.tickets = tickets
        self._clock = clock

    async def identify(self, credential: str) -> Identity:
        """Who sends it; raises CredentialRefused, or Unavailable when that cannot be told."""
        if credential.startswith(api_keys.MARK):
            return await self.keys.identify(credential)
        return await self._tokens.identify(credential)

    async def redeem(self, ticket: str, job_id: str) -> Identity:
        """Whose ticket for the stream of a job it was, if they would still be let in."""
        identity = await self.tickets.redeem(ticket, job_id)
        if not await self.holds(identity):
            raise refused("who has asked for the ticket is not let in any more")
        return identity

    async def holds(self, identity: Identity) -> bool:
        """Whether an identity that was proven a while ago still is."""
        if identity.expires_at is not None and identity.expires_at <= self._now():
            return False
        return not identity.key_id or await self.keys.holds(identity)

    def _now(self) -> float:
        return self._clock.now().timestamp()
