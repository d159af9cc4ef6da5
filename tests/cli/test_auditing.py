"""What `audit verify` says to people: where the fault is, and that something was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from streams.stores.database import Database
from streams.stores.schema import events
from tests.audit.trail import Trail
from tests.cli.conftest import Run
from tests.databases import sqlite_database, sqlite_template

__all__ = ["sqlite_database", "sqlite_template"]


@pytest.fixture
def trail(sqlite_database: Database, tmp_path: Path) -> Trail:
    trail = Trail(sqlite_database, tmp_path)
    trail.work(trail.submit("job-1", 10))
    trail.submit("job-2", 10)
    return trail


def test_a_fault_is_told_with_its_job_and_version(trail: Trail, run: Run) -> None:
    def change(connection: Connection) -> None:
        third = (events.c.job_id == "job-1") & (events.c.version == 3)
        connection.execute(update(events).where(third).values(actor="eve"))

    trail.database.write_now(change)

    ended = run("audit", "verify", "--data-dir", str(trail.folder))

    assert ended.code == 1
    assert ended.out == "event_changed: job job-1, version 3: its bytes do not give its hash\n"
    assert "2 jobs" in ended.err


def test_a_fault_of_no_job_is_told_as_it_is(trail: Trail, run: Run) -> None:
    with trail.heads.path.open("ab") as heads:
        heads.write(b"nonsense\n")

    ended = run("audit", "verify", "--data-dir", str(trail.folder))

    assert ended.code == 1
    assert ended.out.startswith("heads_line: line ")


def test_an_unknown_job_is_not_called_whole(trail: Trail, run: Run) -> None:
    """Of whoever mistypes an id nothing was looked at, so nothing may be said to be well."""
    ended = run("audit", "verify", "job-7", "--data-dir", str(trail.folder), "--json")

    assert (ended.code, ended.out) == (2, "")
    assert "there is no job job-7; `countermand jobs` lists them" in ended.err


def test_a_job_that_is_gone_is_told_when_it_is_asked_for(trail: Trail, run: Run) -> None:
    trail.database.write_now(
        lambda connection: connection.execute(events.delete().where(events.c.job_id == "job-2"))
    )

    ended = run("audit", "verify", "job-2", "--data-dir", str(trail.folder))

    assert ended.code == 1
    assert ended.out == "job_missing: job job-2, version 1: the whole job is gone\n"
