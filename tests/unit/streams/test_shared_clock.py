"""How far two clocks differ, of which the other one is asked over a network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.shared_clock import ClockWatch, seconds_ahead


@pytest.mark.parametrize(
    ("there", "took", "ahead"),
    [
        (100.0, 0.0, 0.0),
        (103.0, 0.0, -3.0),
        (97.0, 0.0, 3.0),
        # It may have been asked at any time of the journey.
        (103.0, 5.0, 0.0),
        (103.0, 2.0, -1.0),
        # None of which is before it began.
        (97.0, 5.0, 3.0),
    ],
)
def test_what_the_journey_may_explain_is_no_difference(
    there: float, took: float, ahead: float
) -> None:
    assert seconds_ahead(100.0, there, took=took) == ahead


class _Standing:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


class _Measured:
    """In the place of a database: what was found, look by look."""

    def __init__(self, *ahead: float) -> None:
        self._ahead = iter(ahead)

    async def read(self, _work: object, **_how: object) -> float:
        return next(self._ahead)


async def test_time_is_set_anew_only_when_it_is_a_quarter_of_a_second_off() -> None:
    found = (0.2, -0.3, -0.5, -0.6, -0.2, 0.0, 7.0)
    database: Any = _Measured(*found)
    watch, own = ClockWatch(database, _Standing()), _Standing().now()
    added: list[float] = []
    for _ in found:
        await watch.look()
        added.append((watch.clock.now() - own) / timedelta(seconds=1))
    assert added == [0.0, 0.3, 0.3, 0.6, 0.0, 0.0, -7.0]
