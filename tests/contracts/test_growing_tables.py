"""A job of many chunks costs no more a chunk than one of few, whatever was planned when it began.

PostgreSQL keeps the plan of a prepared statement until somebody has analysed the table. What
was planned while a job had no chunk must not read all of them when it has thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from streams.envelope import Work, WorkChunk
from streams.stores import chunks, outcomes, overdue, targets, usage
from streams.stores.database import Database
from streams.stores.usage import Usage

pytestmark = pytest.mark.service("postgresql")

MANY = 3000
"""Closed chunks of the job; the one behind them is open."""
FEW = 8
"""Rows that a look at one of them may read."""
Ask = Callable[[Connection], object]

WORK = Work(job_id="job", operation="a.b", epoch=1, chunks=(WorkChunk(chunk=MANY + 1, attempt=1),))
ASKED: dict[str, Ask] = {
    "claim": lambda c: chunks.claim(c, WORK, worker="w", now=1.0, lease=1.0),
    "claim in order": lambda c: chunks.claim(
        c, WORK, worker="w", now=1.0, lease=1.0, in_order=True
    ),
    "close": lambda c: chunks.close(c, "job", [MANY + 1]),
    "outcomes to record": lambda c: outcomes.unrecorded(c, "job"),
    "record": lambda c: outcomes.mark_recorded(c, "job", [MANY]),
    "overdue": lambda c: overdue.overdue(c, 1.0),
    "overdue and installed": lambda c: overdue.overdue(c, 1.0, ["a.b"], after=("job", 1)),
    "undos of a chunk": lambda c: targets.said_since(c, "job", [MANY]),
}
_CHUNKS = text(
    "INSERT INTO chunks (job_id, chunk, cause, generation, items, epoch, attempt, starts, "
    "claim_by, open) SELECT 'job', n, 'apply', 0, '[[0, 1]]', 1, 1, 0, 0, n > :many "
    "FROM generate_series(1, :many + 1) AS n"
)
_OUTCOMES = text(
    "INSERT INTO outcomes (job_id, chunk, sequence, closing, attempt, summary, failed, sha256, "
    "ledger, recorded) SELECT 'job', n, n, 'done', 1, '{}', 0, '', '', true "
    "FROM generate_series(1, :many) AS n"
)
_UPLOADS = text(
    "INSERT INTO uploads (upload_id, tenant, created_at, items, size, sha256, complete, job_id) "
    "SELECT 'u' || n, 'local', n, 1, 10, '', true, 'j' || n FROM generate_series(1, :many) AS n"
)
_KEYS = text(
    "INSERT INTO payload_keys (upload_id, algorithm, key) "
    "SELECT 'u' || n, 'none', '' FROM generate_series(1, :many) AS n"
)
_ARCHIVES = text(
    "INSERT INTO archives (job_id, version, stage) "
    "SELECT 'j' || n, 1, 'cleared' FROM generate_series(1, :many) AS n"
)
_READ = text(
    "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) "
    "FROM pg_stat_xact_user_tables "
    "WHERE relname IN ('chunks', 'outcomes', 'uploads', 'payload_keys', 'archives')"
)


@pytest.fixture
def database(migrated_postgres: str) -> Iterator[Database]:
    """A database of its own, whose tables nobody has analysed."""
    with Database(migrated_postgres) as opened:
        yield opened


@pytest.mark.parametrize("asked", ASKED)
def test_what_was_planned_for_no_chunks_reads_no_more_of_many(
    database: Database, asked: str
) -> None:
    ask = ASKED[asked]

    def rows_read(connection: Connection) -> int:
        for _ in range(20):
            ask(connection)
        connection.execute(_CHUNKS, {"many": MANY})
        connection.execute(_OUTCOMES, {"many": MANY})
        before = connection.scalar(_READ)
        ask(connection)
        return int(connection.scalar(_READ) - before)

    assert database.write_now(rows_read) <= FEW


def test_what_a_tenant_has_sent_of_late_is_summed_without_what_it_ever_sent(
    database: Database,
) -> None:
    def rows_read(connection: Connection) -> int:
        for _ in range(20):
            usage.after(connection, "local", 0.0, 1.0)
        for rows in (_UPLOADS, _KEYS, _ARCHIVES):
            connection.execute(rows, {"many": MANY})
        before = connection.scalar(_READ)
        assert usage.after(connection, "local", 0.0, MANY - 1) == Usage(items_today=2, bytes=0)
        return int(connection.scalar(_READ) - before)

    assert database.write_now(rows_read) <= FEW
