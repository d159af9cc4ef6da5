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
_AT = ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00")
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


def _account(
    *statuses: str, rests: str = "completed_with_errors", cause: str = "rollback", **changes: Any
) -> Account:
    counts = {
        status: statuses.count(status)
        for status in ("pending", "succeeded", "failed", "skipped", "rolled_back", "conflict")
    }
    counts["total"] = len(statuses)
    job = {"job_id": "job", "status": rests, "version": 2, "counts": counts}
    planned = {"event": "job.chunks_planned", "chunks": [{"chunk": 7, "cause": cause}]}
    finished = {"event": "job.finished", "status": rests}
    return Account(
        job=job | changes,
        marks=[f"m{number}" for number in range(1, len(statuses) + 1)],
        items=[{"status": status, "chunk": 7} for status in statuses],
        events=[
            {**planned, "version": 1, "at": _AT[0], "status": "rolling_back", "counts": counts},
            {**finished, "version": 2, "at": _AT[1], "counts": counts},
        ],
    )


def _left_out(rests: str = "completed_with_errors", code: str = "duplicate") -> Account:
    """A job that has failed at its second item, and has not worked its first one."""
    account = _account("skipped", "failed", rests=rests)
    left = {**account.items[0], "error": {"code": code}}
    return replace(account, items=[left, *account.items[1:]])


def _after(account: Account, *names: str) -> Account:
    """The same when that happened before its last event."""
    first, last = account.events
    told = [{**first, "event": name} for name in names]
    events = [{**each, "version": n} for n, each in enumerate([first, *told, last], 1)]
    return replace(account, job={**account.job, "version": len(events)}, events=events)


def _judged(database: Path, account: Account, *script: str) -> Verdict:
    _run(database, ";".join(script))
    with closing(sqlite3.connect(database)) as connection:
        return oracle.judge(connection, [account])


def test_what_agrees_is_no_fault(database: Path) -> None:
    account = _account("succeeded", "failed", "conflict", rests="rollback_incomplete")
    assert not _judged(database, account, _ADD.format(1), _ADD.format(3)).faults


def test_an_effect_that_was_put_back_is_none(database: Path) -> None:
    account = _account("rolled_back", rests="rolled_back")
    assert not _judged(database, account, _ADD.format(1), _BACK.format(1)).faults


