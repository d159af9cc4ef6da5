"""A nursery and a prepared data directory, once; a copy of it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.places import PostgresDatabase
from tests.crash.workshop import Workshop, workshop
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("workshop")) as made:
        yield made


@pytest.fixture(scope="package")
def postgres_shop(
    tmp_path_factory: pytest.TempPathFactory, postgres_process: PostgresServer
) -> Iterator[Workshop]:
    place = PostgresDatabase(postgres_process, "crash")
    place.create()
    with workshop(tmp_path_factory.mktemp("workshop"), place) as made:
        yield made
