"""The way to PostgreSQL is cut at the worst moment, slow or gone: work goes on, once and whole."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chaos import figures
from tests.chaos.load import Load
from tests.chaos.proxy import Armed, Cut, Weather
from tests.chaos.stack import DATABASE, Stack
from tests.crash import seeds
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

WRITTEN = ("reservations", "events", "chunks", "outcomes")
"""By a submission, a decision, a claim, and the effects of a chunk."""
TRIALS = 100
AWAY = 10.0
"""Seconds in which every member must say that it has no database, and as many more."""
PATIENCE = 60.0


def _cut(stack: Stack, load: Load, cuts: Iterable[Armed]) -> list[tuple[Armed, Any]]:
    """A job for each commit that is cut; those that did not succeed."""
    failed = []
    for armed in cuts:
        stack.proxy.arm(armed)
        job_id = load.submit(20)
        job = load.done(job_id, PATIENCE)
        if job["status"] != "completed":
            failed.append((armed, job))
        assert stack.proxy.armed == 0, f"no transaction wrote {armed.table}"
    return failed


def test_connections_cut_between_commit_and_answer(stack: Stack, load: Load) -> None:
    assert not _cut(stack, load, [*map(Armed, WRITTEN), Armed("outcomes", Cut.REQUEST)])
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_hundred_connections_cut_between_commit_and_answer(stack: Stack, load: Load) -> None:
    tables = list(itertools.islice(itertools.cycle(WRITTEN), TRIALS))
    failed = _cut(stack, load, map(Armed, tables))
    tell("connections cut after COMMIT was sent and before its answer", len(tables))
    tell("false failures of them", len(failed), N=len(tables))
    assert not failed
    load.judge()
    chance = random.Random(seeds.SEED)
    others = [Armed(chance.choice(WRITTEN), cut) for cut in (Cut.REQUEST, Cut.HALF) * 25]
    assert not _cut(stack, load, others)
    load.judge()
    tell("connections cut before COMMIT was sent, or within its answer", len(others))


@contextmanager
def _disturbance(stack: Stack, disturb: str) -> Iterator[None]:
    """A disturbance that has begun, and is over, or is ended, in the end."""
    match disturb:
        case "killed" | "away":
            stack.postgres.kill()
            yield
            if disturb == "away":
                stack.unready("database", AWAY)
                time.sleep(AWAY)
            stack.postgres.start()
        case "terminated":
            with stack.postgres.server.connect() as connection:
                ended = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = %s",
                    [DATABASE],
                ).fetchall()
            assert ended.count((True,)) >= len(stack.processes), ended
            yield
        case "reset":
            assert stack.proxy.reset_all() >= len(stack.processes)
            yield
        case "silent":
            assert stack.proxy.silence() >= len(stack.processes)
            yield
        case "slow":
            with stack.proxy.weather(Weather(delay=0.02, jitter=0.02, stalls=0.01)):
                yield
                time.sleep(5.0)


def _disturbed(load: Load, disturb: str) -> float:
    return load.recovered(_disturbance(load.stack, disturb), PATIENCE)


@pytest.mark.parametrize("disturb", ["killed", "silent"])
def test_the_database_is_disturbed_half_way(load: Load, disturb: str) -> None:
    figures.recovery(f"a database that was {disturb}", [_disturbed(load, disturb)])
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("disturb", ["killed", "away", "terminated", "reset", "silent", "slow"])
def test_the_database_is_disturbed_again_and_again(load: Load, disturb: str) -> None:
    figures.recovery(
        f"a database that was {disturb}", [_disturbed(load, disturb) for _ in range(3)]
    )
    load.judge()
