"""Caps changed while a job runs are obeyed within two seconds, as the handler sees it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

OBEYED_AFTER = 2.0
WATCHED = 3.0
LATE = 30.0
KINDS = [("metronome.swing", 60.0), ("metronome.beat", 4.0)]
"""A slow and a fast operation, with milliseconds an item."""


@dataclass(frozen=True)
class Beat:
    """What a handler has noted down."""

    at: float
    what: str
    n: int


def _beats(folder: Path) -> list[Beat]:
    journal = folder / "beats"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [Beat(float(at), what, int(n)) for at, what, n in map(str.split, lines)]


def _watched(folder: Path, since: float, until: float) -> list[Beat]:
    """The beats of a time, once it is over."""
    late = time.monotonic() + LATE
    while time.time() < until + 0.2:
        assert time.monotonic() < late
        time.sleep(0.05)
    return [beat for beat in _beats(folder) if since <= beat.at < until]


def _begun(client: Client, folder: Path, operation: str, ms: float, items: int = 6000) -> str:
    """A job whose handler has been called a few times, and would be for long."""
    things = [{"n": n, "ms": ms} for n in range(items)]
    job_id = client.submit(str(folder), operation, things, params={"folder": str(folder)})
    late = time.monotonic() + LATE
    while len(_beats(folder)) < 100:
        assert time.monotonic() < late, "it does not begin"
        time.sleep(0.02)
    return job_id


def _most_at_once(beats: Sequence[Beat], since: float) -> int:
    """The most calls at once after a moment; beats are in the order of their writing."""
    running, most = 0, 0
    for beat in beats:
        running += 1 if beat.what == "begin" else -1
        if beat.at >= since:
            most = max(most, running)
    return most


def _adjust(client: Client, job_id: str, **wanted: object) -> float:
    """Adjust a job; returns when that was confirmed."""
    client.ask("POST", f"{JOBS}/{job_id}/adjust", wanted, status=202)
    return time.time()


def _both_begun(client: Client, folder: Path) -> dict[str, tuple[str, Path]]:
    """A job of each kind, side by side: what is watched for seconds is watched for both."""
    begun = {}
    for operation, ms in KINDS:
        mine = folder / operation
        mine.mkdir()
        begun[operation] = _begun(client, mine, operation, ms), mine
    return begun


def test_a_rate_is_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    jobs = _both_begun(client, tmp_path)
    for rate in (40, 100, 15):
        told = {job_id: _adjust(client, job_id, rate=rate) for job_id, _ in jobs.values()}
        for operation, (job_id, folder) in jobs.items():
            since = told[job_id] + OBEYED_AFTER
            watched = _watched(folder, since, since + WATCHED)
            seen = sum(beat.what == "begin" for beat in watched) / WATCHED
            stack.tell("calls a second under a cap, in percent of it", round(100 * seen / rate))
            assert 0.6 * rate <= seen <= 1.25 * rate, (operation, rate, seen)
    for job_id, _ in jobs.values():
        assert client.job(job_id)["caps"] == {"rate": 15, "concurrency": None}
        client.command(job_id, "cancel", f"{job_id}-cancel")
    stack.check_audit()


def test_a_concurrency_is_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    jobs = _both_begun(client, tmp_path)
    for cap in (3, 1):
        told = {job_id: _adjust(client, job_id, concurrency=cap) for job_id, _ in jobs.values()}
        for operation, (job_id, folder) in jobs.items():
            since = told[job_id] + OBEYED_AFTER
            watched = _watched(folder, 0.0, since + WATCHED)
            assert 1 <= _most_at_once(watched, since) <= cap, operation
    for operation, (job_id, folder) in jobs.items():
        calls = [beat.n for beat in _beats(folder) if beat.what == "begin"]
        if operation == "metronome.swing":
            assert len(set(calls)) == len(calls), "a slow item that has begun is not begun again"
        _adjust(client, job_id, lift=["concurrency"])
        client.command(job_id, "cancel", f"{job_id}-cancel")


def test_a_job_keeps_to_the_caps_that_it_was_submitted_with(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n < 40} for n in range(50)]
    options = {"rate": 20}
    params = {"folder": str(tmp_path)}
    job_id = client.submit("slowly", "metronome.beat", things, params=params, options=options)
    assert client.settle(job_id)["counts"]["failed"] == 40
    (tmp_path / "mended").touch()
    client.command(job_id, "retry", "slowly-again")
    client.settle(job_id)
    begun = [beat.at for beat in _beats(tmp_path) if beat.what == "begin"]
    assert len(begun) == 90, "each item once, and the failed ones once more"
    for calls in (begun[:50], begun[50:]):
        seconds = calls[-1] - calls[0]
        assert seconds >= (len(calls) - 20 * 1.25) / 20, "but for what had gathered in a second"
