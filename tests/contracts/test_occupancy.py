"""Occupancy: one `serve` has a PostgreSQL database, and nobody waits long for the dead."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from domain.errors import DataDirectoryUnusable, StoreUnavailable
from streams.loops import background
from streams.stores import workers
from streams.stores.database import Database
from streams.stores.occupancy import LOOK_SECONDS, Occupancy, unserved
from streams.stores.ownership import LeasedOwner
from streams.stores.workers import ALIVE_SECONDS, WorkerRow
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service("postgresql")

PATIENCE = 20.0
LONG = 600.0
OFTEN = 0.05
SOON = 2.0
"""Seconds in which who need not wait has begun, on a machine that has more to do."""
WORKER = WorkerRow(name="worker-1", systems=("stock",), slots=1, process=17)


@pytest.fixture
def stored(migrated_postgres: str) -> Iterator[Database]:
    with Database(migrated_postgres) as database:
        yield database


@contextlib.asynccontextmanager
async def serving(occupancy: Occupancy) -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE):
        await occupancy.take()
    async with occupancy.kept():
        yield


async def took(occupancy: Occupancy) -> float:
    """How long it waited for the database."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        await occupancy.take()
    return time.monotonic() - began


async def refused(occupancy: Occupancy) -> str:
    with pytest.raises(DataDirectoryUnusable) as caught:
        await took(occupancy)
    return caught.value.message


def free(database: Database) -> bool:
    """Whether nobody holds anything."""
    return not database.read_now(
        lambda found: found.scalar(
            text("SELECT count(*) FROM owners WHERE lease_until > extract(epoch FROM now())")
        )
    )


def holder(database: Database) -> str:
    """Who serves, or did so last."""
    return str(
        database.read_now(
            lambda found: found.scalar(text("SELECT holder FROM owners WHERE name = 'serve'"))
        )
    )


def set_the_clock_back(database: Database) -> None:
    """What was said is an hour ahead of the database's clock."""

    def say(found: Connection) -> None:
        found.execute(text("UPDATE owners SET lease_until = lease_until + 3600"))
        found.execute(text("UPDATE workers SET seen_at = seen_at + 3600"))

    database.write_now(say)


@contextlib.asynccontextmanager
async def working(database: Database) -> AsyncIterator[None]:
    """A worker lives meanwhile."""

    async def beat() -> None:
        while True:
            await database.write(lambda found: workers.beat(found, WORKER, time.time()))
            await asyncio.sleep(OFTEN)

    async with background([beat()]):
        yield


@contextlib.asynccontextmanager
async def coordinating(database: Database) -> AsyncIterator[None]:
    """A coordinator lives meanwhile."""

    async def work() -> None:
        owning.set()
        await asyncio.Event().wait()

    owning = asyncio.Event()
    owner = LeasedOwner(database, "coordinator-1-coordinator", renew=OFTEN)
    async with background([owner.own("outbox", work)]):
        await owning.wait()
        yield


async def test_while_one_serves_another_is_refused(stored: Database) -> None:
    async with serving(Occupancy(stored, "first", lease=LONG, renew=OFTEN)):
        said = await refused(Occupancy(stored, "second"))
    assert said.startswith("the database is in use by another `countermand serve` (first); stop ")
    assert "--database" in said
    assert free(stored), "who ends in peace leaves it"
    assert await took(Occupancy(stored, "second")) < SOON


async def test_one_that_was_killed_is_waited_for_as_long_as_its_lease(stored: Database) -> None:
    await took(Occupancy(stored, "killed", lease=1.0))
    assert await took(Occupancy(stored, "next")) > 1.0 - 2 * LOOK_SECONDS


async def test_its_own_next_life_does_not_wait(stored: Database) -> None:
    await took(Occupancy(stored, "this", lease=LONG))
    assert await took(Occupancy(stored, "this", lease=LONG)) < SOON


async def test_a_next_life_under_a_name_of_its_own_does_not_wait_either(stored: Database) -> None:
    await took(Occupancy(stored, "killed", lease=LONG))
    assert await took(Occupancy(stored, "next", before="killed", lease=LONG)) < SOON
    assert holder(stored) == "next"


async def test_a_life_that_was_not_the_last_to_hold_it_waits_as_others_do(stored: Database) -> None:
    async with serving(Occupancy(stored, "other", lease=LONG, renew=OFTEN)):
        assert "(other)" in await refused(Occupancy(stored, "next", before="long gone"))


async def test_of_a_machine_and_its_clone_the_one_that_began_first_ends(stored: Database) -> None:
    async def be_cloned() -> None:
        # Of one lease, as all are: by a shorter one the other's would be of a clock set back.
        original = Occupancy(stored, "original", before="last", lease=LONG, renew=OFTEN)
        async with serving(original):
            clone = Occupancy(stored, "clone", before="original", lease=LONG)
            assert await took(clone) < SOON
            await asyncio.sleep(PATIENCE)

    with pytest.raises(DataDirectoryUnusable, match=r"was taken by another .* \(clone\)"):
        await be_cloned()
    assert not free(stored), "the clone still has it"


async def test_of_two_that_begin_at_once_one_is_refused(stored: Database) -> None:
    both = [Occupancy(stored, name, lease=LONG, renew=OFTEN) for name in ("one", "other")]
    ended = asyncio.Event()

    async def serve(occupancy: Occupancy) -> None:
        try:
            async with serving(occupancy):
                await ended.wait()
        finally:
            ended.set()

    results = await asyncio.gather(*map(serve, both), return_exceptions=True)
    (ended_with,) = [result for result in results if result is not None]
    assert isinstance(ended_with, DataDirectoryUnusable)


