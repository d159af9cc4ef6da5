"""Proofs: what checks who calls, made as the settings say."""

from __future__ import annotations

import secrets
from pathlib import Path

from streams.bootstrap.parts import Engine
from streams.clock import TimeOrderedIds
from streams.identity import ApiKeys, Proofs, Tickets, Tokens, Trust, jwks
from streams.identity.tokens import Secrets
from streams.settings import Settings


def proofs_of(settings: Settings, engine: Engine) -> Proofs:
    """For a server that asks callers who they are."""
    keys = ApiKeys(
        database=engine.database,
        clock=engine.clock,
        ids=TimeOrderedIds(),
        draw=secrets.token_hex,
    )
    tokens = Tokens(settings.token_audience, _trusts(settings, engine))
    tickets = Tickets(engine.database, engine.clock, secrets.token_hex)
    return Proofs(tokens, keys, tickets, engine.clock)


def _trusts(settings: Settings, engine: Engine) -> list[Trust]:
    found = []
    if settings.token_secrets:
        found.append(Trust(issuer=settings.token_issuer, keys=Secrets(settings.token_secrets)))
    if settings.jwks:
        remote = "://" in settings.jwks
        place = settings.jwks
        load = jwks.from_address(place) if remote else jwks.from_file(Path(place))
        found.append(
            Trust(
                issuer=settings.jwks_issuer,
                keys=jwks.Jwks(load, engine.clock),
                tenant_claim=settings.jwks_tenant_claim,
                roles_claim=settings.jwks_roles_claim,
            )
        )
    return found
