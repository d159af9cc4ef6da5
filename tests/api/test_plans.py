"""Plans over HTTP: what is answered, and how it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Site
from tests.api.engines import in_one_part
from tests.api.shop import Shop
from tests.api.test_routes import get, post, submitted

JOBS = "/api/v1/jobs"
KINDS = {"operation": "stock.create"}


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    async with Shop(in_one_part(data_dir)) as served:
        yield served


async def _dry(shop: Shop, items: list[Any]) -> Any:
    body = KINDS | {"items": items, "options": {"dry_run": True}}
    return await shop.settled(await shop.post(JOBS, json=body))


async def test_a_plan_is_shown_and_applied(shop: Shop) -> None:
    plan = await _dry(shop, [{"name": "a", "amount": 3}, {"name": "!"}])
    assert (plan["status"], plan["counts"]["planned"]) == ("completed_with_errors", 1)
    assert plan["dry_run"]
    assert plan["links"]["apply"] == f"{JOBS}/{plan['job_id']}/apply"
    items = await shop.get(plan["links"]["items"])
    good, bad = items["items"]
    assert good["changes"][0]["after"] == {"name": "a", "amount": 3}
    assert "changes" not in bad

    shown = await shop.get(f"{plan['links']['self']}/plan")
    digest = shown.pop("digest")
    assert shown == {
        "job_id": plan["job_id"],
        "operation": "stock.create",
        "counts": plan["counts"],
        "validated_only": False,
        "changed": [],
        "more_changed": False,
        "applied_by": None,
    }
    job = await shop.post(plan["links"]["apply"], json={"digest": digest})
    assert (await shop.settled(job))["counts"]["succeeded"] == 1
    again = await shop.post(plan["links"]["apply"], status=409)
    assert again["code"] == "plan_applied"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"digest": "f" * 64}, 409, "plan_changed"),
        ({"digest": "short"}, 422, "invalid"),
        ({"force": True}, 422, "invalid"),
    ],
)
async def test_an_apply_that_is_wrong_is_refused(
    shop: Shop, body: Any, status: int, code: str
) -> None:
    plan = await _dry(shop, [{"name": "a"}])
    problem = await shop.post(plan["links"]["apply"], json=body, status=status)
    assert problem["code"] == code


async def test_what_is_no_plan_is_refused(site: Site) -> None:
    job_id = await submitted(site)
    for method, path in ((get, "plan"), (post, "apply")):
        problem = await method(site, f"{JOBS}/{job_id}/{path}", status=409)
        assert problem["code"] == "wrong_state"
        problem = await method(site, f"{JOBS}/nobody/{path}", status=404)
        assert problem["code"] == "job_not_found"
