"""Comparing: what the aggregate and the independent fold must say alike of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain.job import Job
from tests.audit.independent_fold import Folded


@dataclass(frozen=True, slots=True)
class Essence:
    """A job; ``open`` has the spans of items by chunk, ``waiting`` positions of items."""

    status: str
    counts: dict[str, int]
    open: dict[int, Any]
    waiting: set[int]
    sealed: bool
    epoch: int
    generation: int


def of_job(job: Job) -> Essence:
    """As the aggregate has it."""
    return Essence(
        status=job.status.value,
        counts=job.counts.model_dump(),
        open={number: chunk.items.to_json() for number, chunk in job.open.items()},
        waiting={p for entry in job.backlog if not entry.cause.undoing for p in entry.items},
        sealed=job.sealed,
        epoch=job.epoch,
        generation=job.generation,
    )


def of_fold(job: Folded) -> Essence:
    """As the fold of raw events has it."""
    return Essence(
        status=job.status,
        counts=job.counts,
        open={number: chunk["items"] for number, chunk in job.open.items()},
        waiting=job.waiting,
        sealed=job.sealed,
        epoch=job.epoch,
        generation=job.generation,
    )
