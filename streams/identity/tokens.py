"""Tokens: JSON Web Tokens, of which each issuer has its own keys and each key one algorithm.

A token says which issuer it is of and which key it was signed with; it has no say in what is
done with that key. Keys come from the settings alone: what a header brings along or points to
(``jwk``, ``jku``, ``x5u``) is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import jwt

from streams.callers import Caller
from streams.identity.identity import Identity, caller_of, refused

LEEWAY: Final = 30.0
"""Seconds by which the watches of two machines may differ."""
MAX_BYTES: Final = 8192

Algorithm = Literal["HS256", "RS256", "ES256"]

_TYPES: Final = (None, "JWT", "at+jwt", "application/at+jwt")
_OF_SESSIONS: Final = ("nonce", "at_hash", "c_hash")
"""Claims that only ID tokens have, which tell a program who is there and allow nothing."""
_MALFORMED: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key with the one algorithm that it is for."""

    material: Any
    algorithm: Algorithm


class KeySource(Protocol):
    """Where the keys of an issuer are."""

    async def candidates(self, kid: str | None) -> Sequence[VerifyingKey]:
        """The keys that a token may be signed with; raises IdentityUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets that are shared with who signs: the first one signs, the others still count."""

    secrets: Sequence[str]

    async def candidates(self, kid: str | None) -> Sequence[VerifyingKey]:  # noqa: ARG002 - few
        """All of them."""
        return [VerifyingKey(secret, "HS256") for secret in self.secrets]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """An issuer whose tokens are taken, and where they name tenant and roles.

    A claim within another one is written with a dot: ``realm_access.roles``.
    """

    issuer: str
    keys: KeySource
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"


class Tokens:
    """Checks tokens for one audience."""

    def __init__(self, audience: str, trusts: Sequence[Trust]) -> None:
        self._audience = audience
        self._trusts = {trust.issuer: trust for trust in trusts}

    async def identify(self, token: str) -> Identity:
        """Who the token speaks of; raises CredentialRefused, or IdentityUnavailable."""
        header, issuer = _unproven(token)
        trust = self._trusts.get(issuer)
        if trust is None:
            raise refused("its issuer is not one of those that this server takes")
        claims = await self._proven(token, header, trust)
        if any(name in claims for name in _OF_SESSIONS):
            raise refused("it is an ID token; send the access token")
        caller = caller_of(
            claims["sub"], _claim(claims, trust.tenant_claim), _claim(claims, trust.roles_claim)
        )
        return Identity(caller, expires_at=float(claims["exp"]) + LEEWAY)

    async def _proven(self, token: str, header: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
        kid = header.get("kid")
        candidates = await trust.keys.candidates(kid if isinstance(kid, str) else None)
        for key in candidates:
            if key.algorithm != header.get("alg"):
                continue
            try:
                return self._checked(token, key, trust)
            except jwt.InvalidSignatureError:
                continue
        raise refused("it is not signed by its issuer")

    def _checked(self, token: str, key: VerifyingKey, trust: Trust) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=trust.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError:
            raise refused("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise refused("it is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise refused("it is meant for another server") from None
        except jwt.MissingRequiredClaimError as error:
            raise refused(f"it lacks the claim {error.claim}") from None
        except _MALFORMED:
            raise refused("it cannot be read") from None


def issued(
    caller: Caller, roles: Sequence[str], *, secret: str, issuer: str, audience: str, **claims: Any
) -> str:
    """A token that says who the caller is; ``claims`` are the times and its id."""
    who = {"sub": caller.actor, "tenant": caller.tenant, "roles": list(roles)}
    said = {"iss": issuer, "aud": audience, **who, **claims}
    return jwt.encode(said, secret, algorithm="HS256", headers={"typ": "at+jwt"})


def _unproven(token: str) -> tuple[dict[str, Any], str]:
    """Header and issuer as the token says them, for the choice of the keys and no more."""
    if len(token) > MAX_BYTES:
        raise refused("it is too long")
    try:
        read = jwt.decode_complete(token, options={"verify_signature": False})
    except _MALFORMED:
        raise refused("it cannot be read") from None
    header, claims = read["header"], read["payload"]
    if header.get("typ") not in _TYPES or "crit" in header or "b64" in header:
        raise refused("its header asks for something that this server does not do")
    issuer = claims.get("iss")
    return header, issuer if isinstance(issuer, str) else ""


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the way to it."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
