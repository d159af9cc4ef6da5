"""One process has all commands and hints of a job, however many processes and partitions there are.

What gateway and worker say to a job's coordinator is taken from the real stages, and sent over
a real broker to the coordinators of a real group, while some join and others leave.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace

import orjson
import pytest

from domain.commands import JobSpec
from domain.errors import CountermandError
from domain.registry import Registry
from streams.bootstrap.parts import Base
from streams.callers import Caller
from streams.envelope import Outgoing, decode_command
from streams.gateway import Gateway, Waiting
from streams.settings import Settings
from streams.stores import migrate
from streams.stores.database import Database, sqlite_url
from streams.topics import COMMANDS, OUTCOMES
from streams.transport.kafka import admin
from tests.crash.seeds import SEED
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock
from tests.kafka.members import Group, group_of, sending
from tests.proof.figures import tell
from tests.services.kafka import KafkaCluster, running_kafka
from tests.services.switch import need

JOBS = 24
MEMBERS = range(1, 9)
PARTITIONS = range(3, 13)
NAMES = [f"coordinator-{number}" for number in MEMBERS]
TRIES = 5
SESSION_SECONDS = 3.0
"""Who leaves is missed after that; who stays must not be, while the machine has more to do."""
CALLER = Caller("local", "tester")
Engine = Callable[[str], Base]
"""What an engine is made with, for the address of its broker."""
Talk = dict[str, list[Outgoing]]
"""What is said to the coordinator, by job."""
Said = dict[str, list[str]]
"""The ids of what was sent, by job."""
Taken = dict[str, list[list[str]]]
"""Whom each of them reached while nobody came or went, by job."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """A broker whose topics grow from test to test."""
    need("kafka")
    with running_kafka() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with Database(sqlite_url(folder / "countermand.db")) as database:
        migrate.upgrade(database)
        migrate.create_missing(database, [stock])

        def on(broker: str) -> Base:
            settings = Settings(data_dir=folder, broker=broker, session_timeout=SESSION_SECONDS)
            return Base.of(settings, Registry(operations), database, None)

        yield on


@pytest.fixture(scope="module")
def talk(engine: Engine) -> Talk:
    return asyncio.run(_talk(engine("memory://")))


async def _talk(base: Base) -> Talk:
    """Jobs are submitted, worked and undone, each through all stages."""
    stages = Stages(base.database, base.registry)
    said: Talk = defaultdict(list)

    async def send(outgoing: Outgoing) -> None:
        stages.bus.append(outgoing)
        while stages.bus:
            one = stages.bus.pop(0)
            if speaks_to_coordinator(one):
                said[decode_command(one.value).job_id].append(one)
            await stages.deliver(one)

    gateway = Gateway(
        database=base.database,
        registry=base.registry,
        clock=stages.clock,
        ids=stages.ids,
        send=send,
        decided=Waiting(),
        failpoints=base.failpoints,
    )
    for number in range(JOBS):
        spec = JobSpec(operation="stock.create")
        decision = await gateway.submit(CALLER, spec, line({"name": f"thing {number}"}), key=None)
        await gateway.command(CALLER, decision.job_id, "undo", "")
    return said


def speaks_to_coordinator(outgoing: Outgoing) -> bool:
    try:
        decode_command(outgoing.value)
    except CountermandError:
        return False
    return True


async def line(item: dict[str, str]) -> AsyncIterator[bytes]:
    yield orjson.dumps(item) + b"\n"


def test_what_is_said_has_commands_and_hints_of_every_job(talk: Talk) -> None:
    assert len(talk) == JOBS
    for said in talk.values():
        kinds = [decode_command(one.value).type for one in said]
        assert kinds == ["submit_job", "record_outcomes", "undo_job", "record_outcomes"]


@pytest.mark.slow
async def test_hints_on_a_topic_of_their_own_would_reach_others(
    cluster: KafkaCluster, engine: Engine, talk: Talk
) -> None:
    """The check can fail: Kafka's round robin gives out the partitions of both topics in turn."""
    elsewhere = {
        job_id: [
            replace(one, topic=OUTCOMES)
            if decode_command(one.value).type == "record_outcomes"
            else one
            for one in said
        ]
        for job_id, said in talk.items()
    }
    await _have_partitions(cluster, 4)
    async with group_of(engine(cluster.url), 4, random.Random(SEED)) as group:
        group.also = (OUTCOMES,)
        await group.become(3, NAMES)
        assert len(_torn(await _undisturbed(group, cluster, elsewhere))) == JOBS


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_members_come_and_go(cluster: KafkaCluster, engine: Engine, talk: Talk) -> None:
    chance = random.Random(SEED)
    counts = chance.sample(PARTITIONS[1:], 1)
    for partitions in counts:
        others = chance.sample([count for count in MEMBERS if count != 3], 3)
        # Three members share four partitions, or eight, of two topics in the worst of ways.
        walk = [others[0], 3, *others[1:]]
        await _check(cluster, engine(cluster.url), talk, partitions, walk, chance)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_every_number_of_members_and_partitions(engine: Engine, talk: Talk) -> None:
    need("kafka")
    chance = random.Random(SEED)
    with running_kafka() as cluster:
        for partitions in PARTITIONS:
            walk = [*MEMBERS, *reversed(MEMBERS[:-1])]
            await _check(cluster, engine(cluster.url), talk, partitions, walk, chance)


