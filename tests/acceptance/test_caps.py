"""Caps changed while a job runs are obeyed within two seconds, as the handler sees it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from domain.caps import AHEAD_SECONDS, BURST_SECONDS, TICK
from tests.acceptance.beats import beats_of, begun, most_at_once, watched
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

OBEYED_AFTER = 2.0
KEPT = AHEAD_SECONDS + BURST_SECONDS
"""Seconds of a rate that a late job may catch up with: what lies with workers, and its burst."""
WATCHED = 4 * KEPT
"""Seconds, so that what is caught up with is a quarter of them at most."""
KINDS = [("metronome.swing", 60.0, 6000), ("metronome.beat", 4.0, 20_000)]
"""A slow and a fast operation, with milliseconds an item, and items for far longer."""


def _adjust(client: Client, job_id: str, **wanted: object) -> float:
    """Adjust a job; returns when that was confirmed."""
    client.ask("POST", f"{JOBS}/{job_id}/adjust", wanted, status=202)
    return time.time()


def _both_begun(client: Client, folder: Path) -> dict[str, tuple[str, Path]]:
    """A job of each kind, side by side: what is watched for seconds is watched for both."""
    both = {}
    for operation, ms, items in KINDS:
        mine = folder / operation
        mine.mkdir()
        both[operation] = begun(client, mine, operation, ms, items), mine
    return both


def _rates_are_obeyed(stack: Stack, tmp_path: Path, *rates: int) -> None:
    client = Client(stack.url)
    jobs = _both_begun(client, tmp_path)
    for rate in rates:
        told = {job_id: _adjust(client, job_id, rate=rate) for job_id, _ in jobs.values()}
        for operation, (job_id, folder) in jobs.items():
            since = told[job_id] + OBEYED_AFTER
            seen_beats = watched(folder, since, since + WATCHED)
            seen = sum(beat.what == "begin" for beat in seen_beats) / WATCHED
            stack.tell("calls a second under a cap, in percent of it", round(100 * seen / rate))
            assert 0.6 * rate <= seen <= 1.25 * rate, (operation, rate, seen)
    for job_id, _ in jobs.values():
        assert client.job(job_id)["caps"] == {"rate": rates[-1], "concurrency": None}
        client.command(job_id, "cancel", f"{job_id}-cancel")
    stack.check_audit()


def test_a_rate_is_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    _rates_are_obeyed(stack, tmp_path, 15)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_rates_are_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    _rates_are_obeyed(stack, tmp_path, 40, 100, 15)


def _concurrency_is_obeyed(
    stack: Stack, tmp_path: Path, *caps: int, seconds: float = WATCHED
) -> None:
    client = Client(stack.url)
    jobs = _both_begun(client, tmp_path)
    for cap in caps:
        told = {job_id: _adjust(client, job_id, concurrency=cap) for job_id, _ in jobs.values()}
        for operation, (job_id, folder) in jobs.items():
            since = told[job_id] + OBEYED_AFTER
            seen_beats = watched(folder, 0.0, since + seconds)
            assert 1 <= most_at_once(seen_beats, since) <= cap, operation
    for operation, (job_id, folder) in jobs.items():
        calls = [beat.n for beat in beats_of(folder) if beat.what == "begin"]
        if operation == "metronome.swing":
            assert len(set(calls)) == len(calls), "a slow item that has begun is not begun again"
        _adjust(client, job_id, lift=["concurrency"])
        client.command(job_id, "cancel", f"{job_id}-cancel")


def test_a_concurrency_is_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    # Nobody may catch up with it, so that less has to be seen than of a rate.
    _concurrency_is_obeyed(stack, tmp_path, 2, seconds=WATCHED / 3)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_concurrencies_are_obeyed_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    _concurrency_is_obeyed(stack, tmp_path, 3, 1)


def test_a_job_keeps_to_the_caps_that_it_was_submitted_with(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n < 240} for n in range(300)]
    options = {"rate": 60}
    params = {"folder": str(tmp_path)}
    job_id = client.submit("slowly", "metronome.beat", things, params=params, options=options)
    assert client.settle(job_id)["counts"]["failed"] == 240
    (tmp_path / "mended").touch()
    client.command(job_id, "retry", "slowly-again")
    client.settle(job_id)
    begun = [beat.at for beat in beats_of(tmp_path) if beat.what == "begin"]
    assert len(begun) == 540, "each item once, and the failed ones once more"
    for calls in (begun[:300], begun[300:]):
        seconds = calls[-1] - calls[0]
        assert seconds >= len(calls) / 60 - KEPT - TICK, "but for what was caught up with"
