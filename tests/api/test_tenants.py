"""Tenants: over every route, stream and file, nobody sees or touches what is another tenant's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.app import ROUTES
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.registry import Registry
from domain.systems.annotations.exporting import export
from domain.systems.annotations.image_exporting import export_images
from domain.systems.annotations.intakes import INTAKES
from domain.systems.annotations.kinds import ANNOTATIONS, BOXES
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.matrix import (
    CLOSED,
    FORM,
    OF_FORM,
    ONES,
    RECORDS,
    WAYS,
    Request,
    has_ids,
    named,
    requests,
)
from tests.api.proofs import bearer, proven
from tests.api.shop import Shop
from tests.engine.stock import Addition, operations, stock

JOBS, KEYS = "/api/v1/jobs", "/api/v1/keys"
ROLES = ("admin", "operator")
OURS, THEIRS = bearer("acme", *ROLES), bearer("other", *ROLES, actor="eve")
NOBODYS = {"JOB": f"{JOBS}/nobodys", "OTHER": "nobodys", "POSITION": "0", "TENANT": "t"}
NOBODYS |= {"RECORD": "/api/v1/records/stock/999999", "KEY": "f" * 32, "WEBHOOK": "e" * 32}
NOBODYS |= {"PROJECT": "/api/v1/projects/999999"}
NOBODYS |= {"OPERATION": "/api/v1/batch/operations/999999"}
NOBODYS |= {one.upper(): "999999" for one in ONES.values() if one != "project"}
SECRET = "confidential"


@operation("stock.wipe", item=Addition, tables=[stock], destructive=True)
def wipe(ctx: Context, item: Addition) -> Result:
    """Destroys, by its own account."""
    return Done()


FILES = (*(intake.operation for intake in INTAKES.values()), export, export_images)
REGISTRY = Registry([*operations, wipe, *ANNOTATIONS.operations, *BOXES.operations, *FILES])


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    """An engine whose callers prove who they are."""

    def start() -> Any:
        return embedded(Settings(data_dir=data_dir), REGISTRY)

    async with Shop(start, callers=lambda engine: proven(engine.database)) as served:
        yield served


async def _ours(shop: Shop) -> dict[str, dict[str, str]]:
    """What a tenant has: jobs and batches that have ended or not, a record, a key; by name."""
    things = [{"name": f"{SECRET} {n}"} for n in range(3)] + [{"name": "!"}]
    common = {"operation": "stock.create", "name": SECRET, "tags": [SECRET]}
    finished = await shop.post(JOBS, json={**common, "items": things}, headers=OURS)
    draft = await shop.post(JOBS, json={**common, "draft": True}, headers=OURS)
    path = draft["links"]["append"]
    await shop.post(path, params={"part": 0}, json=things, headers=OURS)
    dry = {**common, "items": things, "options": {"dry_run": True}}
    plan = await shop.post(JOBS, json=dry, headers={**OURS, "Idempotency-Key": "one"})
    steps = [{"name": "one", "operation": "stock.create", "items": things}]
    batch = await shop.post("/api/v1/batches", json={"steps": steps}, headers=OURS)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    steps = [{**steps[0], "options": {"start_at": tomorrow.isoformat()}}]
    later = await shop.post("/api/v1/batches", json={"steps": steps}, headers=OURS)
    for job in (finished, plan, batch):
        await shop.settled(job, headers=OURS)
    key = await shop.post(KEYS, json={"name": SECRET, "roles": ["view"]}, headers=OURS, status=201)
    wanted = {"url": f"https://example.org/{SECRET}", "events": ["job.rejected"]}
    hook = await shop.post("/api/v1/webhooks", json=wanted, headers=OURS, status=201)
    record = {"RECORD": "/api/v1/records/stock/1", "KEY": key["key_id"], "TENANT": "t"}
    record |= {"WEBHOOK": hook["webhook_id"], **await _our_project(shop)}
    found = {
        kind: {"JOB": job["links"]["self"], "OTHER": finished["job_id"], "POSITION": "0", **record}
        for kind, job in (
            ("finished", finished),
            ("draft", draft),
            ("plan", plan),
            ("batch", batch),
            ("waiting batch", later),
        )
    }
    # Operations of two kinds have files: one has its turn with one job, the other with the others.
    found["draft"]["OPERATION"] = record.pop("EXPORT")
    for ids in found.values():
        ids.pop("EXPORT")
    return found


async def _our_project(shop: Shop) -> dict[str, str]:
    """A project with one record of each kind, all of which are the first of their kind."""
    headers = {"headers": OURS, "status": 201}
    project = await shop.post("/api/v1/projects", json={"name": SECRET}, **headers)
    path = f"/api/v1/projects/{project['project_id']}"
    for kind, new in RECORDS.items():
        made = await shop.post(f"{path}/{kind}", json=new, **headers)
        assert 1 in (made.get("id"), made.get(f"{ONES[kind]}_id")) or kind == "members"
    form = {"data": FORM.replace(b"\n1\r", b"\n%d\r" % project["project_id"])}
    done = await shop.post("/api/v1/batch/text/import", headers={**OURS, **OF_FORM}, **form)
    wanted = {"project_id": project["project_id"], "format": "jsonl"}
    out = await shop.post("/api/v1/batch/export", json=wanted, headers=OURS)
    events = f"{JOBS}/{out['job_id']}/events"
    await shop.settled(
        {"links": {"self": f"{JOBS}/{out['job_id']}", "events": events}}, headers=OURS
    )
    own = {"PROJECT": path, "OPERATION": f"/api/v1/batch/operations/{done['operation_id']}"}
    own["EXPORT"] = f"/api/v1/batch/operations/{out['operation_id']}"
    return {**own, **{one.upper(): "1" for one in ONES.values() if one != "project"}}


async def answer_to(shop: Shop, asked: Request, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body, which is read to its end unless it is a live stream that goes on."""
    given: dict[str, Any] = {"headers": {**headers, **asked.headers}, "params": asked.query}
    if isinstance(asked.body, bytes):
        given["data"] = asked.body
        given["headers"].setdefault("Content-Type", "application/x-ndjson")
    elif asked.body is not None:
        given["json"] = asked.body
    async with shop.client.request(asked.method, asked.path, **given) as response:
        live = response.content_type == "text/event-stream"
        return response.status, await (response.content.readany() if live else response.read())