async def _check(
    cluster: KafkaCluster,
    base: Base,
    talk: Talk,
    partitions: int,
    walk: Sequence[int],
    chance: random.Random,
) -> None:
    """So many members, one after the other: each job has its one member, and loses nothing."""
    await _have_partitions(cluster, partitions)
    reached = 0
    meanwhile: list[str] = []
    async with group_of(base, partitions, chance) as group:
        for members in walk:
            change = asyncio.ensure_future(group.become(members, NAMES))
            meanwhile += _ids(await _say(cluster, talk))
            await change
            taken = await _undisturbed(group, cluster, talk)
            assert not _torn(taken), f"{members} members, {partitions} partitions, seed {SEED}"
            reached += sum(map(len, taken.values()))
        await group.has_received(meanwhile)
    tell(
        "commands and hints that reached the one process of their job",
        reached,
        partitions=partitions,
        members="/".join(map(str, walk)),
        seed=SEED,
    )


async def _have_partitions(cluster: KafkaCluster, partitions: int) -> None:
    topics = [COMMANDS, OUTCOMES]
    await admin.create(cluster.url, topics, partitions=partitions, replication=1)
    await admin.grow(cluster.url, topics, partitions=partitions)


async def _undisturbed(group: Group, cluster: KafkaCluster, talk: Talk) -> Taken:
    """Say everything while nobody comes or goes; once more if somebody did.

    Twice: whoever else had a partition as well would have what was said first by the time
    when the second has come.
    """
    for _ in range(TRIES):
        before = await group.at_rest()
        taken: Taken = defaultdict(list)
        waves = []
        for _ in range(2):
            waves.append(await _say(cluster, talk))
            await group.has_received(_ids(waves[-1]))
        for job_id, each in itertools.chain.from_iterable(said.items() for said in waves):
            taken[job_id] += [list(group.received[one]) for one in each]
        if group.generations == before:
            return taken
    raise AssertionError("the group finds no rest")


_numbers = itertools.count()


async def _say(cluster: KafkaCluster, talk: Talk) -> Said:
    """Send everything, each under an id of its own: what is said, by job."""
    said: Said = defaultdict(list)
    messages: list[Outgoing] = []
    for job_id, each in talk.items():
        for one in each:
            command_id = f"said-{next(_numbers)}"
            document = orjson.loads(one.value) | {"command_id": command_id}
            messages.append(replace(one, value=orjson.dumps(document)))
            said[job_id].append(command_id)
    async with sending(cluster.url) as send:
        await asyncio.gather(*map(send, messages))
    return said


def _ids(said: Said) -> list[str]:
    return list(itertools.chain.from_iterable(said.values()))


def _torn(taken: Taken) -> list[str]:
    """The jobs of which not all has reached one and the same member, and it alone, once."""
    return [
        job_id
        for job_id, reached in taken.items()
        if any(each != reached[0][:1] for each in reached)
    ]
