"""Approval over HTTP: who calls is what the header says, where the server heeds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.callers import NamedCallers
from domain.events import JobApproved
from tests.api.conftest import Site
from tests.api.engines import in_one_part
from tests.api.shop import Shop
from tests.api.test_routes import post

JOBS = "/api/v1/jobs"
ADA, GRACE = {"Countermand-Actor": "ada"}, {"Countermand-Actor": "grace"}


@pytest.fixture
async def careful(data_dir: Path) -> AsyncIterator[Shop]:
    """A shop where jobs of more than two items wait for a second identity."""
    start = in_one_part(data_dir, actors="named", approval_above=2)
    async with Shop(start, callers=lambda _: NamedCallers()) as served:
        yield served


async def _submitted(shop: Shop, items: int, **fields: Any) -> Any:
    things = [{"name": f"n{n}"} for n in range(items)]
    body = {"operation": "stock.create", "items": things} | fields
    return await shop.post(JOBS, json=body, headers=ADA)


async def test_a_large_job_waits_for_a_second_identity(careful: Shop) -> None:
    job = await _submitted(careful, 3)
    assert job["status"] == "awaiting_approval"
    assert job["reason"] == "awaits approval: more than 2 items"
    assert (job["created_by"], set(job["possible"])) == ("ada", {"approve", "reject", "cancel"})
    approve = job["links"]["approve"]
    own = await careful.post(approve, headers=ADA, status=403)
    assert own["code"] == "own_job"
    started = await careful.post(approve, json={"reason": "seen"}, headers=GRACE)
    assert started["status"] in ("pending", "running", "completed")
    assert (await careful.settled(job, 1))["status"] == "completed"
    events = await careful.engine.queries.events("local", job["job_id"], 0, 100)
    (approved,) = [event for event in events if isinstance(event, JobApproved)]
    assert (approved.actor, approved.reason) == ("grace", "seen")
    again = await careful.post(approve, headers=GRACE, status=409)
    assert again["code"] == "wrong_state"


async def test_a_rejected_job_changes_nothing(careful: Shop) -> None:
    job = await _submitted(careful, 3)
    ended = await careful.post(job["links"]["reject"], headers=GRACE)
    assert (ended["status"], ended["counts"]["skipped"]) == ("rejected", 3)
    assert ended["possible"] == ["archive", "hold", "shred"]


async def test_small_jobs_and_dry_runs_do_not_wait(careful: Shop) -> None:
    assert (await _submitted(careful, 2))["status"] != "awaiting_approval"
    dry = await _submitted(careful, 5, options={"dry_run": True})
    plan = await careful.settled(dry)
    assert plan["counts"]["planned"] == 5
    job = await careful.post(plan["links"]["apply"], headers=ADA)
    assert job["status"] == "awaiting_approval"


async def test_a_plan_that_changes_while_it_waits_cannot_be_approved(careful: Shop) -> None:
    await careful.settled(await _submitted(careful, 2))
    more = {"operation": "stock.add", "items": [{"id": n, "amount": 1} for n in (1, 2, 1)]}
    dry = await careful.post(JOBS, json=more | {"options": {"dry_run": True}}, headers=ADA)
    plan = await careful.settled(dry)
    job = await careful.post(plan["links"]["apply"], headers=ADA)
    one = {"operation": "stock.add", "items": [{"id": 2, "amount": 7}]}
    await careful.settled(await careful.post(JOBS, json=one, headers=ADA))
    refused = await careful.post(job["links"]["approve"], headers=GRACE, status=409)
    assert refused["code"] == "plan_changed"
    assert "stock/2 is at version 2 (planned at 1)" in refused["detail"]


@pytest.mark.parametrize("name", ["", "engine", "x" * 201, "a\tb"])
async def test_who_calls_must_be_said_and_may_not_be_the_engine(careful: Shop, name: str) -> None:
    headers = {"Countermand-Actor": name} if name else {}
    body = {"operation": "stock.create", "items": [{"name": "x"}]}
    problem = await careful.post(JOBS, json=body, headers=headers, status=400)
    assert problem["code"] == "actor_missing"
    assert (await careful.get(JOBS))["items"] == []


async def test_a_name_that_is_not_heeded_is_refused(site: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    problem = await post(site, JOBS, json=body, headers=GRACE, status=400)
    assert problem["code"] == "actor_not_heeded"


async def test_a_retry_with_other_items_than_were_approved_is_refused(careful: Shop) -> None:
    """As many as need no approval may be corrected; more are a job of their own."""
    body = {"operation": "stock.create", "items": [{"name": "!"}] * 3}
    job = await careful.post(JOBS, json=body, headers=ADA)
    await careful.post(job["links"]["approve"], headers=GRACE)
    assert (await careful.settled(job))["counts"]["failed"] == 3
    retry = job["links"]["self"] + "/retry"
    edits = [{"item": n, "body": {"name": f"n{n}"}} for n in range(3)]
    for changed, pointer in (({"edits": edits}, "/edits"), ({"patch": {"name": "x"}}, "/patch")):
        refused = await careful.post(retry, json=changed, headers=ADA, status=422)
        assert refused["pointer"] == pointer
        assert "more than 2 items" in refused["detail"]
        assert "submit the corrected items as a job of their own" in refused["detail"]
    assert (await careful.get(job["links"]["self"]))["counts"]["failed"] == 3
    await careful.post(retry, json={"edits": edits[:2]}, headers=ADA)
    assert (await careful.settled(job))["counts"]["succeeded"] == 2
    await careful.post(retry, headers=ADA)