def plain(body: bytes, ids: dict[str, str]) -> Any:
    """A problem without what differs because other ids were asked for."""
    document = orjson.loads(body)
    document.pop("request_id")
    text = orjson.dumps(document).decode()
    for value in ids.values():
        text = re.sub(rf"\b{re.escape(value.rpartition('/')[2])}\b", "ID", text)
    return text


def test_the_matrix_has_every_route_and_no_other() -> None:
    assert {named(route) for route in ROUTES if route.method != "*"} == set(WAYS)


async def test_what_is_another_tenants_is_not_there(shop: Shop) -> None:
    """The same answer as for what nobody has, whatever is asked, however it is asked."""
    ours = await _ours(shop)
    for route in filter(has_ids, CLOSED):
        for kind, ids in ours.items():
            pairs = zip(requests(route, ids), requests(route, NOBODYS), strict=True)
            for asked, imagined in pairs:
                status, body = await answer_to(shop, asked, THEIRS)
                expected, nothing = await answer_to(shop, imagined, THEIRS)
                assert (status, expected) == (404, 404), f"{asked} of a {kind} job: {body[:200]!r}"
                assert plain(body, ids) == plain(nothing, NOBODYS), asked
                assert SECRET.encode() not in body


async def test_half_of_a_question_is_not_answered_either(shop: Shop) -> None:
    """Two jobs are compared only where both are one's own."""
    ours = (await _ours(shop))["finished"]
    body = {"operation": "stock.create", "items": [{"name": "x"}]}
    own = await shop.post(JOBS, json=body, headers=THEIRS)
    await shop.settled(own, headers=THEIRS)
    theirs = {**ours, "JOB": own["links"]["self"], "OTHER": own["job_id"]}
    for route in CLOSED:
        if "OTHER" in named(route)[1]:
            for mixed in ({**theirs, "OTHER": ours["OTHER"]}, {**ours, "OTHER": own["job_id"]}):
                for asked in requests(route, mixed):
                    assert (await answer_to(shop, asked, THEIRS))[0] == 404, asked


