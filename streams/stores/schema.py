"""All engine tables. One metadata; Alembic migrations create them, nothing else does.

Times are seconds since the epoch (UTC) as doubles; JSON is kept as text or bytes that
this project itself wrote.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

BigKey = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key; SQLite aliases only INTEGER PRIMARY KEY to its row id."""

events = Table(
    "events",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("job_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("alias", String(100), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("command_id", String(100), nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    UniqueConstraint("job_id", "version", name="events_job_version"),
    sqlite_autoincrement=True,
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("alias", String(100), nullable=False),
    Column("state", LargeBinary, nullable=False),
)

job_control = Table(
    "job_control",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("operation", String(200), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("params", Text, nullable=False),
    Column("ended", String(30)),
    Column("shred_from", Double),
    Column("archive_from", Double),
    Index("job_control_open", "open", sqlite_where=text("open = 1"), postgresql_where=text("open")),
    Index(
        "job_control_unended",
        "tenant",
        sqlite_where=text("ended IS NULL"),
        postgresql_where=text("ended IS NULL"),
    ),
    Index(
        "job_control_shred",
        "tenant",
        "operation",
        "shred_from",
        "job_id",
        sqlite_where=text("shred_from IS NOT NULL"),
        postgresql_where=text("shred_from IS NOT NULL"),
    ),
    Index(
        "job_control_archive",
        "tenant",
        "operation",
        "archive_from",
        "job_id",
        sqlite_where=text("archive_from IS NOT NULL"),
        postgresql_where=text("archive_from IS NOT NULL"),
    ),
)
"""``open`` jobs are those that the sweep looks after; params is JSON. ``ended`` is how a job has
ended that does nothing more by itself. It may be shredded, or put away, from its rest on; rules
of retention count from there."""

waits = Table(
    "waits",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("needs", String(64), primary_key=True),
    Column("ending", String(20), nullable=False),
    Index("waits_needs", "needs"),
)
"""Jobs that may start when others have ended, each with those others; as long as they wait."""

children = Table(
    "children",
    metadata,
    Column("batch", String(64), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("moved", Boolean, nullable=False),
    UniqueConstraint("job_id", name="children_job"),
    Index(
        "children_moved",
        "batch",
        sqlite_where=text("moved = 1"),
        postgresql_where=text("moved"),
    ),
)
"""The jobs of batches; ``moved`` are those that are no longer what their batch has heard."""

chunks = Table(
    "chunks",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("parent", Integer),
    Column("target", Integer),
    Column("cause", String(20), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("items", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("starts", Integer, nullable=False),
    Column("claim_by", Double, nullable=False),
    Column("lease_until", Double),
    Column("worker", String(100)),
    Column("open", Boolean, nullable=False),
    Index(
        "chunks_open",
        "job_id",
        "chunk",
        sqlite_where=text("open = 1"),
        postgresql_where=text("open"),
    ),
    Index(
        "chunks_target",
        "job_id",
        "target",
        sqlite_where=text("target IS NOT NULL"),
        postgresql_where=text("target IS NOT NULL"),
    ),
)
"""A dispatched chunk; ``open`` until its outcome is recorded in the aggregate."""

grants = Table(
    "grants",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("system", String(100), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("since", Double, nullable=False),
    Column("most", Integer, nullable=False),
    Column("in_flight", Integer, nullable=False),
    Column("offered_at", Double),
    Index("grants_system", "system"),
)
"""One row for each job that wants places for work in flight or has some; both are counted
in dispatches. ``since`` is when it last got one, or began to want; ``offered_at`` is when
another job's coordinator found room for it, until its own has looked."""

tenant_weights = Table(
    "tenant_weights",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("weight", Double, nullable=False),
    CheckConstraint("weight > 0", name="tenant_weights_positive"),
)
"""Shares of tenants where they compete for places; one that is not named here has 1."""

operation_paces = Table(
    "operation_paces",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("operation", String(200), primary_key=True),
    Column("jobs", Integer, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("recent_items", Double, nullable=False),
    Column("recent_seconds", Double, nullable=False),
)
"""How fast jobs of an operation went: of all of them how many there were, and items and seconds
in which each later job counts more."""

uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", String(64), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("items", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("job_id", String(64)),
    Column("part", Integer),
    Column("first_item", Integer),
    Column("keyed_by", String(200)),
    Index("uploads_job", "job_id", "first_item"),
    Index("uploads_created", "created_at"),
    Index("uploads_tenant", "tenant", "created_at"),
)
"""A stored run of items; a coordinator claims it for a job before the job's event. ``keyed_by``
is the pointer to the items' keys, when those are stored."""

payload_keys = Table(
    "payload_keys",
    metadata,
    Column("upload_id", String(64), primary_key=True),
    Column("algorithm", String(20), nullable=False),
    Column("key", LargeBinary, nullable=False),
)
"""How an upload's parts are sealed (``none``: not, ``shredded``: gone); the key is wrapped by
the installation's. Digests are of the plain bytes."""

payloads = Table(
    "payloads",
    metadata,
    Column("upload_id", String(64), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("first_item", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("payloads_first", "upload_id", "first_item"),
)
"""A part of an upload: NDJSON lines, compressed with zstd and marked, then sealed."""

outcomes = Table(
    "outcomes",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("closing", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("summary", Text, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("ledger", LargeBinary, nullable=False),
    Column("images", LargeBinary),
    Column("recorded", Boolean, nullable=False),
    Index(
        "outcomes_unrecorded",
        "job_id",
        sqlite_where=text("recorded = 0"),
        postgresql_where=text("NOT recorded"),
    ),
)
"""The first row of a chunk wins, for ever. ``summary`` is a ClosedChunk as JSON, ``ledger``
the per-item results, ``images`` the records as they were before; ``sequence`` orders commits."""

chunk_faults = Table(
    "chunk_faults",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("codes", LargeBinary, nullable=False),
    Column("groups", LargeBinary, nullable=False),
)
"""What the failures of a chunk have in common, for chunks that have some; it repeats the ledger
of the digest ``sha256``. ``groups`` is compressed with zstd and marked."""

item_results = Table(
    "item_results",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("result", LargeBinary, nullable=False),
)
"""Results of slow items, each stored as it comes; folded into the chunk's outcome row."""

recalls = Table(
    "recalls",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("before", Integer, nullable=False),
)
"""Of slow chunks of the job with a number below ``before`` nothing more begins."""

decisions = Table(
    "decisions",
    metadata,
    Column("command_id", String(100), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("problem", Text),
    Column("decided_at", Double, nullable=False),
    Index(
        "decisions_refused",
        "decided_at",
        sqlite_where=text("problem IS NOT NULL"),
        postgresql_where=text("problem IS NOT NULL"),
    ),
)
"""What was decided on a command; ``problem`` is JSON, or NULL when it was accepted. Then it is
kept for ever, as the events are that came of it."""

reservations = Table(
    "reservations",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("kept", Boolean, nullable=False, server_default=false()),
    Index(
        "reservations_created",
        "created_at",
        sqlite_where=text("kept = 0"),
        postgresql_where=text("NOT kept"),
    ),
)
"""The jobs of idempotency keys. Old ones that have come to something are ``kept`` for ever."""

timers = Table(
    "timers",
    metadata,
    Column("timer_id", String(100), primary_key=True),
    Column("due", Double, nullable=False),
    Column("command", LargeBinary, nullable=False),
    Index("timers_due", "due"),
)
"""Commands that are sent when due; ``timer_id`` is the command's id, so one takes effect once."""

writers = Table(
    "writers",
    metadata,
    Column("writer", BigKey, primary_key=True, autoincrement=True),
    Column("tenant", String(100), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("chunk", Integer, nullable=False),
    Column("written_at", Double, nullable=False),
    # None where nothing was counted yet.
    Column("table_id", Integer),
    Column("created", Integer, nullable=False, server_default="0"),
    Column("changed", Integer, nullable=False, server_default="0"),
    Column("deleted", Integer, nullable=False, server_default="0"),
    Index("writers_job", "job_id", "generation", "chunk"),
    sqlite_autoincrement=True,
)
"""Who wrote to a table, and to how many records: a job's chunk, or an actor who edited by hand
(``job_id`` empty)."""

record_tables = Table(
    "record_tables",
    metadata,
    Column("table_id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("next_id", BigInteger, nullable=False),
)
"""Tables that take part in the records port, and the next id of each."""

history = Table(
    "history",
    metadata,
    Column("table_id", Integer, primary_key=True),
    Column("record_id", BigInteger, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("writer", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""One row for every write to a record, single edits included."""

planned_jobs = Table(
    "planned_jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("plan", String(64)),
)
"""Jobs that are dry runs, and those that do what one has found: then ``plan`` names it. An atomic
job names itself."""

item_timeouts = Table(
    "item_timeouts",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("seconds", Double, nullable=False),
)
"""Jobs that give an item of a slow operation less time than the operation does."""

plan_targets = Table(
    "plan_targets",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("record_table", String(100), primary_key=True),
    Column("record_id", BigInteger, primary_key=True),
    Column("version", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""The items of a dry run that would succeed, each with the records that it would change, at the
versions that were seen; one that would change none has one row with no table. Of an atomic job,
those that are prepared."""

plans = Table(
    "plans",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("contents", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("applied_by", String(64)),
)
"""Dry runs that are finished, once somebody has asked: digests of what is to be done, and of what
would become of it; and the job that does it."""

job_list = Table(
    "job_list",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("operation", String(200), nullable=False),
    Column("system", String(100), nullable=False),
    Column("status", String(30), nullable=False),
    Column("name", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("document", Text, nullable=False),
    Index("job_list_created", "tenant", "created_at", "job_id"),
    Index("job_list_status", "tenant", "status", "created_at", "job_id"),
)
"""Read model of jobs; ``document`` is the JSON that lists show."""

positions = Table(
    "positions",
    metadata,
    Column("reader", String(50), primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far the outbox and the projector have read the notification log."""

owners = Table(
    "owners",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("holder", String(100), nullable=False),
    Column("lease_until", Double, nullable=False),
)
"""Which process does what only one should do; times are those of the database's clock."""

workers = Table(
    "workers",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("systems", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("process", Integer, nullable=False),
    Column("host", String(255), nullable=False),
    Column("rss", BigInteger, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("memory_budget", BigInteger, nullable=False, server_default="0"),
    Column("held_since", Double),
    Column("holds", Text, nullable=False, server_default="[]"),
)
"""Workers that are there, and for a while those that were; ``systems`` by spaces, ``rss`` in
bytes, as the budget is; work waits for memory ``held_since``. ``holds`` is a JSON list with, for
each slot, the partitions that it holds by topic. Times are those of the worker's clock."""
