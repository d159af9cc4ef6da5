"""What workers use is kept as sums over time: additive, whoever they are, and bounded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from streams.gauging import Gauge
from streams.stores import worker_use
from streams.stores.database import Database
from streams.stores.schema_reports import worker_use as table
from streams.stores.worker_use import HOUR, KEPT, STEP, Used, used_between
from streams.stores.workers import WorkerRow

START = 1_800_000_000.0
MIB = 1024 * 1024


def row(at: float, cpu: float, rss: int = 100 * MIB) -> WorkerRow:
    return WorkerRow("one", ("stock",), 1, 17, rss=rss, cpu_seconds=cpu, seen_at=at)


def add(database: Database, used: Sequence[Used], *systems: str) -> None:
    database.write_now(lambda found: worker_use.add(found, systems or ("stock",), used))


def rows(database: Database) -> int:
    return database.read_now(
        lambda found: found.execute(select(func.count()).select_from(table)).scalar_one()
    )


def test_what_was_used_falls_to_the_steps_in_which_it_was() -> None:
    used = list(used_between(row(START + 6, 1.0), row(START + 21, 4.0)))
    steps = [each for each in used if each.width == STEP]
    assert [(each.start - START, each.worker_seconds) for each in steps] == [
        (0, 4),
        (10, 10),
        (20, 1),
    ]
    assert [each.cpu_seconds for each in steps] == pytest.approx([0.8, 2.0, 0.2])
    (hour,) = (each for each in used if each.width == HOUR)
    assert (hour.worker_seconds, hour.cpu_seconds) == pytest.approx((15, 3.0))
    assert hour.memory(15) == hour.memory_peak == 100 * MIB


@pytest.mark.parametrize("later", [0.0, -5.0, worker_use.UNSEEN + 1])
def test_of_a_clock_that_jumps_nothing_is_kept(later: float) -> None:
    assert list(used_between(row(START, 1.0), row(START + later, 2.0))) == []


def test_workers_of_a_system_add_up(database: Database) -> None:
    one = list(used_between(row(START, 0.0), row(START + STEP, 5.0)))
    two = list(used_between(row(START, 0.0, 300 * MIB), row(START + STEP, 1.0, 300 * MIB)))
    add(database, one, "stock", "texts")
    add(database, two, "texts", "stock")
    add(database, two, "text")
    assert rows(database) == 4
    hours = database.read_now(
        lambda found: worker_use.by_hour(found, "texts", int(START), int(START) + HOUR)
    )
    (used,) = hours.values()
    assert used.worker_seconds == 2 * STEP
    assert used.cpu_percent(STEP) == 60.0
    assert (used.memory(STEP), used.memory_peak) == (400 * MIB, 300 * MIB)


def test_a_moment_is_told_by_its_ten_seconds_and_later_by_its_hour(database: Database) -> None:
    for second in range(0, HOUR, STEP):
        busy = 9.0 if second == 20 else 0.0
        before, after = row(START + second, 0.0), row(START + second + STEP, busy)
        add(database, list(used_between(before, after)))

    def at(time: float, now: float) -> float | None:
        found = database.read_now(lambda c: worker_use.at_times(c, "stock", [time], now))
        return found[time].cpu_percent(found[time].width) if time in found else None

    moment = START + 25
    assert at(moment, START + 29) is None, "it is not over"
    assert at(moment, START + 30) == 90.0
    assert at(START + HOUR + 1, START + 3 * HOUR) is None, "nobody was there"

    def clean(now: float) -> int:
        return database.write_now(lambda found: worker_use.remove_old(found, now))

    assert clean(START + HOUR) == 0
    assert clean(START + HOUR + KEPT[STEP]) == HOUR // STEP
    assert at(moment, START + HOUR + KEPT[STEP]) == 0.25
    assert clean(START + KEPT[HOUR] + 1) == 1
    assert rows(database) == 0


class _Clock:
    seconds = START + 6.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


async def test_a_gauge_keeps_what_its_process_used_since(database: Database) -> None:
    clock = _Clock()

    def measure(here: WorkerRow) -> WorkerRow:
        return dataclasses.replace(here, rss=MIB, cpu_seconds=(clock.seconds - START) / 2)

    gauge = Gauge(database, clock, row(0.0, 0.0), measure=measure)
    assert gauge.seconds_left == 4.0
    for clock.seconds in (START + 10, START + 20, START + 20):
        await gauge.keep()
    hours = await database.read(
        lambda found: worker_use.by_hour(found, "stock", int(START), int(START) + HOUR)
    )
    (used,) = hours.values()
    assert (used.worker_seconds, used.cpu_seconds) == pytest.approx((14, 7.0))
