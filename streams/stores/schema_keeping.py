"""Tables of how jobs at rest are kept. They belong to the metadata of :mod:`.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, text

from streams.stores.schema import BigKey, metadata

__all__ = ["archives", "metadata", "retention_changes", "retention_rules"]

retention_rules = Table(
    "retention_rules",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("kind", String(200), primary_key=True),
    Column("shred_after", Double),
    Column("archive_after", Double),
    Column("changed_at", Double, nullable=False),
    Column("changed_by", String(200), nullable=False),
)
"""After how many seconds at rest the items of jobs are shredded and jobs are put away. Tenant
and kind may be ``*``; NULL is never."""

retention_changes = Table(
    "retention_changes",
    metadata,
    Column("change", BigKey, primary_key=True, autoincrement=True),
    Column("tenant", String(100), nullable=False),
    Column("kind", String(200), nullable=False),
    Column("action", String(10), nullable=False),
    Column("shred_after", Double),
    Column("archive_after", Double),
    Column("actor", String(200), nullable=False),
    Column("reason", String(2000), nullable=False),
    Column("changed_at", Double, nullable=False),
    sqlite_autoincrement=True,
)
"""Who has set and removed which rule, and why. Rows are added, and never changed."""

archives = Table(
    "archives",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("stage", String(10), nullable=False),
    Column("name", String(200)),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Index(
        "archives_unfinished",
        "stage",
        "job_id",
        sqlite_where=text("stage <> 'cleared'"),
        postgresql_where=text("stage <> 'cleared'"),
    ),
)
"""Jobs that were put away, and how far each has come (:mod:`.archives`); ``version`` is that of
the job when it got there, name and digest are those of its file."""
