"""The oracle finds what it is there to find."""

from __future__ import annotations

import ast
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crash import oracle
from tests.crash.oracle import Account, Verdict

_TABLES = """
CREATE TABLE crash_counters (id INTEGER PRIMARY KEY, mark TEXT, amount INTEGER);
CREATE TABLE chunks (open BOOLEAN);
CREATE TABLE grants (job_id TEXT);
CREATE TABLE item_results (item INTEGER);
CREATE TABLE bucket_uses (job_id TEXT);
CREATE TABLE outcomes (recorded BOOLEAN);
INSERT INTO crash_counters VALUES (1, 'seed', 1), (2, 'seed', 1), (3, 'seed', 1);
"""
_ADD = "UPDATE crash_counters SET amount = amount + 1, mark = 'm{0}' WHERE id = {0}"
_BACK = "UPDATE crash_counters SET amount = amount - 1, mark = 'seed' WHERE id = {0}"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    _run(path, _TABLES)
    with closing(sqlite3.connect(path)) as connection:
        oracle.install(connection)
    return path


def _run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def _account(*statuses: str, **changes: Any) -> Account:
    counts = {
        status: statuses.count(status)
        for status in ("pending", "succeeded", "failed", "skipped", "rolled_back", "conflict")
    }
    counts["total"] = len(statuses)
    job = {"job_id": "job", "status": "completed", "version": 2, "counts": counts}
    planned = {"event": "job.chunks_planned", "chunks": [{"chunk": 7, "cause": "rollback"}]}
    finished = {"event": "job.finished", "status": "completed"}
    return Account(
        job=job | changes,
        marks=[f"m{number}" for number in range(1, len(statuses) + 1)],
        items=[{"status": status, "chunk": 7} for status in statuses],
        events=[
            {**planned, "version": 1, "counts": counts},
            {**finished, "version": 2, "counts": counts},
        ],
    )


def _judged(database: Path, account: Account, *script: str) -> Verdict:
    _run(database, ";".join(script))
    with closing(sqlite3.connect(database)) as connection:
        return oracle.judge(connection, [account])


def test_what_agrees_is_no_fault(database: Path) -> None:
    account = _account("succeeded", "failed", "conflict")
    assert not _judged(database, account, _ADD.format(1), _ADD.format(3)).faults


def test_an_effect_that_was_put_back_is_none(database: Path) -> None:
    assert not _judged(database, _account("rolled_back"), _ADD.format(1), _BACK.format(1)).faults


@pytest.mark.parametrize(
    ("account", "script", "lost", "doubled"),
    [
        (_account("succeeded", "succeeded"), (_ADD.format(1),), 1, 0),
        (_account("succeeded"), (_ADD.format(1), _ADD.format(1)), 0, 1),
        (_account("failed"), (_ADD.format(1),), 0, 1),
        (_account("skipped"), (_ADD.format(1),), 0, 1),
        (_account("rolled_back"), (_ADD.format(1),), 0, 1),
        (_account("conflict"), (), 1, 0),
    ],
)
def test_lost_and_doubled_effects(
    database: Path, account: Account, script: tuple[str, ...], lost: int, doubled: int
) -> None:
    verdict = _judged(database, account, *script)
    assert (verdict.lost, verdict.doubled) == (lost, doubled)
    assert verdict.faults


@pytest.mark.parametrize(
    ("account", "script"),
    [
        (_account("failed"), "INSERT INTO crash_counters VALUES (9, 'stray', 1)"),
        (_account("rolled_back"), ";".join([_ADD.format(1), _BACK.format(1), _BACK.format(1)])),
        (_account("failed", version=3), ""),
        (_account("failed", status="failed"), ""),
        (_account("failed", counts={"failed": 2, "total": 2}), ""),
        (_account("failed"), "INSERT INTO chunks VALUES (1)"),
        (_account("failed"), "INSERT INTO grants VALUES ('job')"),
        (_account("failed"), "INSERT INTO bucket_uses VALUES ('job')"),
        (_account("failed"), "INSERT INTO outcomes VALUES (0)"),
    ],
)
def test_other_faults(database: Path, account: Account, script: str) -> None:
    verdict = _judged(database, account, script)
    assert len(verdict.faults) >= 1
    assert (verdict.lost, verdict.doubled) == (0, 0)


def test_a_write_behind_the_triggers_is_seen_by_the_amount(database: Path) -> None:
    _run(database, f"{_ADD.format(1)}; DROP TRIGGER crash_updated;")
    verdict = _judged(database, _account("succeeded"), _ADD.format(1))
    assert any("counter 1 stands at 3" in fault for fault in verdict.faults)


@pytest.mark.parametrize(("kind", "faults"), [("job.chunks_closed", 1), ("job.retry_started", 0)])
def test_failures_are_taken_back_by_a_retry_only(database: Path, kind: str, faults: int) -> None:
    account = _account("succeeded")
    first, last = account.events
    before = {**first["counts"], "succeeded": 0, "failed": 1}
    events = [{**first, "counts": before}, {**last, "event": kind}]
    verdict = _judged(database, replace(account, events=events), _ADD.format(1))
    assert len(verdict.faults) == faults


def test_the_log_cannot_be_changed(database: Path) -> None:
    _run(database, _ADD.format(1))
    for statement in ("DELETE FROM effects_log", "UPDATE effects_log SET delta = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            _run(database, statement)


def test_it_knows_nothing_of_the_engine() -> None:
    nodes = ast.walk(ast.parse(Path(oracle.__file__).read_text()))
    imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in imported
    }
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names
