"""A worker over its memory budget takes no more, says so, and goes on when it has less."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.conftest import WORKER_MEMORY
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

LATE = 60.0
EATERS = 6
"""More than there are places at one worker, so that each has one."""
FULL = int(WORKER_MEMORY) - 50
"""MiB: above the budget, which is four fifths, and below what ends the process."""


def _held(client: Client) -> list[Document]:
    """The workers, once work waits at each of them."""
    late = time.monotonic() + LATE
    while True:
        workers: list[Document] = client.ask("GET", "/api/v1/workers")["items"]
        if workers and all(worker["held_since"] for worker in workers):
            return workers
        assert time.monotonic() < late, workers
        time.sleep(0.1)


def _waiting(client: Client, job_id: str) -> Document:
    late = time.monotonic() + 10
    while True:
        waiting: Document | None = client.ask("GET", f"{JOBS}/{job_id}")["waiting"]
        if waiting is not None:
            return waiting
        assert time.monotonic() < late, "it does not wait"
        time.sleep(0.1)


def test_work_waits_for_memory_and_the_job_says_so(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    params = {"folder": str(tmp_path)}
    meals = [{"mib": FULL}] * EATERS
    options = {"chunk_size": 1}
    eaters = client.submit(f"{tmp_path} eat", "glutton.eat", meals, params=params, options=options)
    beats = [{"n": n} for n in range(2000)]
    job_id = client.submit(
        f"{tmp_path} beat", "metronome.beat", beats, params=params, options={"chunk_size": 20}
    )
    try:
        for worker in _held(client):
            assert worker["memory_bytes"] > worker["memory_budget_bytes"] > 0
        told = _waiting(client, job_id)
        assert told["reason"] == "memory", told
        assert "take no more until they have less memory" in told["text"]
    finally:
        (tmp_path / "stop").touch()
    for each in (job_id, eaters):
        assert client.settle(each)["status"] == "completed"
    for said in ("memory_over_budget", "intake_waits"):
        assert said in stack.log
    stack.check_audit()
