"""The process is killed at every failpoint: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random

import pytest

from streams.failpoints import Failpoint
from tests.crash import failing, seeds
from tests.crash.failing import Trial
from tests.crash.workshop import Workshop

pytestmark = pytest.mark.crash
SAMPLE = 14


def _prove(shop: Workshop, trial: Trial, seed: int) -> None:
    verdict = failing.attempt(shop, trial).verdict
    assert not verdict.faults, f"{trial} (seed {seed}): {verdict}"


def test_every_failpoint_is_passed_by_a_scenario() -> None:
    assert {point for point, _, _ in failing.passed()} == set(Failpoint)
    assert len(Failpoint) >= 20


@pytest.mark.parametrize("trial", failing.sample(random.Random(seeds.SEED), SAMPLE), ids=str)
def test_a_sample_of_the_deaths(shop: Workshop, trial: Trial) -> None:
    _prove(shop, trial, seeds.SEED)


@pytest.mark.proof
@pytest.mark.parametrize("trial", failing.firsts(), ids=str)
def test_a_death_at_the_first_hit(shop: Workshop, trial: Trial) -> None:
    _prove(shop, trial, seeds.SEED)


@pytest.mark.proof
@pytest.mark.parametrize("seed", seeds.several(3))
def test_a_death_at_a_later_hit(shop: Workshop, seed: int, subtests: pytest.Subtests) -> None:
    for trial in failing.laters(random.Random(seed)):
        with subtests.test(msg=str(trial)):
            _prove(shop, trial, seed)
