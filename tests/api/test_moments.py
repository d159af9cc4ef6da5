"""Moments over HTTP: what is said of them at once, and what is refused with a pointer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.engines import in_one_part
from tests.api.shop import JOBS, Shop


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    async with Shop(in_one_part(data_dir)) as served:
        yield served


def _in(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_a_scheduled_job_says_so_and_is_started_now(shop: Shop) -> None:
    job = await shop.create(30, options={"start_at": _in(9), "deadline": _in(10)})
    assert (job["status"], job["waiting"]["reason"]) == ("pending", "scheduled")
    assert job["start_at"] is not None
    assert job["deadline"]["in_time"] is None, "nothing was measured"
    moved = await shop.post(job["links"]["adjust"], json={"start_at": _in(9.5)})
    assert moved["start_at"] > job["start_at"]
    await shop.post(job["links"]["adjust"], json={"lift": ["start_at"]})
    done = await shop.settled(job)
    assert (done["status"], done["start_at"]) == ("completed", None)
    assert done["deadline"]["in_time"] is True


async def test_the_answer_to_a_submit_warns_of_a_deadline_that_will_be_missed(shop: Shop) -> None:
    await shop.settled(await shop.create(200))
    soon = (datetime.now(UTC) + timedelta(seconds=30.5)).isoformat()
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    job = await shop.create(9000, options={"start_at": later, "deadline": soon})
    told = job["deadline"]
    assert told["in_time"] is False
    assert "items a second, measured over 200 items of 1 jobs" in told["rests_on"]
    assert told["warning"].startswith("it will end ")
    await shop.post(job["links"]["cancel"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"start_at": "2020-01-01T00:00:00Z"}, "/options/start_at"),
    ({"start_at": "2999-01-01T00:00:00Z"}, "/options/start_at"),
    ({"start_at": "2030-01-01T00:00:00"}, "/options/start_at"),
    ({"start_at": 1893456000}, "/options/start_at"),
    ({"start_at": "tomorrow"}, "/options/start_at"),
    ({"deadline": "2020-01-01T00:00:00Z"}, "/options/deadline"),
    ({"deadline": None, "on_deadline": "stop"}, "/options/on_deadline"),
    ({"on_deadline": "explode"}, "/options/on_deadline"),
    ({"start_at": _in(2), "deadline": _in(1)}, "/options/deadline"),
    ({"start_at": _in(2), "start": "eager"}, "/options/start_at"),
]


@pytest.mark.parametrize(("options", "pointer"), REFUSED)
async def test_moments_that_cannot_be_are_refused_where_they_stand(
    shop: Shop, options: dict[str, Any], pointer: str
) -> None:
    body = {"operation": "stock.create", "items": [{"name": "x"}], "options": options}
    problem = await shop.post(JOBS, json=body, status=422)
    assert problem["pointer"] == pointer
    assert await shop.jobs() == set()


async def test_a_repeated_submit_is_the_same_job_after_its_moment(shop: Shop) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    key = {"Idempotency-Key": "nightly"}
    body = {"operation": "stock.create", "items": [{"name": "x"}], "options": {"start_at": soon}}
    first = await shop.post(JOBS, json=body, headers=key)
    await shop.settled(first)
    again = await shop.post(JOBS, json=body, headers=key)
    assert again["job_id"] == first["job_id"]


async def test_an_adjustment_that_cannot_be_is_refused(shop: Shop) -> None:
    job = await shop.create(1, options={"start_at": _in(1)})
    for body, pointer in (
        ({"start_at": "2020-01-01T00:00:00Z"}, "/start_at"),
        ({"deadline": _in(0.5)}, "/deadline"),
        ({"start_at": _in(2), "lift": ["start_at"]}, "/lift"),
        ({"lift": ["everything"]}, "/lift/0"),
    ):
        problem = await shop.post(job["links"]["adjust"], json=body, status=422)
        assert problem["pointer"] == pointer, body


async def test_the_moments_of_a_dry_run_are_not_those_of_its_plan(shop: Shop) -> None:
    options = {"dry_run": True, "deadline": _in(1), "on_deadline": "stop"}
    dry = await shop.settled(await shop.create(3, options=options))
    job = await shop.post(dry["links"]["apply"])
    assert job["deadline"] is None
    assert (await shop.settled(job))["counts"]["succeeded"] == 3
