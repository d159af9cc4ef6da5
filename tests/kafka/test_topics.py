"""The topics verbs, on a broker of their own: what is missing is made, what differs is named."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from domain.errors import SettingsInvalid
from streams.broker_address import parse
from streams.topics import COMMANDS, DEAD
from streams.transport.kafka import admin
from tests.acceptance.commands import asked, refused
from tests.services.kafka import KafkaCluster, running_kafka
from tests.services.switch import need

NOBODY = "kafka://127.0.0.1:1"


@pytest.fixture(scope="module")
def bare() -> Iterator[KafkaCluster]:
    need("kafka")
    with running_kafka() as cluster:
        yield cluster


def topics(cluster: KafkaCluster, verb: str, *options: str) -> tuple[int, Any]:
    ended = asked("topics", verb, *options, "--json", COUNTERMAND_BROKER=cluster.url)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else ended.stderr


def test_from_nothing_to_whole_and_grown(bare: KafkaCluster) -> None:
    code, before = topics(bare, "check")
    assert code == 1
    assert {each["partitions"] for each in before["topics"]} == {0}
    assert "countermand topics create" in before["faults"][0]
    with pytest.raises(SettingsInvalid, match="run `countermand topics create`"):
        asyncio.run(admin.require(bare.url, [COMMANDS]))

    code, refusal = topics(bare, "create", "--replication", "3")
    assert (code, "--replication 1" in refusal) == (2, True)
    code, made = topics(bare, "create", "--partitions", "3")
    assert (code, len(made["created"])) == (0, len(before["topics"]))
    assert topics(bare, "create")[1] == {"created": []}, "what is there stays"
    assert topics(bare, "check") == (
        0,
        {
            "topics": [each | {"partitions": 3, "replicas": 1} for each in before["topics"]],
            "faults": [],
            "notes": [],
        },
    )

    asyncio.run(admin.grow(bare.url, [DEAD], partitions=5))
    with pytest.raises(SettingsInvalid, match="topics grow --partitions 5") as refused:
        asyncio.run(admin.require(bare.url, [COMMANDS, DEAD]))
    assert f"{COMMANDS} (3)" in refused.value.message
    code, grown = topics(bare, "grow", "--partitions", "5")
    assert (code, len(grown["grown"])) == (0, len(before["topics"]) - 1)
    assert topics(bare, "check")[0] == 0
    # Of another system, which an upgrade brings along: uneven, nothing would start any more.
    beside = asyncio.run(admin.create(bare.url, [COMMANDS, "countermand.work.new"]))
    assert beside == ["countermand.work.new"]
    assert {each.partitions for each in asyncio.run(admin.look(bare.url, [DEAD, *beside]))} == {5}
    code, refusal = topics(bare, "grow", "--partitions", "2")
    assert (code, "takes none away" in refusal) == (2, True)


def test_configs_that_lose_messages_are_named_whatever_the_brokers_defaults_are(
    bare: KafkaCluster,
) -> None:
    made = [COMMANDS, DEAD]
    asyncio.run(admin.create(bare.url, made))
    configs = asyncio.run(admin.configured(bare.url, made))
    assert {configs[topic]["cleanup.policy"] for topic in made} == {"delete"}
    assert (configs[DEAD]["retention.ms"], configs[DEAD]["retention.bytes"]) == ("-1", "-1")

    asyncio.run(alter(bare.url, COMMANDS, {"cleanup.policy": "compact"}))
    asyncio.run(alter(bare.url, DEAD, {"retention.bytes": "1000000"}))
    code, found = topics(bare, "check")
    assert code == 1
    assert any(f"{COMMANDS} (compact)" in fault for fault in found["faults"])
    assert any("retention.bytes=1000000" in note for note in found["notes"])
    with pytest.raises(SettingsInvalid, match=r"cleanup\.policy=delete"):
        asyncio.run(admin.require(bare.url, made))


def test_of_three_brokers_all_keep_each_message_unless_asked_otherwise(
    kafka_of_three: KafkaCluster,
) -> None:
    address = kafka_of_three.url
    asyncio.run(admin.create(address, [COMMANDS], partitions=2))
    asyncio.run(admin.create(address, [DEAD], partitions=2, replication=1))

    until = time.monotonic() + 10.0
    while True:
        # Whichever of the three answers may hear of a topic a moment later than another.
        safe, unsafe = states = asyncio.run(admin.look(address, [COMMANDS, DEAD]))
        if safe.partitions and unsafe.partitions:
            break
        assert time.monotonic() < until, states
        time.sleep(0.05)

    assert (safe.replicas, safe.possible) == (3, 3)
    assert asyncio.run(_in_sync(address, COMMANDS)) == "2"
    assert (unsafe.replicas, asyncio.run(_in_sync(address, DEAD))) == (1, "1")
    (said,) = admin.thin(states)
    assert f"the brokers could keep: {DEAD} (1);" in said
    asyncio.run(admin.require(address, [COMMANDS, DEAD]))


def test_a_broker_that_is_away_is_named_and_is_no_traceback() -> None:
    ended = asked("topics", "check", "--broker", NOBODY)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("countermand: Kafka at 127.0.0.1:1 does not answer")


def test_the_embedded_broker_has_no_topics_to_look_after() -> None:
    ended = asked("topics", "check")
    assert (ended.returncode, "COUNTERMAND_BROKER" in ended.stderr) == (2, True)


@pytest.mark.parametrize("verb", [("topics", "check"), ("worker",), ("coordinator",), ("api",)])
def test_a_file_of_the_broker_that_is_missing_is_named_by_who_speaks_to_it(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    ended = asked(*verb, **_unmounted(tmp_path))

    assert refused(ended).startswith("countermand: COUNTERMAND_BROKER_CA: the file cannot be read")


def test_a_file_of_the_broker_that_is_missing_is_no_matter_to_the_database(tmp_path: Path) -> None:
    made = asked("db", "upgrade", "--data-dir", str(tmp_path), **_unmounted(tmp_path))

    assert made.returncode == 0, made.stderr


def _unmounted(folder: Path) -> dict[str, str]:
    """A configuration that several share, of which the files are elsewhere."""
    return {
        "COUNTERMAND_BROKER": "kafka+ssl://one:9092",
        "COUNTERMAND_BROKER_CA": str(folder / "ca.pem"),
    }


async def _in_sync(address: str, topic: str) -> str:
    """How many replicas must have a message before it counts as sent."""
    client = AIOKafkaAdminClient(bootstrap_servers=parse(address).bootstrap)
    await client.start()
    try:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await client.close()
    (described,) = answer.resources
    return next(str(each[1]) for each in described[4] if each[0] == "min.insync.replicas")


async def alter(address: str, topic: str, configs: dict[str, str]) -> None:
    """Give a topic other configs; those that are not named are the broker's defaults then."""
    client = AIOKafkaAdminClient(bootstrap_servers=parse(address).bootstrap)
    await client.start()
    try:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await client.close()
