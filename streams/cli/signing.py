"""Signing: a token from the secret of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.errors import InvalidCommand, SettingsInvalid
from domain.permissions import GRANTS, is_grant
from streams.callers import Caller
from streams.clock import SystemClock, TimeOrderedIds
from streams.identity.identity import is_actor, is_tenant
from streams.identity.tokens import issued
from streams.settings import load


@dataclass(frozen=True, slots=True)
class Signed:
    """A token and its end, ISO 8601."""

    text: str
    expires_at: str


def signed(actor: str, tenant: str, roles: Sequence[str], hours: float) -> Signed:
    """A token as ``countermand token`` prints it; raises InvalidCommand, SettingsInvalid."""
    settings = load()
    if not settings.token_secrets:
        raise SettingsInvalid(
            "there is no secret to sign with; set COUNTERMAND_TOKEN_SECRET_FILE to the file that "
            "the servers have. Where they trust an identity provider alone, it makes the tokens"
        )
    if not is_actor(actor):
        raise InvalidCommand(f"nobody can be called {actor!r} in the audit trail; choose another")
    if not is_tenant(tenant):
        raise InvalidCommand(f"no tenant can be called {tenant!r}; leave out spaces and slashes")
    unknown = [role for role in roles if not is_grant(role)]
    if unknown:
        raise InvalidCommand(
            f"there is no role or permission {unknown[0]!r}; possible: {', '.join(GRANTS)}, "
            "and each of them for one project, as editor@letters"
        )
    now = SystemClock().now()
    end = now + timedelta(hours=hours)
    text = issued(
        Caller(tenant, actor),
        roles,
        secret=settings.token_secrets[0],
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        iat=int(now.timestamp()),
        exp=int(end.timestamp()),
        jti=TimeOrderedIds().new(),
    )
    return Signed(text, end.isoformat(timespec="seconds"))
