"""Tables of limits that jobs share. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Integer, String, Table

from streams.stores.schema import metadata

__all__ = ["bucket_uses", "buckets", "metadata"]

buckets = Table(
    "buckets",
    metadata,
    Column("name", String(150), primary_key=True),
    Column("rate", Double),
    Column("concurrency", Integer),
    Column("tokens", Double, nullable=False),
    Column("at", Double),
    Column("version", Integer, nullable=False),
    Column("lowered", Integer, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_at", Double, nullable=False),
)
"""Limits of a provider or a queue, with the tokens that were left ``at`` a moment. ``version``
counts changes, ``lowered`` is that of the last one that has lowered a limit; who changed it is
empty for what the settings say."""

bucket_uses = Table(
    "bucket_uses",
    metadata,
    Column("name", String(150), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("calls", Integer, nullable=False),
    Column("ahead", Integer, nullable=False),
    Column("waits", Boolean, nullable=False),
    Column("heeded", Integer, nullable=False),
    Column("tokens", Double, nullable=False),
    Column("at", Double),
    Column("served", Double, nullable=False),
    Column("looked", Double, nullable=False),
)
"""Jobs that draw from a bucket: ``calls`` that are under way, items of fast work ``ahead``,
whether more waits, which version of the limits the job has heeded, its own part of the tokens,
and when it was ``served`` and has ``looked`` last."""
