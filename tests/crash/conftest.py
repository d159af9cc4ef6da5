"""A nursery and a prepared data directory, once; a copy of it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.workshop import Workshop, workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("workshop")) as made:
        yield made
