"""Identity: a caller, and for how long the proof of it holds."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from domain.errors import CredentialRefused
from domain.permissions import granted, granted_in_projects
from streams.callers import Caller

MAX_ACTOR = 200
MAX_TENANT = 100
OURS = frozenset({"engine", "sweep", "retention"})
"""Names that the engine itself has in the audit trail."""
KEY_ACTOR = "key:"
"""What the name of a service in the audit trail begins with; no token may bear such a name."""

_TENANT = re.compile(rf"[^/\s\x00-\x1f\x7f]{{1,{MAX_TENANT}}}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls; ``expires_at`` is when the proof ends by itself, in seconds since the epoch.

    ``key_id`` and ``digest`` are those of an API key, whose proof may end sooner.
    """

    caller: Caller
    expires_at: float | None = None
    key_id: str = ""
    digest: bytes = b""


def is_actor(name: object) -> bool:
    """Whether somebody outside may bear this name in the audit trail."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_ACTOR
        and name.isprintable()
        and name not in OURS
        and not name.startswith(KEY_ACTOR)
    )


def is_tenant(name: object) -> bool:
    """Whether a tenant can be called so."""
    return isinstance(name, str) and _TENANT.fullmatch(name) is not None and name not in OURS


def caller_of(actor: object, tenant: object, roles: object) -> Caller:
    """The caller that claims speak of; raises CredentialRefused for what no name can be."""
    if not isinstance(actor, str) or not is_actor(actor):
        raise refused(f"it names no subject (1 to {MAX_ACTOR} characters, not one of ours)")
    if not isinstance(tenant, str) or not is_tenant(tenant):
        raise refused(f"it names no tenant (1 to {MAX_TENANT} characters without spaces)")
    names = roles.split() if isinstance(roles, str) else roles
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return with_grants(tenant, actor, listed)


def with_grants(tenant: str, actor: str, names: Collection[str]) -> Caller:
    """A caller who may do what these names grant."""
    return Caller(tenant, actor, granted(names), granted_in_projects(names))


def refused(reason: str) -> CredentialRefused:
    """The refusal of a token or a key; the caller is told the reason as well."""
    return CredentialRefused(f"the token is not accepted: {reason}", reason=reason)
