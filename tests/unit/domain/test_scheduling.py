"""Whose chunk goes next: tenants first, then priority with age, then the job with the fewest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.scheduling import AGEING_SECONDS, Waiting, allot


def waiting(job_id: str, tenant: str = "a", priority: int = 5, since: float = 0.0) -> Waiting:
    return Waiting(job_id, tenant, priority, since)


def test_a_job_alone_may_use_every_place() -> None:
    assert allot([waiting("one")], {}, {"one": "a"}, limit=3, now=0) == {"one": 3}


def test_a_second_tenant_gets_its_share() -> None:
    jobs = [waiting("big", "a"), waiting("other", "b")]
    tenants = {"big": "a", "other": "b"}
    assert allot(jobs, {"big": 2}, tenants, limit=4, now=0) == {"other": 2}


def test_within_a_tenant_the_higher_priority_goes_first() -> None:
    jobs = [waiting("low", priority=1), waiting("high", priority=9)]
    assert allot(jobs, {}, {"low": "a", "high": "a"}, limit=1, now=0) == {"high": 1}


def test_who_waits_long_enough_overtakes() -> None:
    jobs = [waiting("old", priority=1), waiting("new", priority=9, since=9 * AGEING_SECONDS)]
    given_now = allot(jobs, {}, {"old": "a", "new": "a"}, limit=1, now=9 * AGEING_SECONDS)
    assert given_now == {"old": 1}


def test_no_place_no_grant() -> None:
    assert allot([waiting("one")], {"other": 3}, {"one": "a", "other": "a"}, limit=3, now=0) == {}


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 5), max_size=8),
    st.sets(st.text("abcd", min_size=1, max_size=3), max_size=8),
    st.integers(0, 12),
)
def test_the_limit_holds_and_no_place_stays_free(
    in_flight: dict[str, int], wanting: set[str], limit: int
) -> None:
    tenants = {job: job[0] for job in {*in_flight, *wanting}}
    granted = allot(
        [waiting(job, tenants[job]) for job in sorted(wanting)],
        in_flight,
        tenants,
        limit=limit,
        now=0,
    )
    free = max(limit - sum(in_flight.values()), 0)
    assert sum(granted.values()) == (free if wanting else 0)
    assert set(granted) <= wanting
