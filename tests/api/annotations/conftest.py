"""The platform, served by a real engine whose callers prove who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain.registry import Registry
from domain.systems.annotations import operations
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.annotations.place import Place
from tests.api.proofs import proven
from tests.api.shop import Shop
from tests.memory import ENOUGH_MIB

REGISTRY = Registry(operations)


@pytest.fixture
async def shop(data_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """An engine with the operations of the platform; a test may give settings for it."""
    more = {"worker_memory_budget": ENOUGH_MIB} | getattr(request, "param", {})

    def start() -> Any:
        return embedded(Settings(data_dir=data_dir, **more), REGISTRY)

    async with Shop(start, callers=lambda engine: proven(engine.database)) as served:
        yield served


@pytest.fixture
async def place(shop: Shop) -> Place:
    """A project with a text, two labels, an image, and a member of each role."""
    return await Place.made(shop)
