"""Schemathesis over the whole document against a live engine: all checks, links followed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.proofs import proven
from tests.api.shop import Shop
from tests.openapi.trying import Trial, trial
from tests.proof.figures import tell
from tests.unit.streams.identity.signing import token

SEED = int(os.environ.get("COUNTERMAND_TEST_SEED", "1"))
FEW = "examples,fuzzing,stateful"
"""Without each bound of each field and each wrong method, which are two thirds of the requests."""
ALL = f"{FEW},coverage"


@pytest.fixture
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """An engine with the operations that are installed, whose callers prove who they are."""

    folder = tmp_path_factory.mktemp("data")

    def start() -> Any:
        return embedded(Settings(data_dir=folder))

    async with Shop(start, callers=lambda engine: proven(engine.database)) as served:
        yield served


async def tried(shop: Shop, folder: Path, phases: str, examples: int, seed: int) -> Trial:
    found = await trial(
        f"http://127.0.0.1:{shop.port}",
        token(roles=["admin", "operator"]),
        folder,
        "--phases",
        phases,
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
    )
    assert found.code == 0, found.failures[:20_000]
    assert [status for status in found.statuses if status >= 500] == []
    assert found.statuses.keys() >= {200, 201, 202, 400, 401, 404, 409, 422}
    tell("requests", found.cases, seed=seed, examples=examples)
    tell("of these, live streams that were read", found.streams, seed=seed)
    return found


@pytest.mark.timeout(280)
async def test_a_sample_of_requests_finds_nothing(shop: Shop, tmp_path: Path) -> None:
    found = await tried(shop, tmp_path, FEW, examples=4, seed=SEED)
    assert found.cases > 1000
    assert found.streams > 1


@pytest.mark.proof
@pytest.mark.timeout(3500)
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
async def test_the_whole_document_is_true(shop: Shop, tmp_path: Path, seed: int) -> None:
    found = await tried(shop, tmp_path, ALL, examples=60, seed=seed)
    assert found.cases > 6000
    assert found.streams > 2
    assert found.statuses.keys() >= {405, 415}
