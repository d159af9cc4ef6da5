"""API keys: for services, which have no identity provider to go to.

A key is shown once, when it is made or rotated; what is stored is a digest of it. Its secret
is 32 random bytes, so a plain hash cannot be guessed backwards.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from domain.errors import InvalidCommand, KeyNotFound, Unavailable
from domain.permissions import GRANTS, granted, granted_in_projects, is_grant
from domain.ports import Clock, Ids
from streams.callers import Caller
from streams.identity.identity import KEY_ACTOR, Identity, refused, with_grants
from streams.stores import api_keys as store
from streams.stores.api_keys import KeyRow
from streams.stores.database import Database

MARK: Final = "cmk_"
"""What a key begins with, so that scanners for leaked secrets can know one."""
USED_EVERY: Final = 60.0
"""Seconds by which the time of the last use may be behind."""
MAX_OVERLAP: Final = 30 * 86400.0
LAST_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""No later moment can be said in UTC, and what cannot be said is not stored."""

_KEY = re.compile(rf"{MARK}(?P<id>[0-9a-f]{{32}})_(?P<secret>[0-9a-f]{{64}})")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_NOT_KNOWN = "there is no such API key, or it was revoked, or it has expired"

Draw = Callable[[int], str]
"""So many random bytes, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its text, which is never shown again."""

    row: KeyRow
    text: str


class ApiKeys:
    """Makes, lists, rotates, revokes and checks keys; each call sees one tenant's."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, draw: Draw) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._draw = draw

    # -- for those who administer ------------------------------------------------------

    async def create(
        self, caller: Caller, name: str, roles: Sequence[str], expires_at: float | None
    ) -> NewKey:
        """A key for the service of that name; nobody can give what they do not hold."""
        if _NAME.fullmatch(name) is None:
            raise InvalidCommand(
                "a name begins with a letter or a digit, and has up to 100 of these, with . _ -",
                pointer="/name",
            )
        _check_roles(caller, roles)
        now = self._now()
        _check_end(expires_at, now)
        row = KeyRow(
            key_id=self._ids.new().replace("-", ""),
            tenant=caller.tenant,
            name=name,
            roles=" ".join(dict.fromkeys(roles)),
            created_at=now,
            created_by=caller.actor,
            expires_at=expires_at,
        )
        secret = self._draw(32)
        await self._database.write(lambda found: store.insert(found, row, _digest(secret)))
        return NewKey(row, _text(row.key_id, secret))

    async def page(self, tenant: str, after: str, limit: int) -> list[KeyRow]:
        """At most ``limit`` keys behind the one with the id ``after``, revoked ones included."""
        return await self._database.read(lambda found: store.page(found, tenant, after, limit))

    async def rotate(self, caller: Caller, key_id: str, overlap: float) -> NewKey:
        """Another secret for a key; the one that it has now goes on for ``overlap`` seconds."""
        now, secret = self._now(), self._draw(32)
        if not 0 <= overlap <= MAX_OVERLAP:
            raise InvalidCommand(
                f"the old secret can go on for 0 to {MAX_OVERLAP:.0f} seconds", pointer="/overlap"
            )

        def rotated(connection: Connection) -> KeyRow:
            row = _rotatable(store.find(connection, key_id), caller, key_id, now)
            store.rotate(connection, row, _digest(secret), now=now, until=now + overlap)
            return _known(store.find(connection, key_id), caller, key_id)

        row = await self._database.write(rotated)
        return NewKey(row, _text(key_id, secret))

    async def revoke(self, caller: Caller, key_id: str) -> KeyRow:
        """Never again, by whichever secret; revoked twice is revoked."""
        now = self._now()

        def revoked(connection: Connection) -> KeyRow:
            _known(store.find(connection, key_id), caller, key_id)
            store.revoke(connection, key_id, now)
            return _known(store.find(connection, key_id), caller, key_id)

        return await self._database.write(revoked)

    # -- for the edge --------------------------------------------------------------------

    async def identify(self, text: str) -> Identity:
        """Who sends a key; raises CredentialRefused, and Unavailable without the database."""
        match = _KEY.fullmatch(text)
        if match is None:
            raise refused("it is no API key")
        row = await self._database.read(partial(store.find, key_id=match["id"]))
        digest, now = _digest(match["secret"]), self._now()
        if row is None or not _counts(row, digest, now):
            raise refused(_NOT_KNOWN)
        if now - (row.last_used_at or 0.0) > USED_EVERY:
            # Who is let in does not depend on whether that can be noted.
            with suppress(Unavailable):
                await self._database.write(
                    lambda found: store.used(found, row.key_id, now), lasting=False
                )
        caller = with_grants(row.tenant, f"{KEY_ACTOR}{row.name}", row.roles.split())
        return Identity(caller, row.expires_at, key_id=row.key_id, digest=digest)

    async def holds(self, identity: Identity) -> bool:
        """Whether a key that was let in would be let in now."""
        row = await self._database.read(partial(store.find, key_id=identity.key_id))
        return row is not None and _counts(row, identity.digest, self._now())

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _counts(row: KeyRow, digest: bytes, now: float) -> bool:
    """Whether a secret is the key's, or was until lately, and the key is still good."""
    until = row.previous_until or 0.0
    own = hmac.compare_digest(row.secret, digest)
    former = hmac.compare_digest(row.previous or b"", digest) and now < until
    return (own or former) and _is_good(row, now)


def _is_good(row: KeyRow, now: float) -> bool:
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


def _known(row: KeyRow | None, caller: Caller, key_id: str) -> KeyRow:
    """The key, if it is one of the caller's tenant; raises KeyNotFound."""
    if row is None or row.tenant != caller.tenant:
        raise KeyNotFound(f"there is no API key {key_id}; `countermand key list` lists them")
    return row


def _rotatable(row: KeyRow | None, caller: Caller, key_id: str, now: float) -> KeyRow:
    """The key, if it is good and may no more than the caller, who is about to hold it."""
    known = _known(row, caller, key_id)
    _check_held(caller, known.roles.split())
    if not _is_good(known, now):
        raise InvalidCommand(f"the key {known.name} was revoked, or has expired; make another one")
    return known


def _check_roles(caller: Caller, roles: Sequence[str]) -> None:
    """Raise InvalidCommand for what cannot be granted, PermissionLacking for what one lacks."""
    if not roles:
        raise InvalidCommand(f"say what the key may do: {', '.join(GRANTS)}", pointer="/roles")
    for place, name in enumerate(roles):
        if not is_grant(name):
            raise InvalidCommand(
                f"there is no role or permission {name!r}; possible: {', '.join(GRANTS)}, and "
                "each of them for one project, as editor@letters",
                pointer=f"/roles/{place}",
            )
    _check_held(caller, roles)


def _check_end(expires_at: float | None, now: float) -> None:
    """Raise InvalidCommand for a key that would have ended, or later than dates go."""
    if expires_at is not None and expires_at <= now:
        raise InvalidCommand("it would have expired already", pointer="/expires_at")
    if expires_at is not None and expires_at > LAST_END:
        raise InvalidCommand(
            "expires_at is beyond the year 9999 in UTC; say an earlier one, or leave it out for a "
            "key that does not end",
            pointer="/expires_at",
        )


def _check_held(caller: Caller, roles: Sequence[str]) -> None:
    """Raise PermissionLacking for what the caller does not hold, there or in the whole tenant."""
    for permission in sorted(granted(roles)):
        caller.demand(permission)
    for project, permission in sorted(granted_in_projects(roles)):
        caller.of({project}).demand(permission)


def _text(key_id: str, secret: str) -> str:
    return f"{MARK}{key_id}_{secret}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
