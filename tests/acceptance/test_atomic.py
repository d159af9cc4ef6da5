"""An atomic job, on every kind of stack: who looks past the engine sees none of it, or all."""

from __future__ import annotations

import time

from tests.acceptance.stack import Stack
from tests.crash.client import Client, Document

MANY = 4000
OPTIONS = {"atomic": True, "chunk_size": 200}


def _there(stack: Stack, name: str) -> int:
    sql = "SELECT count(*) FROM crash_counters WHERE mark LIKE :like"
    return int(stack.rows(sql, like=f"{name}-%")[0][0])


def _items(name: str) -> list[Document]:
    return [{"mark": f"{name}-{number}"} for number in range(MANY)]


def _watched(stack: Stack, client: Client, job_id: str, name: str) -> tuple[Document, set[int]]:
    """The job at its end, and how many of its records were ever seen."""
    seen: set[int] = set()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job = client.job(job_id)
        seen.add(_there(stack, name))
        if job["finished_at"]:
            return job, seen
    raise AssertionError(f"the job does not end: {job}")


def test_none_or_all_of_a_job_is_there_and_its_undo_takes_all_back(stack: Stack) -> None:
    client = Client(stack.url)
    job_id = client.submit("atomic", "crash.create", _items("atomic"), options=OPTIONS)
    job, seen = _watched(stack, client, job_id, "atomic")
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", MANY), job
    assert seen <= {0, MANY}
    assert _there(stack, "atomic") == MANY

    client.command(job_id, "undo", "atomic-undo")
    assert client.settle(job_id)["status"] == "rolled_back"
    assert _there(stack, "atomic") == 0


def test_one_bad_item_and_nothing_is_there(stack: Stack) -> None:
    client = Client(stack.url)
    items = _items("spoilt")
    items[MANY - 10] = {"mark": "spoilt-x", "nobody": "knows"}
    job_id = client.submit("spoilt", "crash.create", items, options=OPTIONS)
    job, seen = _watched(stack, client, job_id, "spoilt")
    assert (job["status"], job["counts"]["failed"]) == ("failed", 1), job
    assert job["reason"] == "atomic: an item failed, so none takes effect"
    assert seen == {0}


def test_a_job_whose_processes_are_killed_is_all_there_in_the_end(stack: Stack) -> None:
    client = Client(stack.url)
    job_id = client.submit("killed", "crash.create", _items("killed"), options=OPTIONS)
    stack.kill_engine()
    stack.wait_ready()
    job, seen = _watched(stack, client, job_id, "killed")
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", MANY), job
    assert seen <= {0, MANY}
    stack.check_audit()
