"""Letters are listed again and again, and stay for ever: each is read once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped] # ships none

from domain.errors import BrokerUnavailable
from streams import kafka_messaging, redriving, topics
from streams.deadletters import Burial
from streams.envelope import Headers
from streams.kafka_messaging import InKafka
from streams.redriving import Lister

BROKER = "kafka://nobody:9092"


@dataclass
class Record:
    offset: int
    headers: Headers
    timestamp: int
    key: bytes = b"job"
    value: bytes = b"{}"


@dataclass
class Topic:
    """The dead-letter topic; ``read`` counts what was handed over, ``away`` is after so many."""

    partitions: list[list[Record]] = field(default_factory=lambda: [[], []])
    first: int = 0
    read: int = 0
    away: int | None = None
    buried: int = 0

    def bury(self, code: str, letters: int = 1) -> None:
        """So many more on each partition."""
        for number, records in enumerate(self.partitions):
            for _ in range(letters):
                offset = len(records)
                burial = Burial(
                    topic=topics.COMMANDS,
                    partition=number,
                    offset=offset,
                    size=2,
                    code=code,
                    reason="",
                )
                self.buried += 1
                records.append(Record(offset, burial.headers(), self.buried))

    # -- as much of a consumer as is used -----------------------------------------------

    def assign(self, places: list[Any]) -> None:
        self._at = dict.fromkeys(places, 0)

    def seek(self, place: Any, offset: int) -> None:
        self._at[place] = offset

    async def position(self, place: Any) -> int:
        return self._at[place]

    async def beginning_offsets(self, places: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, self.first)

    async def end_offsets(self, places: list[Any]) -> dict[Any, int]:
        return {place: len(self.partitions[place.partition]) for place in places}

    def _records(self, place: Any) -> list[Record]:
        return self.partitions[place.partition]

    async def offsets_for_times(self, wanted: dict[Any, int]) -> dict[Any, Record | None]:
        return {
            place: next(
                (one for one in self.partitions[place.partition] if one.timestamp >= at), None
            )
            for place, at in wanted.items()
        }

    async def getmany(
        self, *places: Any, timeout_ms: int, max_records: int
    ) -> dict[Any, list[Record]]:
        del timeout_ms
        if self.away is not None and self.read >= self.away:
            raise KafkaConnectionError("away")
        place = places[0]
        at = self._at[place]
        found = self.partitions[place.partition][at : at + max_records]
        self._at[place] += len(found)
        self.read += len(found)
        return {place: found}


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    found = Topic()

    @asynccontextmanager
    async def consumer(*_: object) -> AsyncIterator[Topic]:
        yield found

    async def partitions(*_: object) -> dict[str, int]:
        return {topics.DEAD: len(found.partitions)}

    async def refusal(*_: object) -> None:
        return None

    monkeypatch.setattr(redriving, "_consumer", consumer)
    monkeypatch.setattr(redriving, "_partitions", partitions)
    monkeypatch.setattr(redriving, "refusal", refusal)
    return found


async def counted(lister: Lister) -> dict[str, int]:
    return {group.code: group.letters for group in (await lister.list_all()).groups}


async def test_a_page_that_is_looked_at_again_reads_what_is_new_alone(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_messaging, "REMEMBERED", -1.0)
    messaging = InKafka(BROKER, ["shop"])
    topic.bury("internal", 5_000)
    first = await messaging.letters()
    assert [(group.code, group.letters) for group in first.groups] == [("internal", 10_000)]
    topic.read = 0
    assert await messaging.letters() == first
    assert topic.read == 0
    topic.bury("internal", 2)
    topic.bury("unreadable", 1)
    second = await messaging.letters()
    assert [(group.code, group.letters) for group in second.groups] == [
        ("internal", 10_004),
        ("unreadable", 2),
    ]
    assert topic.read == 6
    assert first.groups[0].letters == 10_000, "what was told is not changed under its reader"


async def test_a_broker_that_goes_away_amid_a_list_has_none_counted_twice(topic: Topic) -> None:
    lister = Lister(BROKER)
    topic.bury("internal", 100)
    topic.away = 120
    with pytest.raises(BrokerUnavailable):
        await lister.list_all()
    topic.away = None
    assert await counted(lister) == {"internal": 200}
    assert topic.read == 200


CHANGES = ["made anew", "made anew with as many", "made anew with fewer partitions", "cut"]


@pytest.mark.parametrize("change", CHANGES)
async def test_where_letters_are_gone_all_are_counted_anew(topic: Topic, change: str) -> None:
    lister = Lister(BROKER)
    topic.bury("internal", 10)
    assert await counted(lister) == {"internal": 20}
    match change:
        case "cut":
            topic.first = 4
            assert await counted(lister) == {"internal": 12}
        case "made anew":
            topic.partitions = [[], []]
            topic.bury("unreadable")
            assert await counted(lister) == {"unreadable": 2}
        case "made anew with as many":
            topic.partitions = [[], []]
            topic.bury("unreadable", 11)
            assert await counted(lister) == {"unreadable": 22}
        case _:
            topic.partitions = [[]]
            topic.bury("unreadable", 30)
            assert await counted(lister) == {"unreadable": 30}


async def test_a_partition_that_is_new_is_read_as_well(topic: Topic) -> None:
    lister = Lister(BROKER)
    topic.bury("internal", 10)
    assert await counted(lister) == {"internal": 20}
    topic.partitions.append([])
    topic.bury("internal", 1)
    assert await counted(lister) == {"internal": 23}
    assert topic.read == 23
