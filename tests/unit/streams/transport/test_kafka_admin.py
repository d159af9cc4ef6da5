"""Topics on a broker that has just come back, which answers before it has read which there are."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, TopicAuthorizationFailedError
from structlog.testing import capture_logs

from domain.errors import SettingsInvalid
from streams.topics import DEAD
from streams.transport.kafka import admin
from streams.transport.kafka.configs import LARGEST, doubtful, losing

TOPICS = ("commands", "work")
ADDRESS = "kafka://127.0.0.1:9092"
Known = Mapping[str, int]
"""Topics, with their partitions."""

WHOLE: Known = {"commands": 4, "work": 4}


class Broker:
    """Stands for the client: at each look it knows something else, at last what it knows then."""

    def __init__(self, *looks: Known) -> None:
        self._coming: Iterator[Known] = itertools.chain(looks[:-1], itertools.repeat(looks[-1]))
        self._known: Known = {}
        self.looks = 0
        self.configs: dict[str, list[tuple[str, str]]] = {}

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def list_topics(self) -> list[str]:
        self._known = next(self._coming)
        self.looks += 1
        return list(self._known)

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        return [
            {"topic": topic, "partitions": [{"replicas": [1]}] * self._known[topic]}
            for topic in topics
        ]

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        found = [(0, None, 2, each.name, self.configs.get(each.name, [])) for each in resources]
        return [SimpleNamespace(resources=found)]

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [1]}


async def asked(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "AIOKafkaAdminClient", lambda **_: broker)
    monkeypatch.setattr(admin, "RETURN_PAUSE", 0.01)
    await admin.require(ADDRESS, TOPICS)


@pytest.mark.parametrize(
    "early",
    [{}, {"commands": 4}, {"commands": 8, "work": 4}],
    ids=["none", "one", "grown but for one"],
)
async def test_what_a_broker_does_not_know_yet_is_asked_again(
    early: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(early, early, early, WHOLE)
    await asked(broker, monkeypatch)
    assert broker.looks == 4


async def test_what_is_there_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(WHOLE)
    await asked(broker, monkeypatch)
    assert broker.looks == 1


async def test_what_stays_missing_is_told_in_time_and_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin, "RETURN_SECONDS", 0.2)
    begun = time.monotonic()
    with pytest.raises(SettingsInvalid, match="work; run `countermand topics create --partitions"):
        await asked(Broker({"commands": 4}), monkeypatch)
    assert 0.2 < time.monotonic() - begun < 5.0


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
async def test_no_process_runs_with_a_topic_that_is_compacted(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(WHOLE)
    broker.configs["work"] = [("cleanup.policy", policy)]
    with pytest.raises(SettingsInvalid, match=rf"work \({policy}\).* Set cleanup.policy=delete"):
        await asked(broker, monkeypatch)


async def test_what_may_cost_messages_is_logged_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(WHOLE)
    broker.configs["work"] = [("cleanup.policy", "delete"), ("max.message.bytes", "1000")]
    with capture_logs() as logs:
        await asked(broker, monkeypatch)
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("topics_doubtful", "warning")
    assert f"less than {LARGEST}: work (1000)" in entry["reason"]


@pytest.mark.parametrize(
    ("topic", "config", "value", "said"),
    [
        ("work", "max.message.bytes", str(LARGEST - 1), "work (1099999)"),
        ("work", "min.insync.replicas", "1", "work (1)"),
        (DEAD, "retention.ms", "604800000", "retention.ms=604800000"),
        (DEAD, "retention.bytes", "1000000", "retention.bytes=1000000"),
    ],
)
def test_a_config_that_may_cost_messages_is_named_with_its_remedy(
    topic: str, config: str, value: str, said: str
) -> None:
    configs = {topic: {config: value}}
    (words,) = doubtful(configs, {topic: 3})
    assert said in words
    assert words.endswith("with Kafka's own kafka-configs")
    assert not losing(configs)


def test_what_is_right_or_may_not_be_seen_is_no_matter() -> None:
    right = {"max.message.bytes": str(LARGEST), "min.insync.replicas": "1"}
    assert doubtful({"work": right, DEAD: {}}, {"work": 2, DEAD: 3}) == []
    assert losing({"work": {"cleanup.policy": "delete"}, DEAD: {}}) == []


@pytest.mark.parametrize("replicas", [3, 4, 5])
def test_who_has_done_what_is_said_of_replicas_in_sync_hears_no_more_of_it(replicas: int) -> None:
    kept = {"work": replicas}
    (words,) = doubtful({"work": {"min.insync.replicas": "1"}}, kept)
    ((name, value),) = re.findall(r"Set (\S+)=(\S+)", words)

    assert doubtful({"work": {name: value}}, kept) == []


class Silent(Broker):
    """One that does not tell configs: it refuses, or says nothing for a minute."""

    def __init__(self, refusal: Exception | None) -> None:
        super().__init__(WHOLE)
        self._refusal = refusal

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        if self._refusal is not None:
            raise self._refusal
        await asyncio.sleep(60)
        return await super().describe_configs(resources)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (IncompatibleBrokerVersion("no DescribeConfigs"), "IncompatibleBrokerVersion"),
        (TopicAuthorizationFailedError(), "TopicAuthorizationFailedError"),
        (None, "TimeoutError"),
    ],
)
async def test_a_broker_that_does_not_tell_configs_keeps_nobody_from_starting(
    refusal: Exception | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "CONFIG_SECONDS", 0.05)
    with capture_logs() as logs:
        await asked(Silent(refusal), monkeypatch)

    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("topics_unseen", "warning")
    assert said in entry["reason"]


async def test_nor_from_looking_at_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Silent(IncompatibleBrokerVersion("no DescribeConfigs"))
    monkeypatch.setattr(admin, "AIOKafkaAdminClient", lambda **_: silent)

    found = await admin.configured(ADDRESS, TOPICS)

    assert found == {}
