"""Whose chunk goes next: tenants first, then priority with age, then the job with the fewest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.scheduling import (
    AGEING_SECONDS,
    COMPANY_SECONDS,
    KEPT_IN_COMPANY,
    KEPT_PER_SLOT,
    Company,
    Waiting,
    allot,
)


def waiting(job_id: str, tenant: str = "a", priority: int = 5, since: float = 0.0) -> Waiting:
    return Waiting(job_id, tenant, priority, since)


def test_a_job_alone_may_use_every_place() -> None:
    assert allot([waiting("one")], {}, {"one": "a"}, limit=3, now=0) == {"one": 3}


def test_who_alone_wants_places_leaves_some_to_whoever_comes() -> None:
    jobs, tenants = [waiting("one")], {"one": "a", "other": "a"}
    assert allot(jobs, {}, tenants, limit=6, kept=2, now=0) == {"one": 4}
    assert allot(jobs, {"one": 3}, tenants, limit=6, kept=2, now=0) == {"one": 1}
    assert allot(jobs, {"one": 4}, tenants, limit=6, kept=2, now=0) == {}
    assert allot(jobs, {"one": 3, "other": 1}, tenants, limit=6, kept=2, now=0) == {"one": 1}
    assert allot(jobs, {"other": 3}, tenants, limit=6, kept=2, now=0) == {"one": 3}
    assert allot(jobs, {"other": 6}, tenants, limit=6, kept=2, now=0) == {}
    assert allot(jobs, {}, tenants, limit=3, kept=3, now=0) == {"one": 1}, "or it waits for ever"


def test_of_two_that_want_places_none_stays_free() -> None:
    jobs, tenants = [waiting("one"), waiting("two")], {"one": "a", "two": "a"}
    assert allot(jobs, {"one": 4}, tenants, limit=6, kept=2, now=0) == {"two": 2}


def test_who_wants_more_than_the_others_leaves_some_to_whoever_comes_next() -> None:
    small, tenants = Waiting("small", "a", 5, 0.0, most=1), {"large": "a"}
    jobs = [waiting("large"), small]
    assert allot(jobs, {"large": 2}, tenants, limit=6, kept=4, now=0) == {"small": 1}
    assert allot(jobs, {}, {}, limit=6, kept=4, now=0) == {"small": 1, "large": 2}
    assert allot(jobs, {"large": 4}, tenants, limit=6, kept=2, now=0) == {"small": 1}


def test_who_has_nothing_in_flight_is_before_who_has_waited_a_little_longer() -> None:
    jobs, tenants = [waiting("large"), waiting("new", since=0.1)], {"large": "a", "new": "a"}
    assert allot(jobs, {"large": 2}, tenants, limit=3, now=0.2) == {"new": 1}


def test_company_is_expected_again_for_a_while() -> None:
    company = Company()
    assert company.kept("erp", 1, slots=2, now=0.0) == 2 * KEPT_PER_SLOT
    assert company.kept("erp", 2, slots=2, now=1.0) == 2 * KEPT_IN_COMPANY
    assert company.kept("erp", 1, slots=2, now=1.0 + COMPANY_SECONDS / 2) == 2 * KEPT_IN_COMPANY
    assert company.kept("other", 1, slots=2, now=1.0) == 2 * KEPT_PER_SLOT
    assert company.kept("erp", 1, slots=2, now=1.0 + COMPANY_SECONDS) == 2 * KEPT_PER_SLOT


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


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 5), max_size=8),
    st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 4), max_size=8),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.25, 1.0, 3.0])),
    st.integers(0, 12),
)
def test_nobody_gets_more_than_it_can_use_and_no_place_stays_free(
    in_flight: dict[str, int], wanting: dict[str, int], weights: dict[str, float], limit: int
) -> None:
    tenants = {job: job[0] for job in {*in_flight, *wanting}}
    jobs = [Waiting(job, tenants[job], 5, 0.0, most) for job, most in wanting.items()]
    granted = allot(jobs, in_flight, tenants, limit=limit, now=0, weights=weights)
    free = max(limit - sum(in_flight.values()), 0)
    assert sum(granted.values()) == min(free, sum(wanting.values()))
    assert all(count <= wanting[job] for job, count in granted.items())


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 5), max_size=8),
    st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 9), max_size=8),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_only_who_alone_wants_more_leaves_what_is_kept_and_gets_all_else(
    in_flight: dict[str, int], wanting: dict[str, int], limit: int, kept: int
) -> None:
    tenants = {job: job[0] for job in {*in_flight, *wanting}}
    jobs = [Waiting(job, tenants[job], 5, 0.0, most) for job, most in wanting.items()]
    all_used = allot(jobs, in_flight, tenants, limit=limit, now=0)
    granted = allot(jobs, in_flight, tenants, limit=limit, kept=kept, now=0)
    differ = {job for job in wanting if granted.get(job, 0) != all_used.get(job, 0)}
    unsatisfied = {job for job, most in wanting.items() if granted.get(job, 0) < most}
    assert not differ or differ == unsatisfied
    for job in differ:
        assert granted.get(job, 0) < all_used[job]
        assert in_flight.get(job, 0) + granted.get(job, 0) >= max(limit - kept, 1)
    assert not differ or len(differ) == 1


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10), min_size=1),
    st.integers(1, 200),
)
def test_places_are_in_proportion_to_the_weights(weights: dict[str, int], limit: int) -> None:
    """Nobody has more than its part by more than one place."""
    jobs = [waiting(f"{tenant}-{n}", tenant) for tenant in weights for n in range(2)]
    granted = allot(jobs, {}, {}, limit=limit, now=0, weights=weights)
    for tenant, weight in weights.items():
        has = granted.get(f"{tenant}-0", 0) + granted.get(f"{tenant}-1", 0)
        assert has < limit * weight / sum(weights.values()) + 1


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10)), min_size=2, max_size=8),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.1, 1.0, 5.0])),
    st.integers(1, 4),
)
def test_everybody_has_a_turn(
    asked: list[tuple[str, int]], weights: dict[str, float], limit: int
) -> None:
    """Each job wants for ever; each second the oldest dispatch ends.

    Ten priorities are worth ten times AGEING_SECONDS; meanwhile a job waits for those ahead,
    and for its tenant's turn.
    """
    tenants = {f"job-{n}": tenant for n, (tenant, _) in enumerate(asked)}
    priorities = {f"job-{n}": priority for n, (_, priority) in enumerate(asked)}
    since = dict.fromkeys(tenants, 0.0)
    running: list[str] = []
    for now in range(1, int(10 * AGEING_SECONDS + len(tenants)) * limit * 3):
        jobs = [Waiting(job, tenants[job], priorities[job], since[job], limit) for job in tenants]
        granted = allot(
            jobs, Counter(running), tenants, limit=limit, now=float(now), weights=weights
        )
        for job, count in granted.items():
            running += [job] * count
            since[job] = float(now)
        running.pop(0)
    assert min(since.values()) > 0
