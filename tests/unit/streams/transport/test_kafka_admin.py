"""Topics on a broker that has just come back, which answers before it has read which there are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from domain.errors import SettingsInvalid
from streams.transport.kafka import admin

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
