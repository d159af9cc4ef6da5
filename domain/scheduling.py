"""Whose chunk goes next. Pure.

Work in flight is limited for each system, so that a small job behind a large one waits
for a few chunks, not for all. Places go to the tenant with the fewest dispatches in flight
for its weight, then by priority (0 to 10, growing while a job waits), then to the job with
the fewest. A job that alone wants places, or wants more when the others have all that they
want, leaves some of them to whoever comes, and where somebody has come of late, all but one a
slot: what is in flight already goes first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

DISPATCHES_PER_SLOT = 3
KEPT_PER_SLOT = 1
KEPT_IN_COMPANY = 2
COMPANY_SECONDS = 10.0
"""How long after another job a job that is alone again expects the next."""
AGEING_SECONDS = 10.0


EQUAL: Mapping[str, float] = MappingProxyType({})
"""Weights of tenants of whom none is preferred."""


class Company:
    """Which systems more than one job has wanted places of lately; seconds of one clock."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def kept(self, system: str, jobs: int, *, slots: int, now: float) -> int:
        """The places that a job leaves free now, where so many have or want some."""
        if jobs > 1:
            self._seen[system] = now
        lately = now - self._seen.get(system, -math.inf) < COMPANY_SECONDS
        return slots * (KEPT_IN_COMPANY if lately else KEPT_PER_SLOT)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that wants chunks; ``since`` is when it last got one, or began to want.

    ``most`` is how many dispatches it could make now, if that is known.
    """

    job_id: str
    tenant: str
    priority: int
    since: float
    most: int | None = None


def allot(
    waiting: Iterable[Waiting],
    in_flight: Mapping[str, int],
    tenants: Mapping[str, str],
    *,
    limit: int,
    kept: int = 0,
    now: float,
    weights: Mapping[str, float] = EQUAL,
) -> dict[str, int]:
    """How many dispatches each waiting job may make now.

    ``in_flight`` counts dispatches by job, ``tenants`` names the tenant of each. A job that
    is the only one to wait, or to want more than the others get, has all but ``kept`` of the
    places at most. Times are seconds of one clock. A tenant without a weight has 1.
    """
    jobs = {job.job_id: job for job in waiting if job.most is None or job.most > 0}
    by_job = Counter(in_flight)
    by_tenant: Counter[str] = Counter()
    for job_id, count in in_flight.items():
        by_tenant[tenants[job_id]] += count
    shares = {tenant: count / weights.get(tenant, 1.0) for tenant, count in by_tenant.items()}
    granted: Counter[str] = Counter()
    for _ in range(limit - by_job.total()):
        if not jobs or (len(jobs) == 1 and by_job[next(iter(jobs))] >= max(limit - kept, 1)):
            break
        chosen = min(jobs.values(), key=lambda job: _rank(job, shares, by_job, now))
        tenant, job_id = chosen.tenant, chosen.job_id
        granted[job_id] += 1
        by_job[job_id] += 1
        by_tenant[tenant] += 1
        shares[tenant] = by_tenant[tenant] / weights.get(tenant, 1.0)
        if granted[job_id] == chosen.most:
            del jobs[job_id]
    return dict(granted)


def _rank(
    job: Waiting, shares: Mapping[str, float], by_job: Counter[str], now: float
) -> tuple[float, float, float, float]:
    # In whole steps: who has waited a millisecond longer is not ahead of who has nothing yet.
    aged = job.priority + (now - job.since) // AGEING_SECONDS
    return shares.get(job.tenant, 0.0), -aged, by_job[job.job_id], job.since
