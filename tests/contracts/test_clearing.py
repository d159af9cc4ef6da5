"""What an archived job gives up is cleared part by part, and no part reads what stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from streams.stores import archives
from streams.stores.archives import Stage
from streams.stores.database import Database
from streams.stores.schema import plan_targets, planned_jobs, uploads
from streams.stores.schema_items import item_keys
from streams.stores.schema_keeping import archives as archive_rows
from tests.databases import database, database_url

__all__ = ["database", "database_url"]

TARGETS, KEYS = 3, 25


def _emptied(connection: Connection, plan: str | None) -> None:
    """A job whose file counts, with what it has planned beside the names of its items."""
    connection.execute(
        insert(archive_rows).values(
            job_id="job", version=1, stage=Stage.EMPTIED.value, name="a", sha256="b", size=1
        )
    )
    upload = {"upload_id": "up", "tenant": "local", "created_at": 0.0, "items": KEYS}
    upload |= {"size": 1, "sha256": "c", "complete": True, "job_id": "job", "first_item": 0}
    connection.execute(insert(uploads).values(**upload))
    connection.execute(
        insert(item_keys),
        [{"upload_id": "up", "digest": n.to_bytes(16, "big"), "position": n} for n in range(KEYS)],
    )
    connection.execute(insert(planned_jobs).values(job_id="job", plan=plan))
    target = {"job_id": "job", "record_table": "stock", "version": 1}
    connection.execute(
        insert(plan_targets), [{**target, "position": n, "record_id": n} for n in range(TARGETS)]
    )


def _clear(database: Database) -> list[str]:
    """Clear all of it; the statements that were run for that."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    while database.write_now(lambda connection: archives.clear_some(connection, "job")):
        pass
    return asked


def _left(database: Database, table: Any) -> int:
    return len(database.read_now(lambda connection: connection.execute(select(table)).all()))


@pytest.mark.parametrize("plan", [None, "dry-run"])
def test_what_a_dry_run_has_seen_stays_and_is_not_read(
    database: Database, plan: str | None
) -> None:
    database.write_now(lambda connection: _emptied(connection, plan))
    asked = _clear(database)
    assert _left(database, item_keys) == 0
    assert _left(database, plan_targets) == TARGETS
    assert [statement for statement in asked if "plan_targets" in statement] == []


def test_what_an_atomic_job_has_prepared_goes(database: Database) -> None:
    database.write_now(lambda connection: _emptied(connection, "job"))
    asked = _clear(database)
    assert _left(database, plan_targets) == _left(database, item_keys) == 0
    if database.is_sqlite:
        (own,) = {statement for statement in asked if "FROM planned_jobs" in statement}
        steps = database.read_now(
            lambda connection: connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {own}", ("job", "job")
            ).all()
        )
        assert "SEARCH planned_jobs USING INDEX" in steps[0][-1], steps
