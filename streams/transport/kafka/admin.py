"""Topics on Kafka: made, looked at and grown by ourselves, since Faust only says "exists"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka.admin import (  # type: ignore[import-untyped] # ships none
    AIOKafkaAdminClient,
    NewPartitions,
    NewTopic,
)
from aiokafka.errors import (  # type: ignore[import-untyped] # ships none
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from domain.errors import BrokerUnavailable, SettingsInvalid
from streams import broker_address, defaults
from streams.broker_address import Broker
from streams.transport.kafka.closing import close_promptly
from streams.transport.kafka.configs import (
    CONFIGS,
    KEPT,
    Configs,
    described,
    doubtful,
    in_sync,
    losing,
)
from streams.transport.kafka.refusals import FORBIDDEN, refusal

__all__ = [
    "TopicState",
    "allowed",
    "committed",
    "configured",
    "create",
    "faults",
    "grow",
    "kept_by",
    "look",
    "require",
    "thin",
]

log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 15.0
SEEN_SECONDS: Final = 0.05
RETURN_SECONDS: Final = 5.0
"""How long a broker that came back may take until it knows of all topics that were there.

Shorter than for whoever has seen them: who starts is told soon what is really missing.
"""
RETURN_PAUSE: Final = 0.25
CONFIG_SECONDS: Final = 5.0
"""Of those of an answer, for what a process starts without."""
REPLICAS: Final = 3
"""Where there are as many brokers: one may be away, and no message is on one disk alone."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic of ours; without partitions it does not exist.

    ``replicas`` are the brokers that keep each message, of the partition with the fewest;
    ``possible`` how many could.
    """

    topic: str
    partitions: int
    replicas: int = 0
    possible: int = 0


async def look(address: Broker, topics: Sequence[str]) -> list[TopicState]:
    """How the topics are.

    Raises BrokerUnavailable, as all functions here, when no broker answers in time.
    """
    async with _admin(address) as admin:
        return await _states(admin, topics)


async def configured(address: Broker, topics: Sequence[str]) -> Configs:
    """How the topics are configured, as far as the broker tells; see :mod:`.configs`."""
    async with _admin(address) as admin:
        configs, _ = await _told(admin, topics)
    return configs


async def create(
    address: Broker,
    topics: Sequence[str],
    *,
    partitions: int | None = None,
    replication: int | None = None,
) -> list[str]:
    """Make the topics that are not there; returns which, once a broker shows them.

    Those that are there stay as they are. Without ``partitions`` a new one has as many as they
    have, which all topics must. Without ``replication`` each message is kept by three brokers, or
    by all where there are fewer. Raises SettingsInvalid when there are fewer brokers than replicas.
    """
    async with _admin(address) as admin:
        states = await _states(admin, topics)
        missing = [state for state in states if not state.partitions]
        if missing:
            each = replication or missing[0].possible
            parts = partitions or _most(states) or defaults.PARTITIONS
            wanted = [_new(state.topic, parts, each) for state in missing]
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:
                _raise(name, code, each)
            await _seen(admin, [state.topic for state in missing], 1)
        return [state.topic for state in missing]


async def grow(address: Broker, topics: Sequence[str], *, partitions: int) -> list[str]:
    """Give topics more partitions; returns those that had fewer, once a broker shows them.

    Raises SettingsInvalid when one is missing, or has more than that already: partitions
    cannot be taken away.
    """
    async with _admin(address) as admin:
        states = await _states(admin, topics)
        for state in states:
            if not state.partitions:
                raise SettingsInvalid(_missing([state.topic], _most(states)))
            if state.partitions > partitions:
                raise SettingsInvalid(
                    f"{state.topic} has {state.partitions} partitions already, and Kafka takes "
                    f"none away; ask for --partitions {state.partitions} or more"
                )
        short = [state.topic for state in states if state.partitions < partitions]
        if short:
            await admin.create_partitions({topic: NewPartitions(partitions) for topic in short})
            await _seen(admin, short, partitions)
        return short


async def committed(address: Broker, group: str) -> dict[tuple[str, int], int]:
    """How far a group has come, by topic and partition; what it never read is not there."""
    async with _admin(address) as admin:
        offsets = await admin.list_consumer_group_offsets(group)
    return {
        (place.topic, place.partition): found.offset
        for place, found in offsets.items()
        if found.offset >= 0
    }


async def allowed(address: Broker, groups: Sequence[str]) -> None:
    """Raise BrokerUnavailable for a group that we may not see: who joins it waits without a word.

    Whatever else a broker says, it says to who joins as well.
    """
    async with _admin(address) as admin:
        for group in groups:
            try:
                await admin.find_coordinator(group)
            except FORBIDDEN:
                raise
            except KafkaError as error:
                log.debug("group_unfound", group=group, reason=repr(error))


def faults(states: Sequence[TopicState]) -> list[str]:
    """What is wrong with the topics, in sentences that name the command that mends it."""
    found: list[str] = []
    missing, most = [state.topic for state in states if not state.partitions], _most(states)
    if missing:
        found.append(_missing(missing, most))
    short = [state for state in states if 0 < state.partitions < most]
    if short:
        named = ", ".join(f"{state.topic} ({state.partitions})" for state in short)
        found.append(
            f"fewer partitions than the {most} of the others: {named}; run `countermand topics "
            f"grow --partitions {most}`"
        )
    return found


def thin(states: Sequence[TopicState]) -> list[str]:
    """Which topics fewer brokers keep than could, in sentences; processes run with them."""
    few = [state for state in states if 0 < state.replicas < state.possible]
    if not few:
        return []
    named = ", ".join(f"{state.topic} ({state.replicas})" for state in few)
    return [
        f"fewer replicas than the {few[0].possible} that the brokers could keep: {named}; what "
        "only one broker keeps stands still while that one is away. Give them more with Kafka's "
        "own kafka-reassign-partitions"
    ]


async def require(address: Broker, topics: Sequence[str]) -> None:
    """Raise SettingsInvalid, which names what mends it, unless all are as they should be.

    A broker that has just come back answers before it has read which topics there are, and one
    may hear of new partitions later than another: what is wrong is asked again for some seconds.
    What may cost messages some day is logged, and nobody waits for a broker that does not tell it.
    """
    asked = time.monotonic()
    async with _admin(address) as admin:
        while found := faults(states := await _states(admin, topics)):
            if time.monotonic() - asked > RETURN_SECONDS:
                raise SettingsInvalid("; ".join(found))
            await asyncio.sleep(RETURN_PAUSE)
        configs, unseen = await _told(admin, topics)
    if unseen:
        log.warning("topics_unseen", reason=unseen)
    if lost := losing(configs):
        raise SettingsInvalid("; ".join(lost))
    for doubt in doubtful(configs, kept_by(states)):
        log.warning("topics_doubtful", reason=doubt)


async def _told(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> tuple[Configs, str]:
    """How the topics are configured; or nothing, and why the broker does not tell it.

    Not all that speak Kafka's protocol do. Whatever else such an error may mean, whoever goes on
    meets it again.
    """
    try:
        async with asyncio.timeout(CONFIG_SECONDS):
            return await described(admin, topics), ""
    except (KafkaError, TimeoutError) as error:
        return {}, f"the broker does not tell how topics are configured ({type(error).__name__})"


def kept_by(states: Sequence[TopicState]) -> dict[str, int]:
    """How many brokers keep each message of a topic."""
    return {state.topic: state.replicas for state in states}


def _most(states: Sequence[TopicState]) -> int:
    return max((state.partitions for state in states), default=0)


def _missing(topics: Sequence[str], partitions: int) -> str:
    """``partitions`` is what those that are there have: with fewer, the new ones were at fault."""
    named = "topic" if len(topics) == 1 else "topics"
    as_many = f" --partitions {partitions}" if partitions else ""
    return f"{named} missing: {', '.join(topics)}; run `countermand topics create{as_many}`"


def _new(topic: str, partitions: int, replication: int) -> NewTopic:
    safe = {"min.insync.replicas": str(in_sync(replication))}
    configs = {**CONFIGS, **safe, **KEPT.get(topic, {})}
    return NewTopic(topic, partitions, replication, topic_configs=configs)


def _raise(topic: str, code: int, replication: int) -> None:
    if not code:
        return
    kind = for_code(code)
    if kind is TopicAlreadyExistsError:
        # Somebody else was faster.
        return
    if kind is InvalidReplicationFactorError:
        raise SettingsInvalid(
            f"there are fewer than {replication} brokers; ask for --replication 1, or add brokers"
        )
    if issubclass(kind, FORBIDDEN):
        raise kind(topic)
    raise BrokerUnavailable(f"Kafka did not make {topic} ({kind.__name__}); try again")


async def _states(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> list[TopicState]:
    there = set(await admin.list_topics())
    found = await admin.describe_topics([topic for topic in topics if topic in there])
    brokers = (await admin.describe_cluster())["brokers"]
    partitions = {each["topic"]: each["partitions"] for each in found}
    return [
        TopicState(
            topic,
            partitions=len(partitions.get(topic, ())),
            replicas=min((len(each["replicas"]) for each in partitions.get(topic, ())), default=0),
            possible=min(len(brokers), REPLICAS),
        )
        for topic in topics
    ]


async def _seen(admin: AIOKafkaAdminClient, topics: Sequence[str], partitions: int) -> None:
    """Wait until the broker that answers has heard of them: the controller knows them first."""
    while any(state.partitions < partitions for state in await _states(admin, topics)):  # noqa: ASYNC110 - a broker tells nobody
        await asyncio.sleep(SEEN_SECONDS)


@asynccontextmanager
async def _admin(address: Broker) -> AsyncIterator[Any]:
    """A client that has reached a broker; what fails inside for want of one is translated."""
    broker = broker_address.parse(address)
    servers = broker.bootstrap
    admin = AIOKafkaAdminClient(
        bootstrap_servers=servers,
        request_timeout_ms=int(ANSWER_SECONDS * 1000),
        **broker.security,
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await admin.start()
            yield admin
    except TimeoutError:
        raise BrokerUnavailable(
            f"Kafka at {', '.join(servers)} did not answer within {ANSWER_SECONDS:g} s; see "
            "whether it runs"
        ) from None
    except KafkaError as error:
        raise BrokerUnavailable(
            await refusal(broker, error)
            or f"Kafka at {', '.join(servers)} does not answer ({type(error).__name__}); see "
            "whether it runs"
        ) from error
    finally:
        with suppress(Exception):
            close_promptly(admin._client)
            await admin.close()
