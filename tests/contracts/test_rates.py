"""Rates: counted by one process or by several together, each caller by themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from limits.aio.storage import MemoryStorage
from sqlalchemy import func, select

from streams.clock import SystemClock
from streams.rates import Rate, Taken
from streams.stores import rates
from streams.stores.database import Database
from streams.stores.rates import SharedWindows
from streams.stores.schema_callers import rate_windows

START = 1_800_000_000.0


class Watch:
    def __init__(self) -> None:
        self.seconds = START

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


def shared(database: Database, watch: Watch, text: str = "3/minute") -> Rate:
    """As another process would make it."""
    return Rate.of(text, watch, SharedWindows(database, watch))


async def allowed(rate: Rate, *whose: str, times: int = 1) -> list[bool]:
    return [(await rate.take(*whose)).allowed for _ in range(times)]


async def test_a_window_holds_so_many_and_the_next_one_again(
    database: Database, watch: Watch
) -> None:
    rate = shared(database, watch)
    assert await rate.take("acme", "ada") == Taken(True, 3, 60, remaining=2, reset=60)
    watch.seconds += 20
    assert await allowed(rate, "acme", "ada", times=3) == [True, True, False]
    assert await rate.take("acme", "ada") == Taken(False, 3, 60, remaining=0, reset=40)
    watch.seconds += 40
    assert await rate.take("acme", "ada") == Taken(True, 3, 60, remaining=2, reset=60)


async def test_each_has_their_own(database: Database, watch: Watch) -> None:
    rate = shared(database, watch, "1/minute")
    for whose in (("acme", "ada"), ("acme", "bob"), ("other", "ada"), ("x" * 500, "ä" * 500)):
        assert await allowed(rate, *whose, times=2) == [True, False]


async def test_processes_count_together(database: Database, watch: Watch) -> None:
    one, two = shared(database, watch), shared(database, watch)
    assert [await allowed(rate, "ada") for rate in (one, two, one, two)] == [
        [True],
        [True],
        [True],
        [False],
    ]
    assert await allowed(one, "ada") == [False]


async def test_who_has_not_counted_can_look(database: Database, watch: Watch) -> None:
    writer, reader = SharedWindows(database, watch), SharedWindows(database, watch)
    await writer.incr("k", 60, 5)
    assert (await reader.get("k"), await reader.get_expiry("k")) == (5, START + 60)
    assert await reader.check()
    await writer.clear("k")
    assert await reader.get("k") == 0
    await writer.incr("k", 60)
    await reader.reset()
    assert await reader.get("k") == 0


async def test_windows_that_are_over_are_forgotten(database: Database, watch: Watch) -> None:
    rate = shared(database, watch)
    await allowed(rate, "ada")
    watch.seconds += 30
    await allowed(rate, "bob")
    watch.seconds += 40
    removed = await database.write(lambda found: rates.remove_over(found, watch.seconds))
    left = await database.read(
        lambda found: found.scalar(select(func.count()).select_from(rate_windows))
    )
    assert (removed, left) == (1, 1)


async def test_a_process_that_answers_alone_counts_in_memory() -> None:
    rate = Rate.of("2/hour", SystemClock(), MemoryStorage())
    assert await allowed(rate, "ada", times=3) == [True, True, False]
    assert await allowed(rate, "bob") == [True]
    left = await rate.take("ada")
    assert (left.limit, left.window, left.remaining) == (2, 3600, 0)
    assert 3590 <= left.reset <= 3600