async def test_a_worker_that_lives_is_in_the_way(stored: Database) -> None:
    async with working(stored):
        await asyncio.sleep(2 * OFTEN)
        said = await refused(Occupancy(stored, "this"))
    assert said.startswith("the database is in use by a scaled installation (worker-1); stop ")


async def test_a_worker_that_died_is_so_until_it_counts_as_dead(stored: Database) -> None:
    seen = time.time() - ALIVE_SECONDS + 1.0
    await stored.write(lambda found: workers.beat(found, WORKER, seen))
    assert 0.3 < await took(Occupancy(stored, "this")) < ALIVE_SECONDS


async def test_a_coordinator_that_lives_is_in_the_way(stored: Database) -> None:
    async with coordinating(stored):
        said = await refused(Occupancy(stored, "this"))
    assert "a scaled installation (coordinator-1-coordinator)" in said
    assert await took(Occupancy(stored, "this")) < SOON


async def test_one_whose_database_was_away_goes_on_and_is_still_in_the_way(
    stored: Database, postgres_process: PostgresServer
) -> None:
    name = stored.url.database
    async with serving(Occupancy(stored, "first", lease=0.5, renew=OFTEN)):
        with postgres_process.connect() as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            await asyncio.sleep(1.0)
            with pytest.raises(StoreUnavailable):
                await took(Occupancy(stored, "second"))
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        async with asyncio.timeout(PATIENCE):
            while free(stored):  # noqa: ASYNC110 - it only looks
                await asyncio.sleep(OFTEN)
        assert "(first)" in await refused(Occupancy(stored, "second"))


async def test_one_that_stood_still_until_another_began_ends(stored: Database) -> None:
    async def stand_still() -> None:
        async with serving(Occupancy(stored, "stopped", lease=0.2, renew=1.0)):
            await took(Occupancy(stored, "other", lease=LONG))
            await asyncio.sleep(PATIENCE)

    with pytest.raises(DataDirectoryUnusable, match=r"was taken by another .* \(other\)"):
        await stand_still()
    assert not free(stored), "the other one still has it"


async def test_one_that_stood_still_ends_although_the_other_has_ended_by_then(
    stored: Database,
) -> None:
    async def stand_still() -> None:
        async with serving(Occupancy(stored, "stopped", lease=0.2, renew=1.5)):
            async with serving(Occupancy(stored, "other")):
                pass
            await asyncio.sleep(PATIENCE)

    with pytest.raises(DataDirectoryUnusable, match=r"was taken by another .* \(other\)"):
        await stand_still()


@pytest.mark.parametrize(
    ("beside", "named"), [(working, "worker-1"), (coordinating, "coordinator-1-coordinator")]
)
async def test_it_ends_where_a_scaled_installation_begins_beside_it(
    stored: Database,
    beside: Callable[[Database], contextlib.AbstractAsyncContextManager[None]],
    named: str,
) -> None:
    async def serve() -> None:
        async with serving(Occupancy(stored, "this", renew=4 * OFTEN)), beside(stored):
            await asyncio.sleep(PATIENCE)

    with pytest.raises(DataDirectoryUnusable, match=rf"a scaled installation \({named}\)"):
        await serve()


async def test_the_dead_do_not_live_on_while_the_clock_of_the_database_is_set_back(
    stored: Database,
) -> None:
    await took(Occupancy(stored, "killed"))
    await stored.write(lambda found: workers.beat(found, WORKER, time.time()))
    set_the_clock_back(stored)
    this = Occupancy(stored, "this", lease=1.0, renew=OFTEN)
    assert ALIVE_SECONDS - OFTEN < await took(this) < ALIVE_SECONDS + SOON
    async with this.kept():
        await asyncio.sleep(10 * OFTEN)
    assert holder(stored) == "this"


async def test_who_waits_says_for_whom(stored: Database) -> None:
    told: list[str] = []

    async def waits(reason: str) -> None:
        told.append(reason)

    await took(Occupancy(stored, "killed", lease=1.0))
    await Occupancy(stored, "next", renew=OFTEN).take(waits)
    assert set(told) == {"`countermand serve` (killed) had the database a moment ago"}


async def test_nobody_joins_over_kafka_where_one_serves(stored: Database) -> None:
    async with serving(Occupancy(stored, "this", renew=OFTEN)):
        with pytest.raises(DataDirectoryUnusable, match=r"in use by `countermand serve` \(this\)"):
            await unserved(stored, unheard)
    began = time.monotonic()
    async with working(stored):
        await unserved(stored, unheard)
    assert time.monotonic() - began < SOON, "whoever works over Kafka has it together"


async def test_who_joins_over_kafka_waits_for_one_that_was_killed(stored: Database) -> None:
    await took(Occupancy(stored, "killed", lease=1.0))
    began = time.monotonic()
    await unserved(stored, unheard)
    assert time.monotonic() - began > 1.0 - 2 * LOOK_SECONDS


async def test_where_there_is_no_table_yet_nobody_serves(postgres_database: str) -> None:
    with Database(postgres_database) as empty:
        await unserved(empty, unheard)


async def unheard(_reason: str) -> None: ...
