"""Plan and apply: what a dry run has seen is done, or refused when it is no longer so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from domain.records import Change, Deletion, Writer, Written
from domain.systems.annotations.tables import projects
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

COUNT = 1000
NAMED = {"table": "projects", "planned": 1}


def _rows(stack: Stack, name: str) -> list[Any]:
    query = "SELECT * FROM projects WHERE description = :name ORDER BY id"
    return [tuple(row) for row in stack.rows(query, name=name)]


def _history(stack: Stack) -> int:
    (row,) = stack.rows("SELECT count(*) FROM history")
    return int(row[0])


def _ask(client: Client, method: str, path: str, status: int = 200, **body: Any) -> Document:
    answer: Document = client.ask(method, f"{JOBS}/{path}", body or None, status=status)
    return answer


def _projects(stack: Stack, client: Client, name: str) -> list[int]:
    """So many projects, told apart from others by their description."""
    things = [{"name": f"{name} {n}", "description": name} for n in range(COUNT)]
    job_id = client.submit(f"{name} create", "annotations.create_projects", things)
    assert client.settle(job_id)["counts"]["succeeded"] == COUNT
    return [row[0] for row in _rows(stack, name)]


def _planned(client: Client, name: str, ids: Sequence[int]) -> str:
    things = [{"id": key, "name": f"renamed {key}"} for key in ids]
    options = {"dry_run": True}
    job_id = client.submit(f"{name} dry", "annotations.update_projects", things, options=options)
    job = client.settle(job_id)
    assert job["status"] == "completed"
    assert job["counts"]["planned"] == len(ids)
    return job_id


def _by_hand(stack: Stack, *writes: Change | Deletion) -> None:
    with Database(stack.database) as database:
        for write in writes:

            def do(connection: Any, write: Change | Deletion = write) -> list[Any]:
                records = SqlRecords(connection, Writer("local", "anna"), time.time())
                if isinstance(write, Change):
                    return records.update(projects, [write])
                return records.delete(projects, [write])

            (written,) = database.write_now(do)
            assert isinstance(written, Written)


def test_a_changed_target_is_refused_and_nothing_is_touched(stack: Stack) -> None:
    client, name = Client(stack.url), "refused"
    ids = _projects(stack, client, name)
    plan = _planned(client, name, ids)
    _by_hand(stack, Change(ids[7], {"name": "Anna's"}), Deletion(ids[500]))
    before, history = _rows(stack, name), _history(stack)

    refused = _ask(client, "POST", f"{plan}/apply", 409)
    assert refused["code"] == "plan_changed"
    assert f"projects/{ids[7]} is at version 2 (planned at 1)" in refused["detail"]
    assert f"projects/{ids[500]} is gone (planned at 1)" in refused["detail"]
    assert (_rows(stack, name), _history(stack)) == (before, history)
    shown = _ask(client, "GET", f"{plan}/plan")
    assert shown["changed"] == [
        NAMED | {"record": ids[7], "version": 2},
        NAMED | {"record": ids[500], "version": None},
    ]
    stack.tell("records named of 1,000 planned, 2 changed since", len(shown["changed"]))
    stack.check_audit()


def test_a_plan_is_done_as_it_was_seen_once(stack: Stack) -> None:
    client, name = Client(stack.url), "applied"
    ids = _projects(stack, client, name)
    before, history = _rows(stack, name), _history(stack)
    plan = _planned(client, name, ids)
    assert (_rows(stack, name), _history(stack)) == (before, history)

    shown = stack.json("plan", plan)
    assert (shown["changed"], shown["applied_by"]) == ([], None)
    job = client.settle(stack.json("apply", plan, "--digest", shown["digest"])["job_id"])
    assert job["counts"]["succeeded"] == COUNT
    assert job["options"]["plan"] == {"job_id": plan, "digest": shown["digest"]}
    assert [row[3] for row in _rows(stack, name)] == [f"renamed {key}" for key in ids]

    again = stack.ask("apply", plan)
    assert again.returncode == 2
    assert f"job {job['job_id']} does what dry run {plan} has planned" in again.stderr
    for verb in ("undo", "retry"):
        refused = _ask(client, "POST", f"{plan}/{verb}", 409)
        assert refused["code"] == "wrong_state"
    real = _ask(client, "POST", f"{job['job_id']}/apply", 409)
    assert "completed and no dry run" in real["detail"]
    stack.check_audit()
