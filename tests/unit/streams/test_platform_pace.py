"""The pace of an operation is that of the last while, however often one is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.systems.annotations.pace import Pace
from domain.events import JobStatus

BEGIN = datetime(2026, 11, 25, tzinfo=UTC)


def test_it_is_measured_over_a_second_at_least_and_from_the_start() -> None:
    pace = Pace(None, BEGIN, 0, None)

    def told(status: JobStatus, seconds: float, processed: int) -> tuple[float | None, ...]:
        found = pace.told(status, BEGIN + timedelta(seconds=seconds), processed)
        return found["items_per_second"], found["elapsed_seconds"]

    assert told(JobStatus.PENDING, 0.1, 0) == (None, None)
    assert told(JobStatus.RUNNING, 0.2, 0) == (None, 0.0)
    assert told(JobStatus.RUNNING, 0.9, 500) == (None, 0.7)
    assert told(JobStatus.RUNNING, 2.0, 1000) == (500.0, 1.8)
    assert told(JobStatus.RUNNING, 2.5, 9000) == (500.0, 2.3)
    assert told(JobStatus.RUNNING, 4.0, 1200) == (100.0, 3.8)
    assert told(JobStatus.RUNNING, 6.0, 200) == (0.0, 5.8), "what is put back is no work"
    assert told(JobStatus.COMPLETED, 6.5, 1200) == (None, 6.3)
