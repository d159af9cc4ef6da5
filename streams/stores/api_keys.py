"""API keys as they are stored: digests of secrets, never secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy import insert as insertion
from sqlalchemy.exc import IntegrityError

from domain.errors import InvalidCommand
from streams.stores.schema_callers import api_keys
from streams.stores.statements import fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key; ``roles`` are names with spaces between, times are seconds since the epoch.

    ``secret`` and ``previous`` are digests; the second one counts until ``previous_until``.
    """

    key_id: str
    tenant: str
    name: str
    roles: str
    created_at: float
    created_by: str
    expires_at: float | None = None
    rotated_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    previous_until: float | None = None
    secret: bytes = field(default=b"", repr=False)
    previous: bytes | None = field(default=None, repr=False)


_COLUMNS = [column.name for column in api_keys.columns]
_FIND = fixed(select(*api_keys.columns).where(api_keys.c.key_id == bindparam("key_id")))


def insert(connection: Connection, row: KeyRow, secret: bytes) -> None:
    """Store a new key; raises InvalidCommand when the tenant has one of that name in use."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    taken = select(api_keys.c.key_id).where(
        api_keys.c.tenant == row.tenant,
        api_keys.c.name == row.name,
        api_keys.c.revoked_at.is_(None),
    )
    if connection.scalar(taken) is not None:
        raise _taken(row.name)
    try:
        connection.execute(insertion(api_keys).values(values | {"secret": secret}))
    except IntegrityError:
        raise _taken(row.name) from None


def find(connection: Connection, key_id: str) -> KeyRow | None:
    """The key of that id, whose ever it is."""
    found = _FIND.run(connection, key_id=key_id).first()
    if found is None:
        return None
    row = dict(zip(_COLUMNS, found, strict=True))
    row["secret"] = bytes(row["secret"])
    row["previous"] = None if row["previous"] is None else bytes(row["previous"])
    return KeyRow(**row)


def page(connection: Connection, tenant: str, after: str, limit: int) -> list[KeyRow]:
    """A tenant's keys behind the id ``after``, the oldest first, without their digests."""
    shown = [column for column in api_keys.columns if column.name not in ("secret", "previous")]
    rows = connection.execute(
        select(*shown)
        .where(api_keys.c.tenant == tenant, api_keys.c.key_id > after)
        .order_by(api_keys.c.key_id)
        .limit(limit)
    )
    return [KeyRow(**row) for row in rows.mappings()]


def rotate(connection: Connection, row: KeyRow, secret: bytes, *, now: float, until: float) -> None:
    """Another secret; the one before counts until then, and one before that no more."""
    connection.execute(
        update(api_keys)
        .where(api_keys.c.key_id == row.key_id)
        .values(
            secret=secret,
            # As it is by now: somebody may have rotated the key since its row was read.
            previous=api_keys.c.secret,
            previous_until=until,
            rotated_at=now,
        )
    )


def revoke(connection: Connection, key_id: str, now: float) -> None:
    """The key counts no more; the time of the first revocation stays."""
    connection.execute(
        update(api_keys)
        .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def used(connection: Connection, key_id: str, now: float) -> None:
    """The key was used."""
    connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=now))


def _taken(name: str) -> InvalidCommand:
    return InvalidCommand(
        f"there is a key {name} already; rotate it, revoke it, or choose another name",
        pointer="/name",
    )
