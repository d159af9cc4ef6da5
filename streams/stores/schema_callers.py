"""Tables of callers: keys, tickets, and rates. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, String, Table, Text, text

from streams.stores.schema import metadata

__all__ = ["api_keys", "metadata", "rate_windows", "stream_tickets"]

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("name", String(100), nullable=False),
    Column("roles", Text, nullable=False),
    Column("secret", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),
    Column("previous_until", Double),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", Double),
    Column("rotated_at", Double),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Index("api_keys_tenant", "tenant", "key_id"),
    Index(
        "api_keys_name",
        "tenant",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
)
"""Keys of services: digests of their secrets, of the one before as long as it still counts."""

rate_windows = Table(
    "rate_windows",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("taken", Integer, nullable=False),
    Column("ends", Double, nullable=False),
    Index("rate_windows_ends", "ends"),
)
"""How much was taken of rates that several processes count; ``key`` is a digest of whose it is."""

stream_tickets = Table(
    "stream_tickets",
    metadata,
    Column("ticket", LargeBinary(32), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("permissions", Text, nullable=False),
    Column("ends", Double, nullable=False),
    Column("proof_ends", Double),
    Column("key_id", String(32), nullable=False),
    Column("key_digest", LargeBinary(32), nullable=False),
    Index("stream_tickets_ends", "ends"),
)
"""What lets one request open a live stream, by its digest; used up by being deleted."""
