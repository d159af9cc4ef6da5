"""What a job of a million items takes in memory."""

from __future__ import annotations

import tracemalloc

from domain.job_state import Effect, JobState

CHUNKS = 10_000
MOST = 200_000
"""Bytes: some for each chunk, and no object."""


def test_a_copy_of_a_job_of_many_chunks_is_small() -> None:
    job = JobState(id="large", applied=[Effect(chunk, 100) for chunk in range(CHUNKS)])
    tracemalloc.start()
    try:
        copy = job.as_it_stands()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < MOST
    copy.applied.pop()
    assert len(job.applied) == CHUNKS
