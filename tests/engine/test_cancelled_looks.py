"""A step that is cancelled in the midst of its transaction: that goes on, and all of it holds."""

from __future__ import annotations

import asyncio
import threading

import pytest

from domain.events import JobStatus
from domain.registry import Registry
from streams import topics
from streams.failpoints import Failpoint, Failpoints
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

SECONDS = 20.0


class Halting(Failpoints):
    """Halts once at a place, in the thread of the transaction, until it may go on."""

    def __init__(self, place: Failpoint) -> None:
        super().__init__()
        self._place = place
        self._loop = asyncio.get_running_loop()
        self.is_armed = False
        self.halted = asyncio.Event()
        self.may_go_on = threading.Event()

    def reach(self, place: Failpoint) -> None:
        if place is self._place and self.is_armed:
            self.is_armed = False
            self._loop.call_soon_threadsafe(self.halted.set)
            assert self.may_go_on.wait(timeout=SECONDS)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "among several"])
async def test_the_last_look_leaves_no_places_behind(database: Database, *, shared: bool) -> None:
    """As a process does that is told to end while it records the last chunk of a job."""
    migrate.create_missing(database, [stock])
    halting = Halting(Failpoint.AFTER_APPEND)
    stages = Stages(database, Registry(operations), failpoints=halting, shared=shared)
    job_id = await stages.submit("stock.create", [{"name": "one"}])
    for work in [one for one in stages.bus if one.topic != topics.COMMANDS]:
        await stages.deliver(work)
    halting.is_armed = True
    look = asyncio.create_task(stages.coordinator.look(job_id))
    await asyncio.wait_for(halting.halted.wait(), SECONDS)
    look.cancel()
    await asyncio.sleep(0)
    halting.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await look
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT job_id, most, in_flight FROM grants") == []
    assert not stages.coordinator.drives(job_id)
