"""What all jobs together may ask of a provider is obeyed within two seconds, whoever decides."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from domain.caps import AHEAD_SECONDS, BURST_SECONDS
from tests.acceptance.beats import beats_of, begun, most_at_once, watched
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client

OBEYED_AFTER = 2.0
WATCHED = 3.0
TURNS = 3
KEPT = AHEAD_SECONDS + BURST_SECONDS
"""Seconds of a rate that late jobs may catch up with: what lies with workers, and its burst."""
BELL = "provider:bell"
KINDS = (("metronome.ring", 4.0), ("metronome.chime", 60.0), ("metronome.chime", 60.0))
"""Jobs that ring one bell: fast ones and slow ones, with milliseconds an item."""


@contextmanager
def _ringing(stack: Stack, folder: Path) -> Iterator[dict[str, Path]]:
    """Jobs at work, each with its folder; they are cancelled and the limits lifted at the end."""
    client = Client(stack.url)
    jobs: dict[str, Path] = {}
    try:
        for number, (operation, ms) in enumerate(KINDS):
            own = folder / str(number)
            own.mkdir()
            jobs[begun(client, own, operation, ms, items=9000)] = own
        yield jobs
    finally:
        for job_id in jobs:
            client.command(job_id, "cancel", f"{job_id}-cancel")
        stack.json("limits", BELL, "--lift", "rate", "--lift", "concurrency")


def _limit(stack: Stack, *options: str) -> float:
    """Set the limit; returns when that was confirmed."""
    assert stack.json("limits", BELL, *options)["name"] == BELL
    return time.time()


def _percent_of(rate: int, folders: Sequence[Path], since: float) -> int:
    """How much of a limit all jobs together make use of, each of them having its part.

    By the first of some times in which they do: in one that a late machine begins or ends with they
    catch up, or have not yet. What they may catch up with they never exceed.
    """
    for turn in range(TURNS):
        begin = since + turn * WATCHED
        calls = [_calls(folder, begin, begin + WATCHED) for folder in folders]
        seen = [len(each) for each in calls]
        _assert_kept(rate, sorted(chain(*(_calls(folder, since, math.inf) for folder in folders))))
        used = sum(seen) / WATCHED / rate
        if 0.6 <= used <= 1.25 and min(seen) > 0.15 * sum(seen):
            return round(100 * used)
    raise AssertionError((rate, seen))


def _assert_kept(rate: int, calls: Sequence[float]) -> None:
    """Between no two calls are more than the rate allows with all that may be caught up with."""
    for first, begin in enumerate(calls):
        for last in range(first, len(calls)):
            assert last - first <= rate * (calls[last] - begin + KEPT), (rate, begin, calls[last])


def _calls(folder: Path, since: float, until: float) -> list[float]:
    """When the handler was called; a time that ends is waited for."""
    beats = beats_of(folder) if until == math.inf else watched(folder, since, until)
    return [beat.at for beat in beats if beat.what == "begin" and beat.at >= since]


def test_a_limit_holds_for_all_jobs_together_and_is_named(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    with _ringing(stack, tmp_path) as jobs:
        for rate in (60, 24):
            since = _limit(stack, "--rate", str(rate)) + OBEYED_AFTER
            percent = _percent_of(rate, list(jobs.values()), since)
            stack.tell("calls a second of all jobs, in percent of a limit", percent)
        told = [client.ask("GET", f"{JOBS}/{job_id}")["waiting"] for job_id in jobs]
        assert {one["reason"] for one in told if one} == {"limit"}
        assert any(
            "provider bell is held to 24 items a second" in one["text"] for one in told if one
        )
        since = _limit(stack, "--lift", "rate", "--concurrency", "3") + OBEYED_AFTER
        seen_at_once = 0
        for own in jobs.values():
            beats = watched(own, 0.0, since + WATCHED)
            seen_at_once += most_at_once(beats, since)
            assert any(beat.at >= since for beat in beats), "each has its turn"
        together = sorted(
            (beat for own in jobs.values() for beat in watched(own, 0.0, since + WATCHED)),
            key=lambda beat: beat.at,
        )
        assert 1 <= most_at_once(together, since) <= 3
        (shown,) = [one for one in stack.json("limits")["items"] if one["name"] == BELL]
        assert (shown["concurrency"], shown["jobs"]) == (3, len(jobs))
    stack.check_audit()
