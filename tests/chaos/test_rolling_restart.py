"""Every process is restarted in turn, under steady load: nobody is refused, no handler runs again.

Jobs are submitted all the while, by a caller of two APIs: quick ones, and slow ones whose
items are under way when their worker is told to end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from tests.chaos.balanced import PATIENCE, Balanced
from tests.chaos.load import Load
from tests.chaos.processes import Process
from tests.chaos.stack import Stack
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

PAUSE = 0.2
"""Seconds between two submissions."""
SLOW_EVERY = 3
ROUNDS = 3
SUBMITTED_WITHIN = 12.0
"""Seconds in which a submission is answered, whoever is being restarted."""
DRAINED_WITHIN = 5.0
"""Seconds in which a process ends that was told to."""


def test_a_rolling_restart_refuses_nobody_and_repeats_no_handler(stack: Stack, load: Load) -> None:
    _rolling_restart(stack, load, rounds=1)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_rolling_restarts_refuse_nobody_and_repeat_no_handler(stack: Stack, load: Load) -> None:
    _rolling_restart(stack, load, rounds=ROUNDS)


@dataclass
class Stream:
    """The jobs that were submitted so far, and how long each submission took, in seconds."""

    jobs: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


def _rolling_restart(stack: Stack, load: Load, *, rounds: int) -> None:
    second = stack.guest("api", "api-2")
    stack.start(second)
    members = [*stack.workers, *stack.coordinators, stack.api, second]
    try:
        balanced = Balanced([stack.api.url, second.url])
        with submitting(replace(load, client=balanced)) as stream:
            slowest = max(_restarted(stack, members) for _ in range(rounds))
    finally:
        stack.stop(second)
    for job_id in stream.jobs:
        load.all_done(job_id, 60)
    terms = {"jobs": len(stream.jobs), "restarts": rounds * len(members)}
    repeated = load.repeated(*stream.jobs)
    tell("requests that no API answered in rolling restarts", balanced.unanswered, **terms)
    tell("requests that one API broke off in rolling restarts", balanced.repeated, **terms)
    tell("requests refused with 503 in rolling restarts", balanced.refused, **terms)
    tell("submissions not decided on in 5 s in rolling restarts", balanced.pending, **terms)
    tell("handler runs repeated in rolling restarts", repeated, **terms)
    tell("slowest submission in rolling restarts", f"{max(stream.took):.1f} s", **terms)
    tell("slowest end of a process in rolling restarts", f"{slowest:.1f} s", **terms)
    assert (balanced.unanswered, balanced.repeated) == (0, 0)
    assert (balanced.refused, balanced.pending) == (0, 0)
    assert repeated == 0
    assert max(stream.took) < SUBMITTED_WITHIN
    assert slowest < DRAINED_WITHIN
    load.judge()


def _restarted(stack: Stack, members: Sequence[Process]) -> float:
    """Each in turn ends in peace and comes back; the longest that one took to end, in seconds."""
    took: list[float] = []
    for member in members:
        begun = time.monotonic()
        member.ask_to_stop()
        assert member.wait() == 0, member.tail
        took.append(time.monotonic() - begun)
        stack.start(member)
    return max(took)


@contextmanager
def submitting(load: Load) -> Iterator[Stream]:
    """Submit a job every now and then, until it is left."""
    stream, over = Stream(), threading.Event()

    def submit() -> None:
        for number in count():
            begun = time.monotonic()
            if number % SLOW_EVERY == 0:
                stream.jobs.append(load.submit(40, ms=300, slow=True))
            else:
                stream.jobs.append(load.submit(100, ms=2.0))
            stream.took.append(time.monotonic() - begun)
            if over.wait(PAUSE):
                return

    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(submit)
        try:
            yield stream
        finally:
            over.set()
        submitting.result(2 * PATIENCE)
