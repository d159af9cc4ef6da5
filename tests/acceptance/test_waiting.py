"""Why a job waits is named within five seconds, whatever it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

NAMED_WITHIN = 5.0


class Caller(Client):
    """Knows what it has submitted, to cancel it in the end."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.submitted: list[str] = []

    def submit(self, key: str, operation: str, items: Sequence[Any], **fields: Any) -> str:
        """A job."""
        self.submitted.append(super().submit(key, operation, items, **fields))
        return self.submitted[-1]


@pytest.fixture
def client(stack: Stack) -> Iterator[Caller]:
    """A caller that leaves no job behind."""
    caller = Caller(stack.url)
    yield caller
    for job_id in caller.submitted:
        caller.attempt(job_id, "cancel", f"{job_id}-cancel")


def _beats(folder: Path, count: int, **fields: Any) -> dict[str, Any]:
    items = [{"n": n, **fields} for n in range(count)]
    return {"items": items, "params": {"folder": str(folder)}}


def _submit(client: Client, folder: Path, name: str, **options: Any) -> str:
    """A job that would run for long."""
    body = _beats(folder, 20_000, ms=5)
    return client.submit(
        f"{folder.name}-{name}", "metronome.beat", options=options, name=name, **body
    )


def _paused(client: Client, folder: Path) -> str:
    job_id = _submit(client, folder, "paused")
    client.command(job_id, "pause", f"{job_id}-pause")
    return job_id


def _draft(client: Client, folder: Path) -> str:
    body = {"operation": "metronome.beat", "draft": True, "params": {"folder": str(folder)}}
    return str(client.ask("POST", JOBS, body, status=202)["job_id"])


def _scheduled(client: Client, folder: Path) -> str:
    later = datetime.now(UTC) + timedelta(minutes=10)
    return _submit(client, folder, "later", start_at=later.isoformat())


def _following(client: Client, folder: Path) -> str:
    first = _paused(client, folder)
    return _submit(client, folder, "second", after=[{"job_id": first}])


def _backing_off(client: Client, folder: Path) -> str:
    body = _beats(folder, 10, bad=True)
    retry = {"codes": {"off": {"attempts": 3, "delay": 600, "cap": 600}}}
    return client.submit(
        f"{folder.name}-backoff", "metronome.beat", options={"retry": retry}, **body
    )


def _behind(client: Client, folder: Path) -> str:
    """The workers are full of work that takes long, and this one comes after it."""
    for number in range(8):
        body = _beats(folder, 400, ms=10_000)
        client.submit(f"{folder.name}-full-{number}", "metronome.swing", **body)
    return _submit(client, folder, "behind")


def _beyond(client: Client, folder: Path) -> str:
    """It rests beyond the deadline that stops it, which was far and is moved near."""
    later = datetime.now(UTC) + timedelta(hours=1)
    job_id = _submit(client, folder, "late", deadline=later.isoformat(), on_deadline="stop")
    client.command(job_id, "pause", f"{job_id}-pause")
    near = {"deadline": (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()}
    path, key = f"{JOBS}/{job_id}/adjust", f"{job_id}-adjust"
    client.ask("POST", path, near, key=key, status=202)
    return job_id


CASES: dict[str, Callable[[Client, Path], str]] = {
    "paused": _paused,
    "items": _draft,
    "rate": lambda client, folder: _submit(client, folder, "rate", rate=1),
    "concurrency": lambda client, folder: _submit(client, folder, "at once", concurrency=1),
    "scheduled": _scheduled,
    "dependency": _following,
    "backoff": _backing_off,
    "deadline": _beyond,
    "behind": _behind,
}


def _named(client: Client, job_id: str, reason: str) -> Document:
    """What a job says that it waits for, once it says so."""
    since, told = time.monotonic(), None
    while time.monotonic() < since + NAMED_WITHIN:
        told = client.job(job_id)["waiting"]
        if told is not None and told["reason"] == reason:
            return dict(told)
        time.sleep(0.02)
    raise AssertionError(f"{reason} is not named: {told}")


@pytest.mark.parametrize("reason", CASES)
def test_what_a_job_waits_for_is_named(
    stack: Stack, client: Caller, tmp_path: Path, reason: str
) -> None:
    began = time.monotonic()
    job_id = CASES[reason](client, tmp_path)
    told = _named(client, job_id, reason)
    stack.tell("seconds until a cause is named", round(time.monotonic() - began, 2), cause=reason)
    assert told["since"]
    # The command line says it in the same words; what is a figure of the moment may differ.
    shown = " ".join(stack.ask("show", job_id).stdout.split())
    assert f"waits {told['text'][:30]}" in shown


def test_progress_is_told_over_time_and_the_workers_with_their_use(
    stack: Stack, client: Caller, tmp_path: Path
) -> None:
    body = _beats(tmp_path, 400, ms=2)
    job_id = client.submit(f"{tmp_path.name}-progress", "metronome.beat", **body)
    job = client.settle(job_id)
    told = job["progress"]
    assert told["settled"] == 400
    assert told["mean"] > 0
    assert 2 <= told["item_ms"]["p50"] <= told["item_ms"]["p99"]
    points = client.ask("GET", f"{JOBS}/{job_id}/progress")["items"]
    percents = [point["percent"] for point in points]
    assert percents == sorted(percents)
    assert (percents[-1], points[-1]["version"]) == (100, job["version"])

    workers = stack.json("workers")["items"]
    assert workers
    for worker in workers:
        assert "metronome" in worker["systems"]
        assert worker["memory_bytes"] > 1 << 20
        assert worker["cpu_seconds"] > 0
    assert "MiB" in stack.ask("workers").stdout
