"""The process is killed at every failpoint: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median

import pytest

from streams.failpoints import Failpoint
from tests.crash import failing, seeds
from tests.crash.failing import Outcome, Trial
from tests.crash.workshop import Workshop
from tests.proof.figures import tell

pytestmark = pytest.mark.crash
SAMPLE = 16
SAMPLE_ON_POSTGRESQL = 4
SEEDS = 3


def test_every_failpoint_is_passed_by_a_scenario() -> None:
    assert {point for point, _, _ in failing.passed()} == set(Failpoint)
    assert len(Failpoint) >= 20


@pytest.mark.parametrize("trial", failing.sample(random.Random(seeds.SEED), SAMPLE), ids=str)
def test_a_sample_of_the_deaths(shop: Workshop, trial: Trial) -> None:
    verdict = failing.attempt(shop, trial).verdict
    assert not verdict.faults, f"{trial} (seed {seeds.SEED}): {verdict}"


@pytest.mark.parametrize(
    "trial", failing.sample(random.Random(seeds.SEED), SAMPLE_ON_POSTGRESQL), ids=str
)
def test_a_sample_of_the_deaths_on_postgresql(postgres_shop: Workshop, trial: Trial) -> None:
    verdict = failing.attempt(postgres_shop, trial).verdict
    assert not verdict.faults, f"{trial} (seed {seeds.SEED}): {verdict}"


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_death_at_the_first_hit_in_every_scenario(shop: Workshop) -> None:
    _prove(shop, "first", failing.firsts(), seeds.SEED)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", seeds.several(SEEDS))
def test_a_death_at_a_later_hit_in_every_scenario(shop: Workshop, seed: int) -> None:
    _prove(shop, "later", failing.laters(random.Random(seed)), seed)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_death_at_the_first_hit_in_every_scenario_on_postgresql(postgres_shop: Workshop) -> None:
    _prove(postgres_shop, "first", failing.firsts(), seeds.SEED)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", seeds.several(SEEDS))
def test_deaths_at_every_failpoint_on_postgresql(postgres_shop: Workshop, seed: int) -> None:
    _prove(postgres_shop, "both", failing.pairs(random.Random(seed)), seed)


def _prove(shop: Workshop, which: str, trials: Sequence[Trial], seed: int) -> None:
    """Every trial is made, whatever became of those before it."""
    broken: list[str] = []
    outcomes: list[Outcome] = []
    for trial in trials:
        try:
            outcomes.append(failing.attempt(shop, trial))
        except AssertionError as fault:
            broken.append(f"{trial}: {fault}")
    _tell(which, outcomes, seed)
    broken += [f"{one.trial}: {one.verdict}" for one in outcomes if one.verdict.faults]
    assert not broken, "\n".join([f"seed {seed}:", *broken])


def _tell(which: str, outcomes: Sequence[Outcome], seed: int) -> None:
    terms = {"hit": which, "seed": seed}
    points = {one.trial.point for one in outcomes}
    tell("deaths at failpoints", len(outcomes), failpoints=len(points), **terms)
    tell("items lost", sum(one.verdict.lost for one in outcomes), **terms)
    tell("effects doubled", sum(one.verdict.doubled for one in outcomes), **terms)
    tell("effects judged", sum(one.verdict.effects for one in outcomes), **terms)
    recoveries = [one.recovery for one in outcomes]
    said = f"{max(recoveries):.2f} s at most, {median(recoveries):.2f} s in the middle"
    tell("from the restart to the end of the job", said, **terms)
