"""The pace of an operation is that of the last while, however often one is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api.systems.annotations.operation_documents import snapshots
from api.systems.annotations.pace import Pace
from domain.events import ChunksClosed, JobFinished, JobStatus
from domain.outcomes import Counts

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


def test_a_snapshot_has_the_rate_since_the_one_before_and_that_of_the_run() -> None:
    def settled(seconds: float, items: int) -> ChunksClosed:
        return ChunksClosed(**_told(seconds, items, JobStatus.RUNNING), chunks=())

    ended = JobFinished(**_told(40, 1000, JobStatus.COMPLETED))
    found = snapshots([settled(2, 0), settled(5, 50), settled(12, 500), ended], interval=10)
    names = "processed", "items_per_second", "items_per_second_mean", "elapsed_seconds"
    assert [tuple(shot[name] for name in names) for shot in found] == [
        (0, 0.0, 0.0, 2.0),
        (500, 50.0, 41.67, 12.0),
        (1000, None, 25.0, 40.0),
    ]
    assert [shot["current_step"] for shot in found] == ["processing", "processing", "done"]


def _told(seconds: float, items: int, status: JobStatus) -> dict[str, Any]:
    return {
        "originator_id": "job",
        "originator_version": 1,
        "at": BEGIN + timedelta(seconds=seconds),
        "tenant": "acme",
        "actor": "ada",
        "command_id": "command",
        "status": status,
        "counts": Counts(pending=1000 - items, succeeded=items),
        "started_at": BEGIN,
    }
