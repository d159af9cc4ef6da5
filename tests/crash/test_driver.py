"""Random commands to an engine that is killed at random: what it says stays true."""

from __future__ import annotations

import pytest

from tests.crash import driver, seeds
from tests.crash.tally import Tally, told
from tests.crash.workshop import Workshop
from tests.proof.figures import tell

pytestmark = pytest.mark.crash


def test_a_short_walk(shop: Workshop) -> None:
    tally = driver.drive(shop, 40, seeds.SEED)
    print(tally)
    assert tally.steps == 40


def test_a_short_walk_on_postgresql(postgres_shop: Workshop) -> None:
    tally = driver.drive(postgres_shop, 20, seeds.SEED)
    print(tally)
    assert tally.steps == 20


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_two_thousand_steps(shop: Workshop) -> None:
    tally = driver.drive(shop, 2000, seeds.SEED)
    _tell(tally, "SQLite")
    assert tally.steps == 2000
    assert tally.kills >= 50
    assert {"cancelled", "completed", "completed_with_errors", "rolled_back"} <= set(tally.statuses)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_some_hundred_steps_on_postgresql(postgres_shop: Workshop) -> None:
    tally = driver.drive(postgres_shop, 300, seeds.SEED)
    _tell(tally, "PostgreSQL")
    assert tally.steps == 300
    assert tally.kills >= 5


def _tell(tally: Tally, database: str) -> None:
    tell(f"steps of the random driver on {database}", tally.steps, seed=seeds.SEED)
    tell("of which kills", tally.kills, lives=tally.lives, unanswered=tally.unanswered)
    tell("effects judged in the walks", tally.effects, walks=tally.walks)
    tell("what was done", told(tally.actions))
    tell("jobs by status", told(tally.statuses))
    tell("items by status", told(tally.items))
