"""Tables of webhooks. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from streams.stores.schema import BigKey, metadata

__all__ = ["metadata", "webhook_attempts", "webhook_deliveries", "webhooks"]

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", String(32), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", String(200), nullable=False),
    Column("filter", Text, nullable=False),
    Column("algorithm", String(20), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("previous_algorithm", String(20)),
    Column("previous", LargeBinary),
    Column("previous_until", Double),
    Column("since", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("changed_at", Double),
    Column("rotated_at", Double),
    Column("failing_since", Double),
    Column("disabled", String(20)),
    Column("disabled_at", Double),
    Column("deleted_at", Double),
    Index("webhooks_tenant", "tenant", "webhook_id"),
)
"""Where events go: secrets are sealed. ``since`` is the place in the log behind which events are
sent; one that is deleted is no more than its deliveries, which are removed bit by bit."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook_id", String(32), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("event", String(100), nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("status", Integer),
    Column("error", String(200)),
    Index(
        "webhook_deliveries_due",
        "webhook_id",
        "due",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("webhook_deliveries_state", "webhook_id", "state", "position"),
    Index(
        "webhook_deliveries_ended",
        "ended_at",
        sqlite_where=text("ended_at IS NOT NULL"),
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)
"""Events, by their place in the log, on the way to a webhook. ``attempts`` were made in all,
``tries`` since it was queued or replayed; status and error are those of the last one."""

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("attempt", BigKey, primary_key=True, autoincrement=True),
    Column("webhook_id", String(32), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("status", Integer),
    Column("error", String(200)),
    Index("webhook_attempts_webhook", "webhook_id", "attempt"),
    Index("webhook_attempts_at", "at"),
    sqlite_autoincrement=True,
)
"""Attempts at deliveries: what the receiver has answered, or why there is no answer."""
