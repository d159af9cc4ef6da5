"""Members of a group that have names: whose work they take, and what a restart of one moves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from streams import topics
from streams.topology import StageName
from tests.acceptance.commands import wait_ready
from tests.acceptance.scaled import START_SECONDS
from tests.crash.client import Client
from tests.kafka import groups
from tests.kafka.groups import Shares
from tests.kafka.installation import PARTITIONS, Installation, installed
from tests.services.kafka import running_kafka
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service("kafka")

SESSION: Final = 20.0
"""Seconds within which a member is back, also on a machine that has more to do."""
ANNOTATIONS, TEXTS = topics.work("annotations"), topics.work("texts")
ROLES: Final = {
    "api": ("api",),
    "coordinator-1": ("coordinator", "--instance", "coordinator-1"),
    "coordinator-2": ("coordinator", "--instance", "coordinator-2"),
    "worker-1": (
        *("worker", "--instance", "worker-1"),
        *("--systems", "annotations", "--slots", "2"),
    ),
    "worker-2": ("worker", "--instance", "worker-2", "--slots", "1"),
}
"""As the README starts them; of ``worker-2`` one slot says all."""
MEMBERS: Final = {
    StageName.COORDINATOR: {"coordinator-1-coordinator", "coordinator-2-coordinator"},
    StageName.WORKER: {"worker-1-worker-0", "worker-1-worker-1", "worker-2-worker-0"},
}
READ: Final = {
    StageName.COORDINATOR: (topics.COMMANDS,),
    StageName.WORKER: (ANNOTATIONS, TEXTS),
}
JOBS: Final = 4
"""Of each system, so that work which comes to the wrong one would be seen."""


@pytest.fixture(scope="module")
def members(
    postgres_process: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation on a broker that has no other members, with all at their work."""
    folder, session = tmp_path_factory.mktemp("members"), str(SESSION)
    with (
        running_kafka() as kafka,
        postgres_process.database("members") as database,
        installed(kafka, database, folder, ROLES, COUNTERMAND_SESSION_TIMEOUT=session) as running,
    ):
        yield running


def shared_out(members: Installation, stage: StageName) -> Shares:
    """Who has which partitions, once each has its one member."""
    wanted = set(product(READ[stage], range(PARTITIONS)))
    return groups.settled(members.bootstrap, stage.value, MEMBERS[stage], wanted)


def test_a_worker_of_one_system_leaves_the_other_to_a_worker_of_all(members: Installation) -> None:
    shares = shared_out(members, StageName.WORKER)
    for slot in ("worker-1-worker-0", "worker-1-worker-1"):
        assert {topic for topic, _ in shares[slot]} == {ANNOTATIONS}

    client = Client(members.url)
    names = [f"membership {number}" for number in range(JOBS)]
    projects = [
        client.submit(name, "annotations.create_projects", [{"name": name}]) for name in names
    ]
    assert {client.settle(job_id)["status"] for job_id in projects} == {"completed"}
    inside = {"project_id": client.items(projects[0])[0]["result"]["id"]}
    texts = [
        client.submit(f"texts of {name}", "texts.import", [{"content": name}], params=inside)
        for name in names
    ]
    assert {client.settle(job_id)["status"] for job_id in texts} == {"completed"}
    assert workers_of(members, texts) == {"worker-2"}


def workers_of(members: Installation, jobs: Sequence[str]) -> set[str]:
    """The names of the processes that have worked these jobs."""
    engine = create_engine(members.database, poolclass=NullPool)
    found = text("SELECT worker FROM chunks WHERE job_id = ANY(:jobs)")
    with engine.connect() as connection:
        workers = connection.execute(found, {"jobs": list(jobs)}).scalars().all()
    assert len(workers) == len(jobs)
    return {next(name for name in ROLES if worker.startswith(f"{name}-")) for worker in workers}


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        (StageName.COORDINATOR, ("coordinator-1", "coordinator-2")),
        (StageName.WORKER, ("worker-1", "worker-2")),
    ],
    ids=["coordinators", "workers"],
)
def test_a_name_that_comes_back_within_its_session_moves_nothing(
    members: Installation, stage: StageName, names: Sequence[str]
) -> None:
    shares, generation = shared_out(members, stage), generation_of(members, stage)
    # The one that shares out for all others is among them.
    for name in names:
        service = members.services[name]
        assert service.stop() == 0
        service.start()
        wait_ready(service, time.monotonic() + START_SECONDS)
        assert (shared_out(members, stage), generation_of(members, stage)) == (shares, generation)


def generation_of(members: Installation, stage: StageName) -> int:
    return groups.generation(members.bootstrap, stage.value)
