"""Kafka is killed and comes back at once, later, or in part: work goes on unaided."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.chaos import figures
from tests.chaos.load import NAMED_WITHIN, Load
from tests.chaos.stack import Stack, running_stack
from tests.crash import seeds
from tests.services.switch import need

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

UNACCEPTED = 10.0
"""Seconds in which a submission is not answered while most brokers are away."""
UNREADY_WITHIN = 5.0
"""Seconds after that in which every member must say at /health/ready that it takes no work."""
PATIENCE = 60.0
"""Seconds from the return of the brokers to the end of the job, at most."""


def _away(stack: Stack, load: Load, seconds: float) -> float:
    """Seconds from their return to the end of the job that was under way, and of one sent since."""
    job_id = load.submit_held(1000, ms=2.0)
    stubborn = replace(load, client=stack.client(seconds + PATIENCE))
    with load.half_way(job_id):
        stack.kafka.kill()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(stubborn.submit, 100)
        began = time.monotonic()
        if seconds > NAMED_WITHIN:
            load.named(job_id, "broker")
            stack.unready("broker", UNREADY_WITHIN)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        stack.kafka.start()
        begun = time.monotonic()
        load.all_done(job_id, PATIENCE)
        took = time.monotonic() - begun
        load.all_done(sent.result(PATIENCE), PATIENCE)
    for process in stack.processes.values():
        process.wait_ready(PATIENCE)
    return took


def test_all_brokers_are_away_for_a_while(stack: Stack, load: Load) -> None:
    figures.recovery("15 s without brokers", [_away(stack, load, 15.0)])
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seconds", [0.0, 5.0, 30.0, 180.0])
def test_all_brokers_are_away_for_long(stack: Stack, load: Load, seconds: float) -> None:
    took = [_away(stack, load, seconds) for _ in range(1 if seconds > 60 else 2)]
    figures.recovery(f"{seconds:g} s without brokers", took)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_one_and_then_two_of_three_brokers_are_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    need("kafka")
    need("postgresql")
    with running_stack(tmp_path_factory.mktemp("three"), seeds.SEED, brokers=3) as stack:
        load = Load.on(stack)
        one, two, _ = stack.kafka.brokers
        job_id = load.submit_held(1000, ms=2.0)
        with load.half_way(job_id):
            one.kill()
        begun = time.monotonic()
        load.all_done(job_id, PATIENCE)
        figures.recovery("the death of one broker of three", [time.monotonic() - begun])
        two.kill()
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(load.submit, 1000)
            time.sleep(UNACCEPTED)
            accepted = sent.done()
            stack.kafka.start()
            begun = time.monotonic()
            load.all_done(sent.result(PATIENCE), PATIENCE)
        assert not accepted, "a command was accepted that only one broker has"
        figures.recovery("the death of two brokers of three", [time.monotonic() - begun])
        load.judge()