async def test_nothing_of_another_tenant_is_listed(shop: Shop) -> None:
    ours = await _ours(shop)
    told = [ids["JOB"].rpartition("/")[2] for ids in ours.values()] + [SECRET, '"acme"']
    for route in CLOSED:
        if not has_ids(route):
            for asked in requests(route, NOBODYS):
                _, body = await answer_to(shop, asked, THEIRS)
                assert [word for word in told if word.encode() in body] == [], asked


async def test_jobs_of_another_tenant_cannot_be_used(shop: Shop) -> None:
    """As what is waited for, as what items are taken from, as a plan, by an idempotency key."""
    ours = await _ours(shop)
    ended, plan = ours["finished"]["OTHER"], ours["plan"]["JOB"].rpartition("/")[2]
    for job_id in (ended, "nobodys"):
        for after in ({"job_id": job_id}, {"job_id": job_id, "consume": {"name": "id"}}):
            body = {"operation": "stock.create", "options": {"after": [after]}}
            body |= {} if "consume" in after else {"items": [{"name": "x"}]}
            problem = await shop.post(JOBS, json=body, headers=THEIRS, status=422)
            assert problem["pointer"] == "/options/after/0/job_id"
            assert SECRET not in str(problem)
    planned = {"operation": "stock.create", "items": [{"name": "x"}]}
    planned["options"] = {"plan": {"job_id": plan, "digest": "0" * 64}}  # type: ignore[assignment]
    assert (await shop.client.post(JOBS, json=planned, headers=THEIRS)).status in (404, 422)
    body = {"operation": "stock.create", "items": [{"name": "y"}]}
    own = await shop.post(JOBS, json=body, headers={**THEIRS, "Idempotency-Key": "one"})
    assert own["job_id"] != plan
    assert (await shop.get(own["links"]["self"], headers=THEIRS))["created_by"] == "eve"


async def test_records_of_another_tenant_are_neither_read_nor_written(shop: Shop) -> None:
    await _ours(shop)
    items = [{"id": 1, "amount": 7}]
    for kind in ("stock.add", "stock.remove"):
        job = await shop.post(JOBS, json={"operation": kind, "items": items}, headers=THEIRS)
        done = await shop.settled(job, headers=THEIRS)
        assert done["counts"]["succeeded"] == 0
    select = {"operation": "stock.add", "select": {"table": "stock", "each": {"amount": 1}}}
    select["select"]["confirm"] = "all"  # type: ignore[index]
    assert (await shop.client.post(JOBS, json=select, headers=THEIRS)).status == 422
    blamed = await shop.get("/api/v1/records/stock/1/blame", headers=OURS)
    assert (blamed["version"], blamed["columns"]["amount"]["value"]) == (1, 0)


async def test_what_was_asked_of_another_tenants_job_has_changed_nothing(shop: Shop) -> None:
    ours = await _ours(shop)
    paths = [ids["JOB"] for ids in ours.values()]
    before = [(await shop.get(path, headers=OURS))["version"] for path in paths]
    for route in CLOSED:
        if route.method != "GET" and has_ids(route):
            for ids in ours.values():
                for asked in requests(route, ids):
                    await answer_to(shop, asked, THEIRS)
    assert [(await shop.get(path, headers=OURS))["version"] for path in paths] == before
    hooks = (await shop.get("/api/v1/webhooks", headers=OURS))["items"]
    assert {(hook["enabled"], hook["changed_at"], hook["rotated_at"]) for hook in hooks} == {
        (True, None, None)
    }
    (key,) = (await shop.get(KEYS, headers=OURS))["items"]
    assert (key["rotated_at"], key["revoked_at"]) == (None, None)
