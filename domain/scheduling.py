"""Whose chunk goes next. Pure.

Work in flight is limited for each system, so that a small job behind a large one waits
for a few chunks, not for all. Places go to the tenant with the fewest chunks in flight,
then by priority (0 to 10, growing while a job waits), then to the job with the fewest.
A job alone may use every place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DISPATCHES_PER_SLOT = 3
AGEING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that wants chunks; ``since`` is when it last got one, in monotonic seconds."""

    job_id: str
    tenant: str
    priority: int
    since: float


def allot(
    waiting: Iterable[Waiting],
    in_flight: Mapping[str, int],
    tenants: Mapping[str, str],
    *,
    limit: int,
    now: float,
) -> dict[str, int]:
    """How many dispatches each waiting job may make now.

    ``in_flight`` counts dispatches by job, ``tenants`` names the tenant of each.
    """
    jobs = {job.job_id: job for job in waiting}
    by_job = Counter(in_flight)
    by_tenant: Counter[str] = Counter()
    for job_id, count in in_flight.items():
        by_tenant[tenants[job_id]] += count
    granted: Counter[str] = Counter()
    for _ in range(limit - by_job.total()):
        if not jobs:
            break
        chosen = min(jobs.values(), key=lambda job: _rank(job, by_tenant, by_job, now))
        granted[chosen.job_id] += 1
        by_job[chosen.job_id] += 1
        by_tenant[chosen.tenant] += 1
    return dict(granted)


def _rank(
    job: Waiting, by_tenant: Counter[str], by_job: Counter[str], now: float
) -> tuple[float, float, float, float]:
    aged = job.priority + (now - job.since) / AGEING_SECONDS
    return by_tenant[job.tenant], -aged, by_job[job.job_id], job.since
