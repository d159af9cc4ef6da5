"""How far two clocks differ, of which the other one is asked over a network."""

from __future__ import annotations

import pytest

from streams.clock_difference import seconds_ahead


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
