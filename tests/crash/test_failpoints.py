"""The process is killed at every failpoint: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest

from streams.failpoints import Failpoint
from tests.crash import failing, seeds
from tests.crash.failing import Outcome, Trial
from tests.crash.workshop import Remains, Run, Workshop
from tests.proof.figures import tell

pytestmark = pytest.mark.crash
SAMPLE = 16
SAMPLE_ON_POSTGRESQL = 4
SEEDS = 3


def test_every_failpoint_is_passed_by_a_scenario() -> None:
    assert {point for point, _, _ in failing.passed()} == set(Failpoint)
    assert len(Failpoint) >= 20


@pytest.mark.parametrize(
    ("waits", "took"),
    [
        ([], None),
        ([(1.0, 9.0)], None),
        ([(1.0, 12.0)], 2.0),
        ([(1.0, 12.0), (13.0, 16.0), (16.0, 17.0)], 3.0),
    ],
)
def test_a_wait_counts_from_the_restart_on(
    waits: list[tuple[float, float]], took: float | None
) -> None:
    assert failing.longest(waits, 10.0) == took


def test_whatever_a_caller_waits_for_is_noted(shop: Workshop) -> None:
    with shop.running() as run:
        job_id = run.submit("crash.create", [{"mark": "noted"}])
        assert len(run.client.waits) == 1
        run.settle(job_id)
        settled = run.client.waits[-1]
        asked = run.client.waits[1:-1]
        assert asked
        assert all(settled[0] <= begun <= ended <= settled[1] for begun, ended in asked)


@pytest.mark.parametrize("trial", failing.sample(random.Random(seeds.SEED), SAMPLE), ids=str)
def test_a_sample_of_the_deaths(shop: Workshop, trial: Trial) -> None:
    verdict = failing.attempt(shop, trial).verdict
    assert not verdict.faults, f"{trial} (seed {seeds.SEED}): {verdict}"


def test_an_engine_that_throws_stored_results_away_is_found(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Run.remains

    def thrown_away(run: Run, journal: Path) -> Remains:
        remains = looked(run, journal)
        with run.place.opened(write=True) as connection, connection:
            connection.execute("DELETE FROM item_results")
        return remains

    monkeypatch.setattr(Run, "remains", thrown_away)
    with pytest.raises(AssertionError, match="ran again, whose result was stored"):
        failing.attempt(shop, Trial(Failpoint.AFTER_ITEM_RESULTS, "slow", 2))


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
    recoveries = [one.recovery for one in outcomes if one.recovery is not None]
    said = f"{max(recoveries):.2f} s at most, {median(recoveries):.2f} s in the middle"
    tell("from the restart to the end of the job", said, N=len(recoveries), **terms)
