"""What each route takes and answers, over an engine in memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from api.limits import LOOPBACK_HOSTS, Limits
from domain.commands import Selection
from domain.compensation import Tried
from domain.errors import DecisionPending
from domain.outcomes import Conflicted, Failed, Restored
from domain.waiting import Surroundings
from streams.deadletters import Group, Listed
from streams.intake import Memory
from streams.stores.compensations import CompensationView
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine

NDJSON = {"Content-Type": "application/x-ndjson"}
JOB_FIELDS = {
    "job_id",
    "operation",
    "status",
    "version",
    "name",
    "tags",
    "priority",
    "params",
    "counts",
    "percent",
    "items_per_second",
    "eta_seconds",
    "created_at",
    "started_at",
    "finished_at",
    "created_by",
    "links",
}


async def post(site: Site, path: str, *, status: int = 202, **options: Any) -> Any:
    async with site.client.post(path, **options) as response:
        assert response.status == status, await response.text()
        return orjson.loads(await response.read())


async def get(site: Site, path: str, *, status: int = 200, **options: Any) -> Any:
    async with site.client.get(path, **options) as response:
        assert response.status == status, await response.text()
        return orjson.loads(await response.read())


async def submitted(site: Site, items: int = 3, *, odd: tuple[int, ...] = ()) -> str:
    numbers = [{"n": n, "odd": True} if n in odd else {"n": n} for n in range(items)]
    job = await post(site, "/api/v1/jobs", json={"operation": "test.double", "items": numbers})
    return str(job["job_id"])


# -- submit ---------------------------------------------------------------------------------


async def test_a_job_is_accepted_and_shown(site: Site) -> None:
    body = {
        "operation": "test.double",
        "params": {"factor": 2},
        "items": [{"n": 1}, {"n": 2}],
        "name": "two",
        "tags": ["t"],
        "priority": 7,
    }
    async with site.client.post("/api/v1/jobs", json=body) as response:
        assert response.status == 202
        job = orjson.loads(await response.read())
        assert response.headers["Location"] == f"/api/v1/jobs/{job['job_id']}"
    assert job.keys() >= JOB_FIELDS
    assert (job["status"], job["version"], job["counts"]["total"]) == ("pending", 1, 2)
    assert site.engine.lines_of[job["job_id"]] == [b'{"n":1}', b'{"n":2}']
    assert await get(site, job["links"]["self"]) == job


async def test_the_same_key_makes_one_job(site: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    headers = {"Idempotency-Key": "once"}
    first = await post(site, "/api/v1/jobs", json=body, headers=headers)
    again = await post(site, "/api/v1/jobs", json=body, headers=headers)
    assert first["job_id"] == again["job_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_key_must_be_a_plain_one(site: Site, key: str) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    headers = {"Idempotency-Key": key}
    problem = await post(site, "/api/v1/jobs", status=400, json=body, headers=headers)
    assert problem["code"] == "bad_idempotency_key"


async def test_streamed_items_are_described_in_the_query(site: Site) -> None:
    query = [
        ("operation", "test.double"),
        ("params", '{"factor": 3}'),
        ("name", "streamed"),
        ("tag", "a"),
        ("tag", "b"),
        ("priority", "1"),
        ("chunk_size", "10"),
        ("start", "eager"),
        ("options", '{"retry": {"attempts": 5}}'),
    ]
    job = await post(site, "/api/v1/jobs", params=query, data=b'{"n":1}\n{"n":2}', headers=NDJSON)
    assert (job["name"], job["tags"], job["priority"]) == ("streamed", ["a", "b"], 1)
    assert job["params"] == {"factor": 3}
    retry = job["options"].pop("retry")
    assert retry == {"attempts": 5, "delay": 1.0, "factor": 2.0, "cap": 60.0, "codes": {}}
    assert job["options"] == {"chunk_size": 10, "start": "eager"}
    assert (job["retrying"], job["next_attempt_at"], job["limit"]) == (0, None, None)
    assert job["counts"]["total"] == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("operation=test.double&operation=x", 400),
        ("operation=test.double&oepration=x", 400),
        ("operation=test.double&params={", 400),
        ("operation=test.double&params=[]", 422),
        ("operation=test.double&chunk_size=0", 400),
        ("operation=test.double&start=soon", 422),
        ("operation=test.double&options={", 400),
        ("operation=test.double&options=[]", 422),
        ("operation=test.double&options={%22tolerate%22:[{%22faild%22:1}]}", 422),
        ("operation=test.double&start=eager&options={%22start%22:%22eager%22}", 422),
        ("operation=test.double&priority=1.5", 400),
        ("operation=nobody.knows", 422),
    ],
)
async def test_a_wrong_description_is_refused(site: Site, query: str, status: int) -> None:
    await post(site, f"/api/v1/jobs?{query}", status=status, data=b"{}", headers=NDJSON)
    assert site.engine.lines_of == {}


async def test_a_draft_takes_its_items_in_parts_and_is_sealed(site: Site) -> None:
    draft = await post(site, "/api/v1/jobs", json={"operation": "test.double", "draft": True})
    assert draft["status"] == "draft"
    assert {"append", "seal", "cancel"} <= draft["links"].keys()
    path = draft["links"]["append"]
    part = await post(site, path, params={"part": 0}, json=[{"n": 1}, {"n": 2}])
    assert (part["job_id"], part["part"], part["version"]) == (draft["job_id"], 0, 2)
    await post(site, path, params={"part": 1}, data=b'{"n":3}\n', headers=NDJSON)
    wrong = await post(site, draft["links"]["seal"], status=422, json={"items": 4})
    assert wrong["pointer"] == "/items"
    job = await post(site, draft["links"]["seal"], json={"items": 3})
    assert (job["status"], job["counts"]["total"]) == ("pending", 3)


async def test_a_part_needs_its_number_and_a_list(site: Site) -> None:
    draft = await post(site, "/api/v1/jobs", json={"operation": "test.double", "draft": True})
    path = draft["links"]["append"]
    await post(site, path, status=400, json=[1])
    await post(site, path, status=400, params={"part": -1}, json=[1])
    await post(site, path, status=422, params={"part": 0}, json={"items": [1]})


async def test_a_large_body_is_refused_before_it_is_read(engine: MemoryEngine) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"["
        while True:
            yield b"1," * 50_000

    headers = {"Content-Type": "application/json"}
    async with (
        site_of(engine, Limits(linger=0.2)) as site,
        site.client.post("/api/v1/jobs", data=endless(), headers=headers) as response,
    ):
        assert response.status == 413
        assert "x-ndjson" in orjson.loads(await response.read())["detail"]


async def test_a_declared_length_above_the_limit_is_refused(site: Site) -> None:
    body = io.BytesIO(b'"' + b"x" * site.limits.json_body + b'"')
    headers = {"Content-Type": "application/json", "Expect": "100-continue"}
    problem = await post(site, "/api/v1/jobs", status=413, data=body, headers=headers)
    assert problem["code"] == "body_too_large"


async def test_a_body_that_needs_a_thread_is_read_the_same(site: Site) -> None:
    items = [{"n": n, "text": "ä" * 50} for n in range(2000)]
    body = {"operation": "test.double", "items": items}
    job = await post(site, "/api/v1/jobs", json=body)
    assert [orjson.loads(line) for line in site.engine.lines_of[job["job_id"]]] == items


# -- commands -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, {}, {"reason": "why"}])
async def test_a_command_may_have_a_reason(site: Site, body: dict[str, str] | None) -> None:
    job_id = await submitted(site)
    job = await post(site, f"/api/v1/jobs/{job_id}/pause", json=body)
    assert job["status"] == "paused"
    assert job["reason"] == (body or {}).get("reason", "")
    assert (await post(site, f"/api/v1/jobs/{job_id}/resume"))["status"] == "pending"
    assert (await post(site, f"/api/v1/jobs/{job_id}/cancel"))["status"] == "cancelled"


async def test_a_command_in_the_wrong_state_names_what_is_possible(site: Site) -> None:
    job_id = await submitted(site)
    problem = await post(site, f"/api/v1/jobs/{job_id}/resume", status=409)
    assert problem["code"] == "wrong_state"
    assert "possible: adjust, cancel, pause" in problem["detail"]


async def test_failed_items_are_retried_and_a_job_is_undone(site: Site) -> None:
    job_id = await submitted(site, odd=(1,))
    site.engine.work(job_id)
    assert (await post(site, f"/api/v1/jobs/{job_id}/retry"))["counts"]["pending"] == 1
    site.engine.work(job_id)
    assert (await post(site, f"/api/v1/jobs/{job_id}/undo"))["status"] == "rolling_back"


async def test_a_retry_may_name_its_items(site: Site) -> None:
    job_id = await submitted(site, odd=(0, 1))
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}/retry"
    for wrong in ({"items": [-1]}, {"items": "1"}, {"codes": "odd"}, {"itmes": [1]}):
        await post(site, path, status=422, json=wrong)
    assert (await post(site, path, json={"items": [1], "reason": "x"}))["counts"]["pending"] == 1
    assert site.engine.selected == Selection(items=(1,))
    site.engine.work(job_id)
    codes = {"codes": ["odd"], "signatures": ["no"]}
    await post(site, path, json=codes)
    assert site.engine.selected == Selection.model_validate(codes)


@pytest.mark.parametrize(
    ("verb", "field"),
    [("retry", name) for name in ("items", "codes", "signatures", "edits")]
    + [("undo", name) for name in ("items", "chunks", "records")],
)
async def test_what_names_nothing_is_not_done_to_all(site: Site, verb: str, field: str) -> None:
    job_id = await submitted(site, odd=(1,))
    site.engine.work(job_id)
    before = await get(site, f"/api/v1/jobs/{job_id}")
    problem = await post(site, f"/api/v1/jobs/{job_id}/{verb}", status=422, json={field: []})
    assert problem["pointer"] == f"/{field}"
    assert "leave it out, which means all of them" in problem["detail"]
    assert (await get(site, f"/api/v1/jobs/{job_id}"))["version"] == before["version"]


async def test_an_item_is_shown_with_its_attempts(site: Site) -> None:
    job_id = await submitted(site, odd=(1,))
    site.engine.work(job_id)
    item = await get(site, f"/api/v1/jobs/{job_id}/items/1")
    assert (item["position"], item["status"], item["item"]["odd"]) == (1, "failed", True)
    (attempt,) = item["attempts"]
    assert (attempt["chunk"], attempt["cause"], attempt["status"]) == (0, "apply", "failed")
    assert (await get(site, f"/api/v1/jobs/{job_id}/items/99", status=404))["code"] == (
        "item_not_found"
    )


@pytest.mark.parametrize("body", [{"reason": 3}, {"why": "x"}, [], {"reason": "x" * 3000}])
async def test_a_wrong_body_of_a_command_is_refused(site: Site, body: Any) -> None:
    job_id = await submitted(site)
    await post(site, f"/api/v1/jobs/{job_id}/pause", status=422, json=body)


async def test_no_body_is_one_and_blanks_are_none(site: Site) -> None:
    path = f"/api/v1/jobs/{await submitted(site)}/pause"
    said = {"headers": {"Content-Type": "application/json"}}
    refused = await post(site, path, status=400, data=b" \n", **said)
    assert refused["code"] == "malformed_body"
    await post(site, path, data=b"", **said)


async def test_unavailable_says_when_to_come_back(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.fault = DecisionPending("not decided yet; repeat it")
    async with site.client.post(f"/api/v1/jobs/{job_id}/pause") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert orjson.loads(await response.read())["code"] == "decision_pending"


# -- reading --------------------------------------------------------------------------------


async def test_the_list_passes_its_filters_on(site: Site) -> None:
    job_id = await submitted(site)
    query = [
        ("status", "running"),
        ("status", "failed"),
        ("operation", "test.double"),
        ("tag", "t"),
        ("q", "night"),
        ("created_after", "2025-01-31T12:00:00Z"),
        ("sort", "-name"),
        ("cursor", "c"),
        ("limit", "5"),
    ]
    page = await get(site, "/api/v1/jobs", params=query)
    assert page["items"][0]["links"]["self"] == f"/api/v1/jobs/{job_id}"
    assert page["next_cursor"] == "more"
    given = {name: value for name, value in site.engine.filters.items() if name != "created_after"}
    assert given == {
        "status": ["running", "failed"],
        "operation": "test.double",
        "tag": "t",
        "q": "night",
        "sort": "-name",
        "cursor": "c",
        "limit": 5,
    }
    assert site.engine.filters["created_after"].isoformat() == "2025-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    "query", ["status=nonsense", "limit=0", "limit=x", "created_after=soon", "tag=a&tag=b", "x=1"]
)
async def test_a_wrong_filter_is_refused(site: Site, query: str) -> None:
    assert (await get(site, f"/api/v1/jobs?{query}", status=400))["code"] == "bad_parameter"


@pytest.mark.parametrize("name", ["operation", "system", "tag", "sort", "cursor"])
async def test_an_empty_filter_is_refused(site: Site, name: str) -> None:
    problem = await get(site, "/api/v1/jobs", params={name: ""}, status=400)
    assert (problem["code"], problem["pointer"]) == ("bad_parameter", f"/{name}")


async def test_nothing_to_look_for_in_names_is_in_all(site: Site) -> None:
    job_id = await submitted(site)
    page = await get(site, "/api/v1/jobs", params={"q": ""})
    assert [item["job_id"] for item in page["items"]] == [job_id]
    assert "q" not in site.engine.filters


async def test_a_job_is_shown_as_it_was(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    now = await get(site, f"/api/v1/jobs/{job_id}")
    then = await get(site, f"/api/v1/jobs/{job_id}", params={"at": 1})
    assert (now["status"], then["status"]) == ("completed", "pending")
    assert then["version"] == 1
    late = now["version"] + 1
    assert (await get(site, f"/api/v1/jobs/{job_id}?at={late}", status=404))["code"] == (
        "job_not_found"
    )
    await get(site, f"/api/v1/jobs/{job_id}?at=0", status=400)
    await get(site, f"/api/v1/jobs/{job_id}?at=1&at=2", status=400)


@pytest.mark.parametrize(
    "path", ["", "/events", "/items", "/errors", "/issues", "/undo-preview", "/compensations"]
)
async def test_an_unknown_job_is_not_found(site: Site, path: str) -> None:
    for accept in ("application/json", "*/*"):
        problem = await get(
            site, f"/api/v1/jobs/nobody{path}", status=404, headers={"Accept": accept}
        )
        assert problem["code"] == "job_not_found"


async def test_a_preview_of_an_undo_is_refused_as_the_undo_is(site: Site) -> None:
    job_id = await submitted(site)
    path = f"/api/v1/jobs/{job_id}/undo-preview"
    problem = await get(site, path, status=409)
    assert problem["code"] == "wrong_state"
    assert "possible: adjust, cancel, pause" in problem["detail"]
    for wrong in ("?cursor=-1", "?cursor=x", "?limit=0", "?limit=100000000", "?page=2"):
        assert (await get(site, path + wrong, status=400))["code"] == "bad_parameter"


async def test_what_was_taken_back_outside_comes_in_pages_and_by_stage(site: Site) -> None:
    job_id = await submitted(site)
    path = f"/api/v1/jobs/{job_id}/compensations"
    busy = Failed("busy", "nobody answers", retryable=True)
    results = [Restored(), busy, Restored(), Conflicted("orders/7", "the vendor", "shipped")]
    site.engine.compensated = [
        CompensationView(Tried(n, 1, n + 1, result), 1.5) for n, result in enumerate(results)
    ]
    page = await get(site, f"{path}?limit=2")
    assert [one["stage"] for one in page["items"]] == ["done", "failed"]
    assert page["items"][1] == {
        "position": 1,
        "stage": "failed",
        "generation": 1,
        "attempts": 2,
        "error": {
            "code": "busy",
            "message": "nobody answers",
            "pointer": "",
            "retryable": True,
        },
        "at": "1970-01-01T00:00:01.500000+00:00",
    }
    rest = await get(site, f"{path}?limit=2&cursor={page['next_cursor']}")
    assert [one["position"] for one in rest["items"]] == [2, 3]
    assert rest["next_cursor"] is None
    some = await get(site, f"{path}?stage=conflict&stage=failed")
    assert [one["position"] for one in some["items"]] == [1, 3]
    assert some["items"][1]["error"]["message"] == "orders/7 was shipped by the vendor"
    for wrong in ("?stage=lost", "?limit=0", "?cursor=x", "?page=1"):
        assert (await get(site, path + wrong, status=400))["code"] == "bad_parameter"


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
async def test_an_export_of_an_unknown_job_is_not_found(site: Site, kind: str) -> None:
    await get(site, f"/api/v1/jobs/nobody/items?format={kind}", status=404)


async def test_events_are_paged_as_json(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    path, accept = f"/api/v1/jobs/{job_id}/events", {"Accept": "application/json"}
    first = await get(site, path, params={"limit": 2}, headers=accept)
    assert [event["version"] for event in first["items"]] == [1, 2]
    assert first["items"][0]["event"] == "job.submitted"
    assert first["items"][0]["command_id"] == "test"
    assert first["items"][0]["spec"]["operation"] == "test.double"
    after = first["next_after"]
    rest = await get(site, path, params={"after": after}, headers=accept)
    assert [event["version"] for event in rest["items"]] == [3, 4]
    assert rest["next_after"] is None


async def test_errors_are_grouped(site: Site) -> None:
    job_id = await submitted(site, 5, odd=(2, 3))
    site.engine.work(job_id)
    (group,) = (await get(site, f"/api/v1/jobs/{job_id}/errors"))["items"]
    assert (group["code"], group["count"], len(group["samples"])) == ("odd", 2, 2)


async def test_issues_are_counted(site: Site) -> None:
    job_id = await submitted(site, 5, odd=(2, 3))
    site.engine.work(job_id)
    found = await get(site, f"/api/v1/jobs/{job_id}/issues")
    assert (found["items"], found["rules"], found["score"]) == (5, [], None)


async def test_operations_come_with_their_schemas(site: Site) -> None:
    (operation,) = (await get(site, "/api/v1/operations"))["items"]
    assert operation["kind"] == "test.double"
    assert operation["system"] == "test"
    assert operation["description"] == "Doubles a number."
    assert operation["reversible"] == "before_image"
    assert operation["slow"] is False
    assert operation["item"]["properties"]["n"]["type"] == "integer"
    assert operation["params"]["properties"]["factor"]["default"] == 1


async def test_memory_over_its_budget_is_noted_and_counted(site: Site) -> None:
    over = datetime(2026, 1, 1, tzinfo=UTC)
    site.engine.health_now.notes = ["it has more memory than its budget"]
    assert await get(site, "/health/ready") == {
        "status": "ready",
        "notes": ["it has more memory than its budget"],
    }
    for waits in (3, 5):
        site.engine.health_now.memory = Memory(
            used=512, budget=400, over_since=over, held_since=None, waits=waits, alone=2
        )
        async with site.client.get("/metrics") as response:
            shown = await response.text()
    for line in (
        "countermand_worker_memory_bytes 512.0",
        "countermand_worker_memory_budget_bytes 400.0",
        "countermand_worker_over_memory_budget 1.0",
        "countermand_worker_intake_waits_total 5.0",
        "countermand_worker_taken_over_budget_total 2.0",
    ):
        assert f"{line}\n" in shown


async def test_health_and_metrics(site: Site) -> None:
    assert await get(site, "/health/live") == {"status": "alive"}
    assert await get(site, "/health/ready") == {"status": "ready"}
    site.engine.health_now.ready = False
    site.engine.health_now.waiting = 17
    site.engine.health_now.reasons = ["the coordinator stands still"]
    problem = await get(site, "/health/ready", status=503)
    assert problem["detail"] == "the coordinator stands still"
    async with site.client.get("/metrics") as response:
        text = await response.text()
        assert response.headers["Content-Type"].startswith("text/plain")
    assert "countermand_ready 0.0" in text
    assert "countermand_messages_waiting 17.0" in text
    assert (
        'countermand_http_requests_total{method="GET",route="/health/ready",status="503"} 1.0'
        in text
    )


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"Host": "localhost:8080"}, "the database at db is away"),
        ({"Host": "api.example.org"}, "the engine is not ready; its log says why"),
        ({"Forwarded": "for=192.0.2.1"}, "the engine is not ready; its log says why"),
        ({"X-Forwarded-For": "192.0.2.1"}, "the engine is not ready; its log says why"),
        ({"X-Forwarded-Proto": "https"}, "the engine is not ready; its log says why"),
        ({"X-Real-IP": "192.0.2.1"}, "the engine is not ready; its log says why"),
        ({"Via": "1.1 proxy"}, "the engine is not ready; its log says why"),
    ],
)
async def test_why_it_is_not_ready_is_not_told_through_a_proxy_on_this_machine(
    engine: MemoryEngine, headers: dict[str, str], detail: str
) -> None:
    engine.health_now.ready = False
    engine.health_now.reasons = ["the database at db is away"]
    limits = Limits(hosts=LOOPBACK_HOSTS | {"api.example.org"})

    async with (
        site_of(engine, limits) as site,
        site.client.get("/health/ready", headers=headers) as response,
    ):
        problem = orjson.loads(await response.read())

    assert (response.status, problem["detail"]) == (503, detail)


async def test_the_request_id_is_the_clients_or_a_fresh_one(site: Site) -> None:
    async with site.client.get("/nothing", headers={"X-Request-Id": "mine-1"}) as response:
        assert response.headers["X-Request-Id"] == "mine-1"
        assert orjson.loads(await response.read())["request_id"] == "mine-1"
    async with site.client.get("/nothing", headers={"X-Request-Id": "not mine"}) as response:
        assert response.headers["X-Request-Id"].startswith("request-")


async def test_a_fault_of_ours_tells_nothing(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.fault = RuntimeError("secret: password")
    with capture_logs() as logged:
        async with site.client.get(f"/api/v1/jobs/{job_id}") as response:
            text = await response.text()
            assert response.status == 500
    assert logged[0]["request_id"] == orjson.loads(text)["request_id"]
    assert str(logged[0]["exc_info"]) == "secret: password"
    assert "secret" not in text
    assert "Traceback" not in text
    assert orjson.loads(text)["code"] == "internal"


# -- how fast, and why not faster -----------------------------------------------------------


async def test_caps_and_priority_are_adjusted(site: Site) -> None:
    job_id = await submitted(site)
    path = f"/api/v1/jobs/{job_id}/adjust"
    job = await post(site, path, json={"rate": 50, "concurrency": 4, "reason": "peak"})
    assert job["caps"] == {"rate": 50, "concurrency": 4}
    job = await post(site, path, json={"lift": ["rate"], "priority": 9})
    assert (job["caps"], job["priority"]) == ({"rate": None, "concurrency": 4}, 9)
    assert job["links"]["adjust"] == path


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"rate": 0}, "/rate"),
        ({"rate": -3}, "/rate"),
        ({"rate": "50"}, "/rate"),
        ({"concurrency": 0}, "/concurrency"),
        ({"concurrency": 1.5}, "/concurrency"),
        ({"priority": 11}, "/priority"),
        ({"lift": ["speed"]}, "/lift/0"),
        ({"speed": 3}, "/speed"),
        ({"rate": 3, "lift": ["rate"]}, "/lift"),
        ({}, ""),
    ],
)
async def test_what_cannot_be_adjusted_is_pointed_at(
    site: Site, body: dict[str, Any], pointer: str
) -> None:
    job_id = await submitted(site)
    problem = await post(site, f"/api/v1/jobs/{job_id}/adjust", json=body, status=422)
    assert problem.get("pointer", "") == pointer
    assert (await get(site, f"/api/v1/jobs/{job_id}"))["version"] == 1


async def test_a_job_says_why_it_waits(site: Site) -> None:
    job_id = await submitted(site)
    assert (await get(site, f"/api/v1/jobs/{job_id}"))["waiting"] is None
    site.engine.around = Surroundings(slots=0)
    told = (await get(site, f"/api/v1/jobs/{job_id}"))["waiting"]
    assert (told["reason"], told["text"]) == (
        "no_worker",
        "no worker for test is alive; start one",
    )
    paused = await post(site, f"/api/v1/jobs/{job_id}/pause", json={"reason": "lunch"})
    assert paused["waiting"]["text"] == "it is paused (lunch); resume it"


async def test_limits_that_jobs_share_are_shown_and_changed(site: Site) -> None:
    assert await get(site, "/api/v1/limits") == {"items": []}
    path = "/api/v1/limits/queue:test"
    told = await post(site, path, json={"rate": 10, "concurrency": 4}, status=200)
    assert told == {
        "name": "queue:test",
        "rate": 10,
        "concurrency": 4,
        "calls": 3,
        "jobs": 2,
        "waiting": 1,
        "changed_by": "anna",
        "changed_at": "1970-01-01T00:00:01.500000+00:00",
    }
    lifted = await post(site, path, json={"lift": ["rate"]}, status=200)
    assert (lifted["rate"], lifted["concurrency"]) == (None, 4)
    assert (await get(site, "/api/v1/limits"))["items"] == [lifted]
    for bad in ({}, {"rate": 0}, {"rate": 3, "lift": ["rate"]}, {"lift": ["x"]}, {"speed": 3}):
        await post(site, path, json=bad, status=422)
    problem = await post(site, "/api/v1/limits/provider:nobody", json={"rate": 3}, status=422)
    assert "queue:test" in problem["detail"]


async def test_partitions_and_dead_letters_are_shown_and_sent_again(site: Site) -> None:
    (partition,) = (await get(site, "/api/v1/partitions"))["items"]
    assert (partition["end"], partition["done"], partition["waiting"]) == (9, 7, 2)
    assert await get(site, "/api/v1/letters") == {"items": [], "others": 0}
    group = Group("unreadable", "commands", 3, "no JSON", "key", "0:7")
    site.engine.letters_now = Listed([group], others=1)
    found = await get(site, "/api/v1/letters")
    assert found == {"items": [asdict(group)], "others": 1}
    told = await post(site, "/api/v1/letters/unreadable/redrive", json={}, status=200)
    assert told == {"sent": 3, "left": 0, "more": False}
    await post(site, "/api/v1/letters/unreadable/redrive", json={"limit": 3}, status=422)
    await post(site, "/api/v1/letters/NO-CODE/redrive", json={}, status=404)


async def test_workers_and_shares_are_shown_and_a_share_is_set(site: Site) -> None:
    (worker,) = (await get(site, "/api/v1/workers"))["items"]
    assert (worker["name"], worker["memory_bytes"], worker["cpu_percent"]) == ("w-1", 1 << 20, 50)
    assert worker["memory_budget_bytes"] == 1 << 19
    assert worker["held_since"] == "1970-01-01T00:01:45+00:00"
    async with site.client.post("/api/v1/tenants/shop", json={"weight": 3}) as response:
        assert await response.json() == {"tenant": "shop", "weight": 3}
    found = await get(site, "/api/v1/tenants")
    assert found["items"] == [{"tenant": "shop", "weight": 3}]
    for bad in (0, -1, "3", None):
        async with site.client.post("/api/v1/tenants/shop", json={"weight": bad}) as response:
            assert response.status == 422


async def test_progress_over_time(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}/progress"
    found = (await get(site, path))["items"]
    assert [point["version"] for point in found] == [1, 2, 3, 4]
    assert [point["percent"] for point in found] == [0, 0, 100, 100]
    assert len((await get(site, path, params={"points": "2"}))["items"]) == 2
    for bad in ("1", "1001", "x"):
        assert (await get(site, path, params={"points": bad}, status=400))["code"]
