"""What a job was at any version is what its stored events say, folded by somebody else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sqlalchemy import select

from domain.job import Job
from streams.stores.database import Database
from streams.stores.failures import failed_items
from streams.stores.schema import events
from tests.audit import comparing
from tests.audit.independent_fold import Raw, fold
from tests.audit.trail import Trail
from tests.proof.figures import tell
from tests.stored_events import stamp

SEED = 20260105


def _stored(trail: Trail, job_id: str) -> list[Raw]:
    order = (
        select(events.c.alias, events.c.state)
        .where(events.c.job_id == job_id)
        .order_by(events.c.version)
    )
    return [
        (row.alias, row.state)
        for row in trail.database.read_now(lambda connection: connection.execute(order).all())
    ]


def _same(trail: Trail, job_id: str, versions: list[int]) -> None:
    stored = _stored(trail, job_id)
    for version in versions:
        found = comparing.of_job(trail.jobs.load(job_id, version=version))
        expected = comparing.of_fold(fold(stored[:version]))
        assert found == expected, f"{job_id} at version {version} (seed {SEED})"
    tell("versions that equal an independent fold", len(versions), job=job_id, seed=SEED)


def _eventful(trail: Trail, chunks: int) -> Job:
    """A job that was revoked, paused, resumed, retried, undone, and undone again."""
    job = trail.submit("eventful", chunks * 10)
    trail.work(job, wrong=3, chunks=chunks // 3)
    trail.revoke(job)
    job.pause(stamp("pause", seconds=3), "lunch")
    job.resume(stamp("resume", seconds=4), "")
    trail.save(job)
    trail.jobs.take_job_snapshot(job)
    trail.work(job, wrong=1)
    failed = trail.database.read_now(lambda connection: failed_items(connection, job.id))
    job.retry(stamp("retry", seconds=5), failed, "again")
    trail.work(job)
    trail.jobs.take_job_snapshot(job)
    for _ in range(2):
        job.undo(stamp("undo", seconds=6), "a mistake")
        trail.work(job, wrong=1)
    return job


def test_every_version_of_an_eventful_job(database: Database, tmp_path: Path) -> None:
    trail = Trail(database, tmp_path)
    job = _eventful(trail, 9)
    assert {"rolled_back", "completed"} <= {
        trail.jobs.load(job.id, version=version).status.value
        for version in range(1, job.version + 1)
    }
    _same(trail, job.id, list(range(1, job.version + 1)))


def test_every_version_of_a_draft_that_was_cancelled(
    sqlite_database: Database, tmp_path: Path
) -> None:
    trail = Trail(sqlite_database, tmp_path)
    job = trail.draft("draft", 10, 15, 20)
    trail.work(job, chunks=2)
    job.cancel(stamp("cancel", seconds=7), "enough")
    trail.save(job)
    _same(trail, job.id, list(range(1, job.version + 1)))


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_200_random_versions_of_a_job_of_1000_chunks(
    sqlite_database: Database, tmp_path: Path
) -> None:
    trail = Trail(sqlite_database, tmp_path)
    job = _eventful(trail, 1000)
    assert job.next_chunk > 1000
    chance = random.Random(SEED)
    _same(trail, job.id, sorted(chance.sample(range(1, job.version + 1), 200)))
