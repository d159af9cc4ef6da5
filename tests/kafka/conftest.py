"""One installation for all tests of this folder: each names its own jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from tests.kafka.clients import Aiokafka, Client, Confluent
from tests.kafka.contract import Contract
from tests.kafka.installation import Installation, installed
from tests.services.kafka import KafkaCluster
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="package")
def installation(
    kafka: KafkaCluster,
    postgres_process: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """An API, a coordinator and a worker over the broker and a database of their own."""
    folder = tmp_path_factory.mktemp("roles")
    with (
        postgres_process.database("installation") as database,
        installed(kafka, database, folder) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def contract() -> Contract:
    """All that a stranger knows."""
    return Contract.read()


@pytest.fixture(params=[Aiokafka, Confluent], ids=["aiokafka", "confluent-kafka"])
def any_client(
    request: pytest.FixtureRequest, installation: Installation
) -> AbstractAsyncContextManager[Client]:
    """A client of each kind, to be opened by the test."""
    client: AbstractAsyncContextManager[Client] = request.param(installation.bootstrap)
    return client


@pytest.fixture
def client(installation: Installation) -> AbstractAsyncContextManager[Client]:
    """One client, where the kind does not matter."""
    return Aiokafka(installation.bootstrap)
