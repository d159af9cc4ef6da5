"""Everything breaks at random while jobs are given and steered: nothing lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.load import Load
from tests.chaos.stack import running_stack
from tests.chaos.walk import LARGEST, Tally, walk
from tests.crash import seeds
from tests.crash.tally import told
from tests.proof.figures import tell
from tests.services.switch import need

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """On a stack of its own, which is broken in every way."""
    need("kafka")
    need("postgresql")
    with running_stack(tmp_path_factory.mktemp("walk"), seeds.SEED) as stack:
        yield Load.on(stack)


def test_a_short_walk(load: Load) -> None:
    tally = walk(load, kills=5, items=5_000, largest=2_000, seed=seeds.SEED)
    load.judge()
    assert tally.kills >= 5


@pytest.mark.proof
@pytest.mark.timeout(7200)
def test_three_hundred_kills_and_a_million_items(fresh: Load) -> None:
    tally = walk(fresh, kills=300, items=1_000_000, largest=LARGEST, seed=seeds.SEED)
    verdict = fresh.verdict()
    _tell(fresh, tally)
    assert tally.kills >= 300
    assert tally.cuts
    tell("items lost", verdict.lost, items=fresh.items, kills=tally.kills)
    tell("effects doubled", verdict.doubled, effects=verdict.effects, kills=tally.kills)
    assert not verdict.faults, "\n".join(verdict.faults)


def _tell(load: Load, tally: Tally) -> None:
    tell("random walk: kills", tally.kills, items=load.items, seed=seeds.SEED)
    tell("random walk: commits cut", tally.cuts)
    tell("random walk: faults and commands", told(tally.faults))
    tell("random walk: what was said of jobs", told(tally.said))
    tell("random walk: jobs by status", told(tally.statuses))
    tell("random walk: items by status", told(tally.items))
    runs = sum(len(load.runs(job_id)) for job_id in load.noted)
    repeated = load.repeated(*load.noted)
    each = repeated / max(tally.kills, 1)
    tell("handler runs repeated", repeated, runs=runs, each_kill=f"{each:.0f}")
    tell("from the end of all faults to the end of all jobs", f"{tally.mended:.1f} s")
