"""An engine that is killed while it makes its data directory is whole once it may live."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash import seeds
from tests.crash.client import Client
from tests.crash.keeper import Keeper, Shell
from tests.crash.workshop import Workshop

pytestmark = pytest.mark.crash


def _started_after(shop: Workshop, data_dir: Path, kills: int, chance: random.Random) -> None:
    with closing(Keeper(shop.nursery, data_dir)) as keeper:
        keeper.begin()
        for number in range(1, kills + 1):
            keeper.wait_for_start(number)
            time.sleep(chance.random() * 0.5)
            keeper.kill()
        keeper.wait_for(kills + 1)
        client = Client(keeper.url)
        job = client.settle(client.submit("first", "crash.create", [{"mark": "first"}]))
        assert job["counts"]["succeeded"] == 1
    for word in ("Traceback", '"uncaught"'):
        assert word not in keeper.log, keeper.log
    for verb in (("db", "check"), ("audit", "verify")):
        checked = Shell(shop.nursery, data_dir).run(*verb, "--data-dir", str(data_dir))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_killed_again_and_again_at_its_first_start(shop: Workshop, tmp_path: Path) -> None:
    _started_after(shop, tmp_path, 6, random.Random(seeds.SEED))


@pytest.mark.proof
@pytest.mark.parametrize("seed", seeds.several(20))
def test_killed_at_its_first_start_by_other_seeds(
    shop: Workshop, tmp_path: Path, seed: int
) -> None:
    _started_after(shop, tmp_path, 1 + seed % 7, random.Random(seed))
