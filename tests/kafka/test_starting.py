"""Roles that start when what they need is away, or is not as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams import topics
from streams.loops import FIRST_PAUSE
from streams.topology import all_topics
from streams.transport.kafka import admin
from tests.acceptance.commands import PATIENCE, Service, asked, wait_ready
from tests.acceptance.scaled import START_SECONDS
from tests.chaos.proxy import Proxy
from tests.kafka.installation import ROLES, SYSTEMS
from tests.services.kafka import KafkaCluster, running_kafka
from tests.services.postgres import OWNER, PostgresCluster, running_cluster

pytestmark = pytest.mark.service("kafka", "postgresql")

DATABASE: Final = "starting"
PARTITIONS: Final = 3
"""Not what `topics create` makes by itself."""
TRIES: Final = 4
"""With growing pauses they take half a second and one and two: several seconds without it."""
LINES_A_TRY: Final = 2
"""Ours, and that of Kafka's client, of which a broker that is away is worth one."""
LINES_BESIDE: Final = 4
"""How callers are known, and what is said of our own looks at the health."""
MISCONFIGURED: Final = 2


@dataclass(frozen=True, slots=True)
class Servers:
    """What roles need; ``proxy`` leads to a database whose port is another at each start."""

    kafka: KafkaCluster
    postgres: PostgresCluster
    proxy: Proxy

    @property
    def variables(self) -> dict[str, str]:
        """Where roles find them."""
        return {
            "COUNTERMAND_BROKER": self.kafka.url,
            "COUNTERMAND_DATABASE": self.address(DATABASE),
        }

    def address(self, database: str, role: str = OWNER) -> str:
        """A database, as that role signs in to it."""
        return f"postgresql://{role}@127.0.0.1:{self.proxy.port}/{database}"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """With an empty database and all topics; who spoils something mends it."""
    with (
        running_kafka() as kafka,
        running_cluster() as postgres,
        Proxy(lambda: postgres.server.port, random.Random(0)) as proxy,
    ):
        with postgres.server.connect() as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        wanted = all_topics(SYSTEMS)
        asyncio.run(admin.create(kafka.url, wanted, partitions=PARTITIONS, replication=1))
        yield Servers(kafka, postgres, proxy)


@contextlib.contextmanager
def made(folder: Path, variables: Mapping[str, str]) -> Iterator[list[Service]]:
    """One role of each kind, not started; those that run in the end are stopped in order."""
    known = {**variables, "COUNTERMAND_DATA_DIR": str(folder)}
    roles = [Service(folder / f"{name}.log", *command, **known) for name, command in ROLES.items()]
    try:
        yield roles
    finally:
        running = [role for role in roles if role.is_running]
        for role in running:
            role.ask_to_stop()
        codes = [role.wait() for role in running]
    assert codes == [0] * len(running)


@pytest.fixture
def roles(servers: Servers, tmp_path: Path) -> Iterator[list[Service]]:
    with made(tmp_path, servers.variables) as roles:
        yield roles


# -- away --------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(server: KafkaCluster | PostgresCluster) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.mark.parametrize(
    ("away", "named"),
    [
        ("postgres", "it waits: the database is away"),
        ("kafka", "it waits: Kafka at 127.0.0.1:.* does not answer"),
    ],
)
def test_what_is_away_at_the_start_is_waited_for_in_few_words(
    servers: Servers, roles: Sequence[Service], away: str, named: str
) -> None:
    with stopped(getattr(servers, away)):
        for role in roles:
            role.start()
        for role in roles:
            lines = tried(role, TRIES)
            assert re.search(named, not_ready(role)), lines
            assert_few_words(lines)
        engines = [role.engine for role in roles]
    until = time.monotonic() + START_SECONDS
    for role in roles:
        wait_ready(role, until)
        said = role.log.read_text()
        assert ("Traceback" in said, '"uncaught"' in said) == (False, False)
    assert [role.engine for role in roles] == engines, "an engine went on, not one after it"


def test_roles_that_wait_end_in_order_when_they_are_asked_to(
    servers: Servers, roles: Sequence[Service]
) -> None:
    with stopped(servers.kafka):
        for role in roles:
            role.start()
        for role in roles:
            tried(role, 1)
        for role in roles:
            role.ask_to_stop()
        assert [role.wait() for role in roles] == [0] * len(roles)
    for role in roles:
        entries = [json.loads(line) for line in role.log.read_text().splitlines()]
        assert not [entry for entry in entries if "exception" in entry]


