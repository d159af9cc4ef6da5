"""A member dies at every failpoint that its role reaches: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random

import pytest

from streams.failpoints import Failpoint
from tests.chaos import dying, figures
from tests.chaos.dying import Trial
from tests.chaos.load import Load
from tests.crash import seeds
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]
SAMPLE = 1


def test_every_failpoint_is_reached_in_a_role() -> None:
    assert {trial.point for trial in dying.trials()} == set(Failpoint)


@pytest.mark.parametrize("trial", random.Random(seeds.SEED).sample(dying.trials(), SAMPLE), ids=str)
def test_a_sample_of_the_deaths(load: Load, trial: Trial) -> None:
    dying.attempt(load, trial)
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_death_at_every_failpoint_in_every_role(load: Load) -> None:
    broken, took = [], []
    for trial in dying.trials():
        try:
            took.append(dying.attempt(load, trial))
            load.judge()
        except AssertionError as fault:
            broken.append(f"{trial}: {fault}")
            load.stack.start()
    tell("deaths at failpoints in every role", len(took), seed=seeds.SEED)
    figures.recovery("a death at a failpoint, all jobs of the scenario included", took)
    assert not broken, "\n".join(broken)
