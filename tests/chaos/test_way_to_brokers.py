"""The way to Kafka is slow, cut or dead, or its broker stands still: work goes on unaided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos import figures
from tests.chaos.load import Load
from tests.chaos.proxy import Weather
from tests.chaos.stack import Stack, running_behind_proxy
from tests.crash import seeds
from tests.services.switch import need

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

STOOD_STILL = 15.0
"""Seconds that a broker is frozen: longer than sessions last."""
PATIENCE = 30.0
"""Seconds from the end of a disturbance to the end of the job, at most: less than a request may
take, for which a dead connection would be waited for."""


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """What is asked of a stack whose members reach Kafka by a proxy, with the sums at the end."""
    need("kafka")
    need("postgresql")
    with running_behind_proxy(tmp_path_factory.mktemp("way"), seeds.SEED) as stack:
        load = Load.on(stack)
        yield load
        figures.repeats(load)
        figures.outcome(load)


@contextmanager
def _disturbance(stack: Stack, disturb: str) -> Iterator[None]:
    """A disturbance that has begun, and is over, or is ended, in the end."""
    assert stack.way is not None
    match disturb:
        case "reset":
            assert stack.way.reset_all() > len(stack.processes)
            yield
        case "silent":
            assert stack.way.silence() > len(stack.processes)
            yield
        case "slow":
            with stack.way.weather(Weather(delay=0.02, jitter=0.02, stalls=0.01)):
                yield
                time.sleep(5.0)
        case "frozen":
            (broker,) = stack.kafka.brokers
            broker.freeze()
            yield
            time.sleep(STOOD_STILL)
            broker.thaw()


def _disturbed(load: Load, disturb: str) -> float:
    took = load.recovered(_disturbance(load.stack, disturb), PATIENCE)
    for process in load.stack.processes.values():
        process.wait_ready(PATIENCE)
    return took


def test_the_way_is_cut_half_way(load: Load) -> None:
    figures.recovery("a way to the broker that was reset", [_disturbed(load, "reset")])
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("disturb", ["reset", "silent", "slow", "frozen"])
def test_the_way_is_disturbed_again_and_again(load: Load, disturb: str) -> None:
    took = [_disturbed(load, disturb) for _ in range(3)]
    figures.recovery(f"a way to the broker that was {disturb}", took)
    load.judge()
