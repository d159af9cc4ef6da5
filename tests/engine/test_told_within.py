"""What an embedded engine tells itself directly goes through no topic."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from domain.events import JobStatus
from domain.registry import Registry
from streams import topics
from streams.bootstrap import Engine, embedded
from streams.settings import Settings
from streams.topology import all_topics
from streams.transport.memory import MemoryBroker
from tests.engine.conftest import Desk
from tests.engine.stock import operations

WORK = topics.work("stock")


class Overheard(Desk):
    """A desk that knows how many messages each topic has had."""

    def __init__(self, engine: Engine, broker: MemoryBroker) -> None:
        super().__init__(engine)
        self.broker = broker

    def carried(self) -> Counter[str]:
        return +Counter(
            {
                topic: sum(log.highwater for log in self.broker.partitions(topic))
                for topic in all_topics(["stock"])
            }
        )


@pytest.fixture
async def desk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Overheard]:
    broker = MemoryBroker()
    module = importlib.import_module("streams.bootstrap.embedded")
    monkeypatch.setattr(module, "MemoryBroker", lambda: broker)
    async with embedded(settings, Registry(operations)) as engine:
        yield Overheard(engine, broker)


@pytest.mark.parametrize("items", [1, 300])
async def test_nobody_is_told_of_what_nobody_reads(desk: Overheard, items: int) -> None:
    """Neither events nor answers nor completions: the process has shown all of it itself."""
    job_id = await desk.submit("stock.create", [{"name": str(n)} for n in range(items)])
    assert (await desk.settle(job_id)).counts.succeeded == items
    assert set(desk.carried()) == {topics.COMMANDS, WORK}


async def test_a_job_of_one_item_is_its_command_and_its_work(desk: Overheard) -> None:
    """PostgreSQL has several writers, beside whom one coordinator keeps to its own agent."""
    job_id = await desk.submit("stock.create", [{"name": "one"}])
    assert (await desk.settle(job_id)).status is JobStatus.COMPLETED
    hints = 0 if desk.engine.database.is_sqlite else 1
    assert desk.carried() == {topics.COMMANDS: 1 + hints, WORK: 1}