@pytest.mark.parametrize(
    ("account", "script", "lost", "doubled"),
    [
        (_account("succeeded", "succeeded"), (_ADD.format(1),), 1, 0),
        (_account("succeeded"), (_ADD.format(1), _ADD.format(1)), 0, 1),
        (_account("failed"), (_ADD.format(1),), 0, 1),
        (_left_out(), (_ADD.format(1),), 0, 1),
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
    ("rests", "statuses", "lost"),
    [
        ("completed", ("pending",), 1),
        ("completed", ("skipped", "skipped"), 2),
        ("completed", ("failed",), 0),
        ("completed_with_errors", ("failed", "pending"), 1),
        ("cancelled", ("pending",), 1),
        ("rejected", ("failed",), 0),
        ("rollback_incomplete", ("failed", "pending"), 1),
    ],
)
def test_a_job_at_rest_is_what_its_items_are(
    database: Path, rests: str, statuses: tuple[str, ...], lost: int
) -> None:
    verdict = _judged(database, _account(*statuses, rests=rests))
    assert (verdict.lost, verdict.doubled) == (lost, 0)
    assert verdict.faults


def test_a_job_that_is_put_away_has_ended_as_it_had_before(database: Path) -> None:
    account = _account("pending", rests="cancelled")
    last = {**account.events[-1], "event": "job.archived", "status": "archived", "version": 3}
    job = {**account.job, "status": "archived", "version": 3}
    verdict = _judged(database, replace(account, job=job, events=[*account.events, last]))
    assert verdict.lost == 1


@pytest.mark.parametrize("rests", ["rolled_back", "failed"])
def test_no_effect_stands_of_a_job_that_has_none(database: Path, rests: str) -> None:
    assert _judged(database, _account("succeeded", rests=rests), _ADD.format(1)).faults


def test_what_was_done_before_a_job_was_stopped_stands(database: Path) -> None:
    account = _account("succeeded", "failed", rests="failed")
    first, last = account.events
    stopped = replace(account, events=[first, {**last, "event": "job.stopped"}])
    assert not _judged(database, stopped, _ADD.format(1)).faults


@pytest.mark.parametrize("rests", ["completed_with_errors", "failed", "rollback_incomplete"])
@pytest.mark.parametrize(
    ("gave_up", "code", "lost"),
    [
        ((), "not_attempted", 1),
        ((), "duplicate", 0),
        (("job.paused",), "not_attempted", 1),
        (("job.stopped",), "not_attempted", 0),
        (("job.cancelling",), "not_attempted", 0),
    ],
)
def test_a_failure_beside_it_hides_no_item_that_was_passed_over(
    database: Path, rests: str, gave_up: tuple[str, ...], code: str, lost: int
) -> None:
    verdict = _judged(database, _after(_left_out(rests, code), *gave_up))
    assert (verdict.lost, len(verdict.faults)) == (lost, lost)


@pytest.mark.parametrize("status", ["failed", "skipped", "pending"])
def test_what_never_took_effect_was_never_made(database: Path, status: str) -> None:
    account = _after(_account(status, rests="cancelled"), "job.cancelling")
    there_and_back = _ADD.format(1), _BACK.format(1)
    assert _judged(database, account, *there_and_back).doubled == 1


@pytest.mark.parametrize(
    ("happened", "faults"),
    [
        (("job.stopped",), 0),
        (("job.stopped", "job.retry_started"), 1),
        (("job.stopped", "job.retry_started", "job.stopped"), 0),
    ],
)
def test_a_stop_is_of_the_run_that_it_has_ended(
    database: Path, happened: tuple[str, ...], faults: int
) -> None:
    account = _after(_account("succeeded", "failed", rests="failed"), *happened)
    assert len(_judged(database, account, _ADD.format(1)).faults) == faults


def test_an_item_that_was_left_out_is_no_item_that_was_passed_over(database: Path) -> None:
    account = _account("succeeded", "skipped", rests="completed")
    left = {"status": "skipped", "chunk": 7, "error": {"code": "duplicate"}}
    told = replace(account, items=[account.items[0], left])
    assert not _judged(database, told, _ADD.format(1)).faults


_BOTH_BACK = "UPDATE crash_counters SET amount = amount - 2, mark = 'seed' WHERE id = 1"
_INSERT = "INSERT INTO crash_counters VALUES ({0}, 'm1', 1)"
_DELETE = "DELETE FROM crash_counters WHERE id = {0}"
_TWO_ROWS = (_INSERT.format(8), _INSERT.format(9), _DELETE.format(9), _DELETE.format(8))


@pytest.mark.parametrize(
    ("script", "lost", "doubled"),
    [
        ((), 1, 0),
        ((_ADD.format(1), _ADD.format(1), _BOTH_BACK), 0, 1),
        (_TWO_ROWS, 0, 1),
        ((_ADD.format(1), _BACK.format(1), _ADD.format(1), _BACK.format(1)), 0, 1),
    ],
)
def test_what_went_wrong_before_an_undo_is_seen_after_it(
    database: Path, script: tuple[str, ...], lost: int, doubled: int
) -> None:
    verdict = _judged(database, _account("rolled_back", rests="rolled_back"), *script)
    assert (verdict.lost, verdict.doubled) == (lost, doubled)
    assert verdict.faults


@pytest.mark.parametrize(("direction", "doubled"), [("reapply", 0), ("rollback", 1)])
def test_an_effect_is_made_again_by_an_undo_of_its_undo(
    database: Path, direction: str, doubled: int
) -> None:
    account = _account("succeeded", rests="completed")
    first, last = account.events
    undo = {**first, "event": "job.undo_started", "direction": direction, "version": 2}
    job, events = {**account.job, "version": 3}, [first, undo, {**last, "version": 3}]
    told = replace(account, job=job, events=events)
    there_and_back = (_ADD.format(1), _BACK.format(1), _ADD.format(1))
    verdict = _judged(database, told, *there_and_back)
    assert (verdict.doubled, len(verdict.faults)) == (doubled, doubled)


@pytest.mark.parametrize(
    "back",
    [
        "UPDATE crash_counters SET amount = amount - 1 WHERE id = 1",
        "UPDATE crash_counters SET amount = amount - 1, mark = 'other' WHERE id = 1",
        f"{_BACK.format(1)}; UPDATE crash_counters SET mark = 'm1' WHERE id = 1",
        "DELETE FROM crash_counters WHERE id = 1; INSERT INTO crash_counters VALUES (1, 'm1', 1)",
    ],
)
def test_an_undo_that_leaves_something_is_seen(database: Path, back: str) -> None:
    account = _account("rolled_back", rests="rolled_back")
    assert _judged(database, account, _ADD.format(1), back).faults


def test_effects_of_several_jobs_on_a_record_lie_on_one_another(database: Path) -> None:
    over = "UPDATE crash_counters SET amount = amount + 1, mark = 'm2' WHERE id = 1"
    back = "UPDATE crash_counters SET amount = amount - 1, mark = 'm1' WHERE id = 1"
    account = _account("rolled_back", "rolled_back", rests="rolled_back")
    script = (_ADD.format(1), over, back, _BACK.format(1))
    assert not _judged(database, account, *script).faults


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


@pytest.mark.parametrize(
    ("first", "second", "stored", "found"),
    [
        (["a", "b"], ["b", "c"], ["a"], ""),
        (["a", "b"], [], ["a", "b"], ""),
        (["a", "b"], ["a"], ["a"], "a ran again"),
        (["a", "a"], ["b"], [], "a ran 2 times in life 1"),
        (["a"], ["b", "b"], [], "b ran 2 times in life 2"),
    ],
)
def test_a_slow_item_runs_again_only_if_it_was_in_flight(
    first: list[str], second: list[str], stored: list[str], found: str
) -> None:
    said = list(oracle.repeated([first, second], stored))
    assert len(said) == bool(found)
    assert all(found in fault for fault in said)


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
