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


async def test_little_work_needs_its_command_and_its_work_message(desk: Overheard) -> None:
    job_id = await desk.submit("stock.create", [{"name": "one"}])
    assert (await desk.settle(job_id)).status is JobStatus.COMPLETED
    assert desk.carried() == {topics.COMMANDS: 1, WORK: 1}


@pytest.mark.parametrize("items", [201, 1000])
async def test_more_work_is_hinted_at_and_no_outcome_published(desk: Overheard, items: int) -> None:
    job_id = await desk.submit("stock.create", [{"name": str(n)} for n in range(items)])
    assert (await desk.settle(job_id)).counts.succeeded == items
    had = desk.carried()
    assert had[topics.COMMANDS] > 1
    assert set(had) == {topics.COMMANDS, WORK}


async def test_many_little_jobs_at_once_all_end(desk: Overheard) -> None:
    jobs = [await desk.submit("stock.create", [{"name": f"{n}"}] * 3) for n in range(60)]
    for job_id in jobs:
        assert (await desk.settle(job_id)).counts.succeeded == 3
