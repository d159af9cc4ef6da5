"""On SQLite a partial index serves only a query that says its condition in the same words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from streams.stores import archives, chunks, decisions, outcomes, retention, usage
from streams.stores import webhook_deliveries as webhooks
from streams.stores.archives import Stage
from streams.stores.database import Database
from streams.stores.overdue import Overdue, overdue, waiting_behind
from streams.stores.retention import Act, Due, Pair
from streams.stores.targets import said_since
from tests.databases import sqlite_database

__all__ = ["sqlite_database"]

Ask = Callable[[Connection], object]
PAIR, LAST = Pair("local", "stock.create"), Due("job", 1, 0.5)


def _due(connection: Connection, act: Act) -> object:
    return retention.due_jobs(connection, act, PAIR, until=1.0, after=LAST, most=9)


FIRST = Overdue("job", "", 0, None, chunks.Cause.ROLLBACK, 0, 1, 3, 1)
ASKED: dict[str, tuple[Ask, str]] = {
    "outcomes of a job": (lambda c: outcomes.unrecorded(c, "job"), "outcomes_unrecorded"),
    "jobs with outcomes": (outcomes.jobs_with_unrecorded, "outcomes_unrecorded"),
    "overdue chunks": (lambda c: overdue(c, 1.0), "chunks_open"),
    "the next of them": (
        lambda c: overdue(c, 1.0, ["a.b", "a.c"], after=("job", 1)),
        "chunks_open ((job_id,chunk)>(?,?))",
    ),
    "undos behind one": (lambda c: waiting_behind(c, FIRST), "chunks_open"),
    "open jobs": (chunks.open_jobs, "job_control_open"),
    "kinds of jobs to shred": (lambda c: list(retention.pairs(c, Act.SHRED)), "job_control_shred"),
    "jobs to shred": (lambda c: _due(c, Act.SHRED), "job_control_shred"),
    "jobs to archive": (lambda c: _due(c, Act.ARCHIVE), "job_control_archive"),
    "archives to write": (lambda c: archives.wanted(c, "", 9), "archives_unfinished"),
    "archives to clear": (lambda c: archives.at(c, Stage.EMPTIED, "", 9), "archives_unfinished"),
    "webhooks with something due": (lambda c: webhooks.with_due(c, 1.0), "webhook_deliveries_due"),
    "what is due for a webhook": (
        lambda c: webhooks.due(c, "w", 1.0, [], 9),
        "webhook_deliveries_due",
    ),
    "what waits for a webhook": (lambda c: webhooks.waiting(c, "w", 9), "webhook_deliveries_"),
    "dead deliveries": (
        lambda c: webhooks.page(c, "w", ["dead"], None, 9),
        "webhook_deliveries_state",
    ),
    "attempts": (lambda c: webhooks.attempts(c, "w", None, 9), "webhook_attempts_webhook"),
    "the attempt before": (lambda c: webhooks.tried_before(c, "w"), "webhook_attempts_webhook"),
    "what a tenant has sent of late": (
        lambda c: usage.after(c, "local", 0.5, 1.0),
        "uploads_tenant (tenant=? AND created_at>?)",
    ),
    "old reservations": (lambda c: decisions.remove_old(c, 1.0, 9), "reservations_created"),
    "old refusals": (lambda c: decisions.remove_old(c, 1.0, 9), "decisions_refused"),
    "undos of chunks": (lambda c: said_since(c, "job", [1, 2]), "chunks_target"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_again_and_again_reads_no_more_than_it_finds(
    sqlite_database: Database, asked: str
) -> None:
    ask, index = ASKED[asked]

    def plan(connection: Connection) -> list[str]:
        driver = connection.connection.driver_connection
        assert driver is not None
        said: list[str] = []
        driver.set_trace_callback(said.append)
        ask(connection)
        driver.set_trace_callback(None)
        finding = [sql for sql in said if sql.startswith(("SELECT", "DELETE"))]
        assert finding, said
        steps = [step for sql in finding for step in driver.execute(f"EXPLAIN QUERY PLAN {sql}")]
        return [str(step[3]) for step in steps]

    steps = sqlite_database.read_now(plan)
    assert any(f"INDEX {index}" in step for step in steps), steps
    assert not any("AUTOMATIC" in step for step in steps), steps
