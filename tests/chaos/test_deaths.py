"""A member dies at every failpoint that its role reaches: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from streams.failpoints import Failpoint
from tests.chaos import dying, figures
from tests.chaos.dying import Trial
from tests.chaos.load import Load
from tests.crash import seeds
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]


def test_every_failpoint_is_reached_in_a_role() -> None:
    assert {trial.point for trial in dying.firsts()} == set(Failpoint)


@pytest.mark.parametrize("trial", dying.sample(random.Random(seeds.SEED)), ids=str)
def test_a_sample_of_the_deaths(load: Load, trial: Trial) -> None:
    took = dying.attempt(load, trial)
    tell(f"recovery from a death at {trial}", f"{took:.1f} s", seed=seeds.SEED)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_death_at_every_failpoint_in_every_role(load: Load) -> None:
    _prove(load, "first", dying.firsts())


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_death_at_a_later_hit_in_every_role(load: Load) -> None:
    _prove(load, "later", dying.laters(random.Random(seeds.SEED)))


def _prove(load: Load, which: str, trials: Sequence[Trial]) -> None:
    """Every trial is made, whatever became of those before it."""
    broken, took = [], []
    for trial in trials:
        try:
            took.append(dying.attempt(load, trial))
            load.judge()
        except AssertionError as fault:
            broken.append(f"{trial}: {fault}")
            load.stack.start()
    terms = {"hit": which, "seed": seeds.SEED}
    tell("deaths at failpoints in every role", len(took), **terms)
    what = "a death at a failpoint, all jobs of the scenario included"
    figures.recovery(what, took, hit=which)
    assert not broken, "\n".join([f"seed {seeds.SEED}:", *broken])