def tried(role: Service, times: int) -> list[dict[str, Any]]:
    """The log of a role once it has looked so often for what it waits for."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        whole, _, _ = role.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if len(waits(lines)) >= times:
            return lines
        time.sleep(0.05)
    raise AssertionError(f"fewer than {times} tries:\n{role.log.read_text()}")


def waits(lines: Sequence[dict[str, Any]]) -> list[datetime]:
    """When it said that it waits."""
    return [datetime.fromisoformat(x["timestamp"]) for x in lines if x["event"] == "waiting"]


def not_ready(role: Service) -> str:
    """The words of the 503 with which it answers."""
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{role.url}/health/ready", timeout=PATIENCE)
    with refusal.value as answer:
        problem = json.load(answer)
    assert (answer.code, problem["code"]) == (503, "not_ready")
    return str(problem["detail"])


def assert_few_words(lines: Sequence[dict[str, Any]]) -> None:
    """Each try is worth a line or two, the pauses between them grow, and nothing is a traceback."""
    times = waits(lines)
    assert len(lines) <= LINES_A_TRY * len(times) + LINES_BESIDE, lines
    assert not [line for line in lines if "exception" in line or "Traceback" in line["event"]]
    pauses = [(later - sooner).total_seconds() for sooner, later in pairwise(times)]
    for number, pause in enumerate(pauses):
        # Clocks on the wall are moved now and then, by less than a pause grows.
        assert pause > 0.8 * FIRST_PAUSE * 2**number, pauses


# -- not as they should be ---------------------------------------------------------------


async def without_one(kafka: KafkaCluster) -> str:
    """A topic is missing; returns its name."""
    name = topics.work("texts")
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    try:
        await client.delete_topics([name])
        async with asyncio.timeout(PATIENCE):
            while name in await client.list_topics():  # noqa: ASYNC110 - a broker tells nobody
                await asyncio.sleep(0.05)
    finally:
        await client.close()
    return name


async def with_one_that_has_more(kafka: KafkaCluster) -> str:
    """A topic has more partitions than the others; returns the name of one that has fewer."""
    (now,) = await admin.look(kafka.url, [topics.DEAD])
    await admin.grow(kafka.url, [topics.DEAD], partitions=now.partitions + 1)
    return topics.COMMANDS


@pytest.mark.parametrize(
    ("spoil", "verb"), [(without_one, "create"), (with_one_that_has_more, "grow")]
)
def test_the_command_that_a_refusal_names_mends_the_topics(
    servers: Servers, roles: Sequence[Service], spoil: Callable[[KafkaCluster], Any], verb: str
) -> None:
    name = asyncio.run(spoil(servers.kafka))
    sentence = refused_by_all(roles)
    assert name in sentence
    (command,) = re.findall("run `countermand ([^`]+)`", sentence)
    assert command.startswith(f"topics {verb} --partitions ")
    mended = asked(*command.split(), **servers.variables)
    assert mended.returncode == 0, mended.stderr
    start(roles)


def test_who_may_not_make_tables_is_told_who_does(servers: Servers, tmp_path: Path) -> None:
    with servers.postgres.server.connect() as connection:
        connection.execute("CREATE ROLE engine LOGIN")
        connection.execute("CREATE DATABASE unmade")
    owner = {**servers.variables, "COUNTERMAND_DATABASE": servers.address("unmade")}
    engine = {**owner, "COUNTERMAND_DATABASE": servers.address("unmade", "engine")}
    with made(tmp_path, engine) as roles:
        sentence = refused_by_all(roles)
        first, then = re.findall("`countermand ([^`]+)`", sentence)
        for command in (first, f"{then} engine"):
            mended = asked(*command.split(), **owner)
            assert mended.returncode == 0, mended.stderr
        start(roles)


def start(roles: Sequence[Service]) -> None:
    """Start all of them; return when they take work."""
    for role in roles:
        role.start()
    until = time.monotonic() + START_SECONDS
    for role in roles:
        wait_ready(role, until)


def refused_by_all(roles: Sequence[Service]) -> str:
    """The one sentence with which each of them ends, and does not start again."""
    for role in roles:
        role.start()
    (sentence,) = {refusal(role) for role in roles}
    return sentence


def refusal(role: Service) -> str:
    """The one sentence with which a role has ended by itself."""
    assert role.wait() == MISCONFIGURED
    said = role.log.read_text()
    assert ("Traceback" in said, '"uncaught"' in said) == (False, False)
    assert "never awaited" not in said
    (sentence,) = [line for line in said.splitlines() if line.startswith("countermand: ")]
    return sentence
