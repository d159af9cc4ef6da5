"""Who calls, in tests: tokens of a secret, and API keys in a database."""

from __future__ import annotations

import secrets

from api.callers import ProvenCallers
from domain.ports import Clock
from streams.clock import SystemClock, TimeOrderedIds
from streams.identity import ApiKeys, Proofs, Tickets, Tokens, Trust
from streams.identity.tokens import KeySource, Secrets
from streams.rates import Rate
from streams.stores.database import Database
from tests.unit.streams.identity.signing import AUDIENCE, SECRET, token


def proven(
    database: Database,
    keys: KeySource | None = None,
    failures: Rate | None = None,
    clock: Clock | None = None,
) -> ProvenCallers:
    """Callers must show a token of the secret, or a key of the database."""
    clock = clock or SystemClock()
    trust = Trust(issuer="countermand", keys=keys or Secrets([SECRET]))
    made = ApiKeys(database=database, clock=clock, ids=TimeOrderedIds(), draw=secrets.token_hex)
    tickets = Tickets(database, clock, secrets.token_hex)
    return ProvenCallers(Proofs(Tokens(AUDIENCE, [trust]), made, tickets, clock), failures)


def bearer(tenant: str, *roles: str, actor: str = "ada") -> dict[str, str]:
    """The header of somebody with these roles."""
    return carrying(token(sub=actor, tenant=tenant, roles=list(roles)))


def carrying(credential: str) -> dict[str, str]:
    """The header with a token or a key."""
    return {"Authorization": f"Bearer {credential}"}
