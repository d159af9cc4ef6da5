"""Projects: over every route, who is of one project neither sees nor touches others' jobs."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from domain.permissions import (
    EVERY_PERMISSION,
    HELD,
    CallerRole,
    Permission,
    granted,
    granted_in_projects,
    is_grant,
    projects_of,
)
from streams.callers import Caller
from tests.api.matrix import CLOSED, SSE, has_ids, named, requests
from tests.api.proofs import bearer
from tests.api.shop import Shop
from tests.api.test_permissions import lacked
from tests.api.test_tenants import (
    JOBS,
    KEYS,
    NOBODYS,
    OURS,
    SECRET,
    _ours,
    answer_to,
    plain,
    shop,
)

__all__ = ["shop"]

TAG = "project:letters"
LETTERS = bearer("acme", "admin@letters", "submit@diaries", actor="lea")
"""May do everything in one project, and submit to another one."""
WORK = {"operation": "stock.create", "items": [{"name": "x"}]}


async def _job(shop: Shop, *tags: str, headers: dict[str, str] = OURS, **more: Any) -> Any:
    job = await shop.post(JOBS, json={**WORK, "tags": list(tags), **more}, headers=headers)
    return await shop.settled(job, headers=OURS)


async def _listed(shop: Shop, headers: dict[str, str], job: Any) -> set[str]:
    """The jobs in the list, which lags behind, once a job is among all that there are."""
    async with asyncio.timeout(20):
        while job["job_id"] not in await _all(shop, OURS):
            pass
    return await _all(shop, headers)


async def _all(shop: Shop, headers: dict[str, str]) -> set[str]:
    return {item["job_id"] for item in (await shop.get(JOBS, headers=headers))["items"]}


def _ids(job: Any) -> dict[str, str]:
    return {**NOBODYS, "JOB": job["links"]["self"], "OTHER": job["job_id"]}


def test_a_grant_holds_in_the_tenant_or_in_a_project() -> None:
    names = ["viewer", "undo@letters", "approver@a.b", "odd@letters", "view@", "@x", "view@a b"]
    assert granted(names) == HELD[CallerRole.VIEWER]
    assert granted_in_projects(names) == {
        ("letters", Permission.UNDO),
        ("a.b", Permission.PARTICIPATE),
        ("a.b", Permission.VIEW),
        ("a.b", Permission.APPROVE),
    }
    assert [is_grant(name) for name in names] == [True, True, True, False, False, False, False]
    assert projects_of(["x", TAG, "project:a", "Project:b"]) == {"letters", "a"}
    who = Caller("acme", "ada", granted(names), granted_in_projects(names))
    assert who.of(["letters"]).permissions == HELD[CallerRole.VIEWER] | {Permission.UNDO}
    assert who.of(["other"]).permissions == HELD[CallerRole.VIEWER]
    assert granted(who.grants) == who.permissions
    assert granted_in_projects(who.grants) == who.in_projects


async def test_jobs_of_other_projects_are_not_there(shop: Shop) -> None:
    """The same answer as for what nobody has; what is one's own project's is never refused."""
    ours, mine = await _ours(shop), await _job(shop, TAG, headers=LETTERS)
    before = [(await shop.get(ids["JOB"], headers=OURS))["version"] for ids in ours.values()]
    for route in CLOSED:
        if "JOB" not in named(route)[1]:
            continue
        for kind, ids in ours.items():
            pairs = zip(requests(route, ids), requests(route, NOBODYS), strict=True)
            for asked, imagined in pairs:
                status, body = await answer_to(shop, asked, LETTERS)
                expected, nothing = await answer_to(shop, imagined, LETTERS)
                assert (status, expected) == (404, 404), f"{asked} of a {kind} job: {body[:200]!r}"
                assert plain(body, ids) == plain(nothing, NOBODYS), asked
        for asked in requests(route, _ids(mine)):
            status, body = await answer_to(shop, asked, LETTERS)
            assert status not in (401, 403, 404) or "item" in asked.path, f"{asked}: {body!r}"
    assert before == [
        (await shop.get(ids["JOB"], headers=OURS))["version"] for ids in ours.values()
    ]
    for one, other in ((mine, ours["finished"]), (ours["finished"], mine)):
        this = one if "JOB" in one else _ids(one)
        that = other if "JOB" in other else _ids(other)
        path = f"{this['JOB']}/diff/{that['OTHER']}"
        assert (await shop.client.get(path, headers=LETTERS)).status == 404


async def test_what_is_of_no_job_takes_the_whole_tenant_or_shows_a_part(shop: Shop) -> None:
    ours, mine = await _ours(shop), await _job(shop, TAG, headers=LETTERS)
    told = [ids["OTHER"] for ids in ours.values()] + [SECRET]
    for route in CLOSED:
        if has_ids(route) and "JOB" in named(route)[1]:
            continue
        is_open = route.rule.permission is None or route.rule.narrowed
        for asked in requests(route, {**ours["finished"], "KIND": "stock.*", "LIMIT": "queue:s"}):
            status, body = await answer_to(shop, asked, LETTERS)
            assert [word for word in told if word.encode() in body] == [], asked
            if not is_open:
                assert (status, lacked(body)) == (403, route.rule.permission), asked
            elif asked.method == "GET":
                assert status == 200, asked
    assert await _listed(shop, LETTERS, mine) == {mine["job_id"]}
    page = await shop.get("/api/v1/events", params={"after": 0}, headers={**LETTERS, **_JSON})
    assert {item["job_id"] for item in page["items"]} == {mine["job_id"]}
    me = await shop.get("/api/v1/me", headers=LETTERS)
    assert (me["permissions"], me["projects"]["diaries"]) == ([], ["submit"])
    assert set(me["projects"]["letters"]) == EVERY_PERMISSION - {Permission.OPERATE}


_JSON = {"Accept": "application/json"}


async def test_a_job_is_submitted_to_a_project_of_ones_own(shop: Shop) -> None:
    theirs = await _job(shop)
    for tags in ([], ["letters"], ["project:other"], [TAG, "project:other"]):
        for how in ({"json": {**WORK, "tags": tags}}, _lines(tags)):
            response = await shop.client.post(
                JOBS, headers={**LETTERS, **how.pop("type", {})}, **how
            )
            assert (response.status, lacked(await response.read()) or "submit") == (403, "submit")
    problem = await shop.post(JOBS, json=WORK, headers=LETTERS, status=403)
    assert "project:diaries, project:letters" in problem["detail"]
    # To whoever may not see what becomes of it, it is not there any more.
    blind = await shop.post(JOBS, json={**WORK, "tags": ["project:diaries"]}, headers=LETTERS)
    assert (await shop.client.get(blind["links"]["self"], headers=LETTERS)).status == 404
    for after in ({"job_id": theirs["job_id"]}, {"job_id": "nobodys"}):
        body = {**WORK, "tags": [TAG], "options": {"after": [after]}}
        problem = await shop.post(JOBS, json=body, headers=LETTERS, status=422)
        assert problem["pointer"] == "/options/after/0/job_id"
        assert re.sub(r"job \S+", "job X", problem["detail"]).startswith("there is no job X to")
    plan = {"job_id": theirs["job_id"], "digest": "0" * 64}
    body = {**WORK, "tags": [TAG], "options": {"plan": plan}}
    assert (await shop.client.post(JOBS, json=body, headers=LETTERS)).status == 404
    destroying = {**WORK, "operation": "stock.wipe", "items": [{"id": 1, "amount": 0}]}
    editor = bearer("acme", "editor@letters")
    body = {**destroying, "tags": [TAG]}
    response = await shop.client.post(JOBS, json=body, headers=editor)
    assert (response.status, lacked(await response.read())) == (403, "run_destructive")
    await shop.post(JOBS, json=body, headers=bearer("acme", "steward@letters"))


def _lines(tags: list[str]) -> dict[str, Any]:
    query = [("operation", "stock.create"), *(("tag", tag) for tag in tags)]
    kind = {"Content-Type": "application/x-ndjson"}
    return {"params": query, "data": b'{"name":"x"}\n', "type": kind}


async def test_more_may_be_allowed_in_a_project_than_in_the_tenant(shop: Shop) -> None:
    mixed = bearer("acme", "viewer", "editor@letters")
    mine, other = await _job(shop, TAG), await _job(shop)
    for job in (mine, other):
        assert (await shop.client.get(job["links"]["self"], headers=mixed)).status == 200
        exported = f"{job['links']['self']}/items?format=ndjson"
        status = (await shop.client.get(exported, headers=mixed)).status
        assert status == (200 if job is mine else 403)
    response = await shop.client.post(f"{other['links']['self']}/undo", headers=mixed)
    assert (response.status, lacked(await response.read())) == (403, "undo")
    await shop.post(f"{mine['links']['self']}/undo", json={}, headers=mixed)
    assert await _listed(shop, mixed, other) == {mine["job_id"], other["job_id"]}


async def test_a_key_and_a_ticket_are_of_the_projects_of_who_has_made_them(shop: Shop) -> None:
    wanted = {"name": "importer", "roles": ["editor@letters"]}
    made = await shop.post(KEYS, json=wanted, headers=OURS, status=201)
    key = {"Authorization": f"Bearer {made['key']}"}
    assert made["roles"] == ["editor@letters"]
    mine, other = await _job(shop, TAG, headers=key), await _job(shop)
    assert (await shop.client.get(other["links"]["self"], headers=key)).status == 404
    narrow = bearer("acme", "administer", "viewer@letters")
    await shop.post(
        KEYS, json={"name": "reader", "roles": ["view@letters"]}, headers=narrow, status=201
    )
    problem = await shop.post(KEYS, json=wanted, headers=narrow, status=403)
    assert "lacks the permission export" in problem["detail"]
    problem = await shop.post(
        KEYS, json={**wanted, "roles": ["x@letters"]}, headers=OURS, status=422
    )
    assert "as editor@letters" in problem["detail"]
    ticket = await shop.post("/api/v1/events/ticket", json={}, headers=key, status=201)
    path = f"{ticket['links']['events']}&last_event_id=0"
    async with asyncio.timeout(20), shop.client.get(path, headers=SSE) as response:
        await _job(shop)
        last = await _job(shop, TAG, headers=key)
        seen = b""
        while last["job_id"].encode() not in seen or b"job.finished" not in seen[-700:]:
            seen += await response.content.readany()
    ids = set(re.findall(rb'"job_id":"([^"]+)"', seen))
    assert ids == {mine["job_id"].encode(), last["job_id"].encode()}
    ticket = await shop.post(f"{mine['links']['self']}/ticket", json={}, headers=key, status=201)
    async with shop.client.get(ticket["links"]["events"], headers=SSE) as response:
        assert response.status == 200
        assert mine["job_id"].encode() in await response.read()


@pytest.mark.parametrize("roles", [["view@letters"], ["admin@letters"]])
async def test_a_websocket_is_for_who_sees_the_whole_tenant(shop: Shop, roles: list[str]) -> None:
    response = await shop.client.get("/api/v1/ws", headers=bearer("acme", *roles))
    assert (response.status, lacked(await response.read())) == (403, "view")
