"""The load of workers is what they have used since they last spoke, not since they began."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.stores.workers import WorkerRow
from streams.systems.annotations.load import Figures, Load


class _Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def worker(
    name: str, *, cpu: float, at: float, systems: tuple[str, ...] = ("annotations",)
) -> WorkerRow:
    return WorkerRow(
        name=name,
        systems=systems,
        slots=1,
        process=1,
        rss=1000,
        cpu_seconds=cpu,
        started_at=100.0,
        seen_at=at,
    )


def test_at_first_it_is_that_since_the_start_and_then_that_of_the_last_while() -> None:
    load = Load(_Clock())
    assert load.look([worker("a", cpu=1.0, at=110.0)]) == Figures(1, 10.0, 1000)
    assert load.look([worker("a", cpu=2.0, at=112.0)]) == Figures(1, 50.0, 1000)
    # It has said nothing since: what it said is still the latest.
    assert load.look([worker("a", cpu=2.0, at=112.0)]) == Figures(1, 50.0, 1000)


def test_workers_add_up_and_those_of_other_systems_do_not_count() -> None:
    found = Load(_Clock()).look(
        [
            worker("a", cpu=1.0, at=110.0),
            worker("b", cpu=5.0, at=110.0),
            worker("c", cpu=9.0, at=110.0, systems=("shop",)),
        ]
    )
    assert found == Figures(2, 60.0, 2000)


def test_one_that_has_just_begun_uses_nothing_yet() -> None:
    assert Load(_Clock()).look([worker("a", cpu=0.5, at=100.0)]) == Figures(1, 0.0, 1000)
    assert Load(_Clock()).look([]) == Figures(0, 0.0, 0)


async def test_workers_are_asked_for_once_a_second_however_many_want_to_know() -> None:
    clock, asked = _Clock(), [0]

    async def workers() -> list[WorkerRow]:
        asked[0] += 1
        return [worker("a", cpu=1.0, at=110.0)]

    load = Load(clock)
    for clock.seconds, times in ((0.0, 1), (0.9, 1), (1.0, 2)):
        assert await load.lately(workers) == Figures(1, 10.0, 1000)
        assert asked == [times]
