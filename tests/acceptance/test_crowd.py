"""Many who write to the same records at once: what each has made of them counts."""

from __future__ import annotations

from tests.acceptance.stack import Stack
from tests.crash.client import Client, Document

PAYMENTS = 240
JOBS = 6
CHUNK = {"chunk_size": 4}


def _tills(stack: Stack) -> dict[str, int]:
    return dict(map(tuple, stack.rows("SELECT code, paid FROM tills")))


def _open(client: Client, codes: list[str]) -> None:
    items = [{"code": code, "amount": 0} for code in codes]
    client.settle(client.submit(f"open {codes}", "crowd.open", items))


def _begin(client: Client, key: str, operation: str, codes: list[str]) -> str:
    items = [{"code": codes[n % len(codes)], "amount": 1} for n in range(PAYMENTS)]
    return client.submit(key, operation, items, options=CHUNK)


def _end(client: Client, job_id: str, status: str) -> Document:
    job = client.settle(job_id)
    assert job["status"] == status, job
    return job


def test_jobs_that_change_the_same_records_lose_nothing_of_each_other(stack: Stack) -> None:
    client = Client(stack.url)
    codes = ["common 1", "common 2", "common 3"]
    _open(client, codes)
    jobs = [_begin(client, f"pay {n}", "crowd.pay", codes) for n in range(JOBS)]
    for job_id in jobs:
        _end(client, job_id, "completed")
    assert {_tills(stack)[code] for code in codes} == {JOBS * PAYMENTS // 3}


def test_chunks_of_a_job_that_meet_after_all_lose_nothing_and_are_undone(stack: Stack) -> None:
    client = Client(stack.url)
    codes = ["rush 1", "rush 2", "rush 3"]
    _open(client, codes)
    job_id = _begin(client, "rush", "crowd.rush", codes)
    _end(client, job_id, "completed")
    assert {_tills(stack)[code] for code in codes} == {PAYMENTS // 3}

    client.command(job_id, "undo", "back")
    undone = _end(client, job_id, "rolled_back")
    assert undone["counts"]["rolled_back"] == PAYMENTS
    assert {_tills(stack)[code] for code in codes} == {0}

    client.command(job_id, "undo", "and forth")
    _end(client, job_id, "completed")
    assert {_tills(stack)[code] for code in codes} == {PAYMENTS // 3}
    stack.check_audit()
