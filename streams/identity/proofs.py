"""Proofs: what callers send to say who they are, a token or an API key, and whether it holds."""

from __future__ import annotations

from domain.ports import Clock
from streams.identity import api_keys
from streams.identity.api_keys import ApiKeys
from streams.identity.identity import Identity
from streams.identity.tokens import Tokens

__all__ = ["Identity", "Proofs"]


class Proofs:
    """Checks what callers send."""

    def __init__(self, tokens: Tokens, keys: ApiKeys, clock: Clock) -> None:
        self._tokens = tokens
        self.keys = keys
        self._clock = clock

    async def identify(self, credential: str) -> Identity:
        """Who sends it; raises CredentialRefused, or Unavailable when that cannot be told."""
        if credential.startswith(api_keys.MARK):
            return await self.keys.identify(credential)
        return await self._tokens.identify(credential)

    async def holds(self, identity: Identity) -> bool:
        """Whether an identity that was proven a while ago still is."""
        if identity.expires_at is not None and identity.expires_at <= self._now():
            return False
        return not identity.key_id or await self.keys.holds(identity)

    def _now(self) -> float:
        return self._clock.now().timestamp()
