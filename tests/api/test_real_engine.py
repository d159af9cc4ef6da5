"""The edge over the real engine: from a request to the record and back.

All of it holds for an engine in one part on SQLite, and for one in its parts over Kafka and
PostgreSQL. Tests share one, so none may expect it to be empty.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.api.engines import in_its_parts, in_one_part
from tests.api.reading import ids, live
from tests.api.shop import SSE, WAIT, Shop
from tests.api.talking import WS, Talk
from tests.engine.stock import operations
from tests.services.kafka import running_kafka
from tests.services.postgres import PostgresServer
from tests.services.switch import need

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        "in one part",
        pytest.param("in its parts", marks=pytest.mark.service("kafka", "postgresql")),
    ],
)
async def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    async with AsyncExitStack() as stack:
        if request.param == "in one part":
            start = in_one_part(folder)
        else:
            need("kafka")
            postgres: PostgresServer = request.getfixturevalue("postgres_process")
            with postgres.connect() as connection:
                connection.execute("CREATE DATABASE shop TEMPLATE template0")
            kafka = stack.enter_context(running_kafka())
            start = await in_its_parts(folder, postgres.url("shop"), kafka)
        yield await stack.enter_async_context(Shop(start))


async def test_one_item_from_post_to_the_last_event(shop: Shop) -> None:
    job = await shop.create(1, name="one", tags=["t"])
    events = await shop.watched(job)
    stored = [event for event in events if event.id is not None]
    assert ids(stored) == list(range(1, len(stored) + 1))
    assert stored[0].name == "job.submitted"
    assert stored[-1].data["status"] == "completed"
    assert stored[-1].data["counts"]["succeeded"] == 1
    async with shop.client.get(
        job["links"]["events"], headers={**SSE, "Last-Event-ID": str(stored[-1].id)}
    ) as response:
        assert response.status == 204
    then = await shop.get(job["links"]["self"], params={"at": 1})
    assert (then["status"], then["counts"]["pending"]) == ("pending", 1)


async def test_whoever_follows_what_was_just_submitted_is_shown_it_from_memory(shop: Shop) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    options = {"start_at": tomorrow}
    body = {"operation": "stock.create", "items": [{"name": "later"}], "options": options}
    job = await shop.post("/api/v1/jobs", json=body)
    begun = shop.engine.hub.beginning("local", job["job_id"])
    assert [event.originator_version for event in begun] == list(range(1, job["version"] + 1))
    await shop.post(job["links"]["cancel"])


async def test_streamed_items_come_back_as_they_were_sent(shop: Shop) -> None:
    items = [{"name": f"thing {n}", "amount": n} for n in range(5000)]

    async def blocks() -> AsyncIterator[bytes]:
        text = b"\n".join(map(orjson.dumps, items))
        for first in range(0, len(text), 7001):
            yield text[first : first + 7001]

    query = {"operation": "stock.create"}
    job = await shop.post("/api/v1/jobs", params=query, data=blocks(), headers=NDJSON)
    assert (await shop.settled(job))["counts"]["succeeded"] == 5000
    path = job["links"]["items"]
    async with shop.client.get(path, params={"format": "ndjson", "include": "item"}) as response:
        rows = [orjson.loads(line) for line in (await response.read()).splitlines()]
    assert [row["item"] for row in rows] == items
    assert {row["status"] for row in rows} == {"succeeded"}
    async with shop.client.get(path, params={"format": "csv"}) as response:
        table = list(csv.DictReader(io.StringIO(await response.text(), newline="")))
    assert [int(row["position"]) for row in table] == list(range(5000))


async def test_wrong_items_fail_alone_and_are_grouped(shop: Shop) -> None:
    lines = b'{"name":"a"}\nno json\n{"nome":"b"}\n{"name":"!"}\n{"name":"c"}\n'
    query = {"operation": "stock.create"}
    job = await shop.post("/api/v1/jobs", params=query, data=lines, headers=NDJSON)
    done = await shop.settled(job)
    assert done["status"] == "completed_with_errors"
    assert (done["counts"]["succeeded"], done["counts"]["failed"]) == (2, 3)
    failed = await shop.get(job["links"]["items"], params={"status": "failed", "include": "item"})
    assert [item["position"] for item in failed["items"]] == [1, 2, 3]
    assert failed["items"][0]["item"] == "no json"
    assert all(item["error"]["code"] for item in failed["items"])
    groups = (await shop.get(job["links"]["errors"]))["items"]
    assert sum(group["count"] for group in groups) == 3


async def test_a_job_in_parts(shop: Shop) -> None:
    body = {"operation": "stock.create", "draft": True}
    draft = await shop.post("/api/v1/jobs", json=body)
    for part in (0, 1, 1):  # a part that is sent again counts once
        items = [{"name": f"{part} {n}"} for n in range(10)]
        await shop.post(draft["links"]["append"], params={"part": part}, json=items)
    problem = await shop.post(draft["links"]["seal"], status=422, json={"items": 30})
    assert problem["code"] == "invalid"
    await shop.post(draft["links"]["seal"], json={"items": 20})
    assert (await shop.settled(draft))["counts"]["succeeded"] == 20


async def test_jobs_behind_others(shop: Shop) -> None:
    items = [{"number": n} for n in range(10)]
    first = await shop.post("/api/v1/jobs", json={"operation": "stock.send", "items": items})
    after = [{"job_id": first["job_id"], "consume": {"number": "sent"}}]
    body = {"operation": "stock.send", "options": {"after": after}}
    second = await shop.post("/api/v1/jobs", json=body)
    assert "append" not in second["links"]
    assert (await shop.settled(second))["counts"]["succeeded"] == 10
    problem = await shop.post("/api/v1/jobs", status=422, json={**body, "items": items})
    assert problem["pointer"] == "/items"
    after[0]["job_id"] = "nobody"
    problem = await shop.post("/api/v1/jobs", status=422, json=body)
    assert problem["pointer"] == "/options/after/0/job_id"


def _batch(**changes: Any) -> dict[str, Any]:
    things = [{"name": f"thing {n}"} for n in range(5)]
    steps = [
        {"name": "make", "operation": "stock.create", "items": things, "savepoint": "made"},
        {"name": "more", "operation": "stock.create", "items": things, "after": ["make"]},
        {
            "name": "send",
            "operation": "stock.send",
            "after": [{"step": "more", "consume": {"number": "id"}}],
        },
    ]
    steps[1] |= changes
    return {"name": "Spring", "tags": ["spring"], "steps": steps}


async def test_a_batch_is_one_job_with_steps(shop: Shop) -> None:
    headers = {"Idempotency-Key": "a batch"}
    batch = await shop.post("/api/v1/batches", json=_batch(), headers=headers)
    again = await shop.post("/api/v1/batches", json=_batch(), headers=headers)
    assert again["job_id"] == batch["job_id"]
    done = await shop.settled(batch)
    assert (done["status"], done["counts"]["succeeded"]) == ("completed", 15)
    assert [step["name"] for step in done["steps"]] == ["make", "more", "send"]
    first = await shop.get(f"/api/v1/jobs/{done['steps'][0]['job_id']}")
    assert (first["parent"], first["tags"]) == (batch["job_id"], ["spring"])
    problem = await shop.get(f"/api/v1/jobs/{batch['job_id']}/items", status=422)
    assert "ask for those of its steps" in problem["detail"]
    undone = await shop.post(done["links"]["undo"], json={"to": "made", "reason": "mistake"})
    assert undone["status"] == "rolling_back"
    done = await shop.settled(batch, after=undone["version"])
    assert [step["status"] for step in done["steps"]] == ["completed", "rolled_back", "rolled_back"]
    problem = await shop.post(first["links"]["undo"], status=422, json={"to": "made"})
    assert problem["pointer"] == "/to"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"after": ["nothing"]}, "/steps/1/after/0"),
        ({"after": ["send"]}, "/steps"),
        ({"after": [{"step": "make", "end": "soon"}]}, "/steps/1/after/0"),
        ({"operation": "no.such"}, "/steps/1/operation"),
        ({"items": []}, "/steps/1/items"),
        ({"items": 7}, "/steps/1/items"),
        ({"name": "a b"}, "/steps/1/name"),
        ({"colour": "red"}, "/steps/1/colour"),
        ({"options": {"chunk_size": 0}}, "/steps/1/options/chunk_size"),
        ({"priority": 11}, "/steps/1/priority"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused_where_it_stands(
    shop: Shop, changes: dict[str, Any], pointer: str
) -> None:
    before = await shop.jobs()
    problem = await shop.post("/api/v1/batches", status=422, json=_batch(**changes))
    assert problem["pointer"].startswith(pointer)
    assert await shop.jobs() == before


@pytest.mark.parametrize(("field", "value"), [("steps", []), ("steps", {}), ("operation", "a.b")])
async def test_a_batch_has_steps_and_nothing_else(shop: Shop, field: str, value: Any) -> None:
    problem = await shop.post("/api/v1/batches", status=422, json=_batch() | {field: value})
    assert problem["pointer"] == f"/{field}"


@pytest.mark.parametrize(("field", "value"), [("steps", [{"name": "a"}]), ("parent", "job-1")])
async def test_a_job_does_not_say_that_it_belongs_to_a_batch(
    shop: Shop, field: str, value: Any
) -> None:
    body = {"operation": "stock.create", "items": [{"name": "x"}], field: value}
    problem = await shop.post("/api/v1/jobs", status=422, json=body)
    assert problem["pointer"].startswith(f"/{field}")


async def test_the_same_key_makes_one_job_and_another_body_is_a_conflict(shop: Shop) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"operation": "stock.create", "items": [{"name": "a"}]}
    jobs = await asyncio.gather(
        *(shop.post("/api/v1/jobs", json=body, headers=headers) for _ in range(5))
    )
    assert len({job["job_id"] for job in jobs}) == 1
    other = {**body, "items": [{"name": "b"}]}
    problem = await shop.post("/api/v1/jobs", status=409, json=other, headers=headers)
    assert problem["code"] == "idempotency_conflict"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"operation": "nobody.knows", "items": [1]}, 422, "unknown_operation"),
        ({"operation": "stock.create", "items": []}, 422, "invalid"),
        ({"operation": "stock.create", "params": {"x": 1}, "items": [1]}, 422, "invalid"),
    ],
)
async def test_a_refused_job_leaves_nothing(
    shop: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    before = await shop.jobs()
    problem = await shop.post("/api/v1/jobs", status=status, json=body)
    assert problem["code"] == code
    assert await shop.jobs() == before


async def test_a_client_that_vanishes_while_it_sends_starts_nothing(shop: Shop) -> None:
    before = await shop.jobs()
    _, writer = await asyncio.open_connection("127.0.0.1", shop.port)
    writer.write(
        b"POST /api/v1/jobs?operation=stock.create HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    block = b'{"name":"x"}\n' * 5000
    for _ in range(10):
        writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        await writer.drain()
    writer.transport.abort()
    # A job that came later is worked; by then the torn one would have been seen.
    last = await shop.create(1)
    await shop.settled(last)
    assert await shop.jobs() == before | {last["job_id"]}


async def test_undo_and_commands_in_the_wrong_state(shop: Shop) -> None:
    job = await shop.create(3)
    done = await shop.settled(job)
    problem = await shop.post(f"{job['links']['self']}/resume", status=409)
    assert problem["code"] == "wrong_state"
    path = f"{job['links']['self']}/undo-preview"
    foreseen = await shop.get(path, params={"limit": 2})
    assert foreseen == {
        "job_id": job["job_id"],
        "version": done["version"],
        "direction": "rollback",
        "exact": True,
        "items": 3,
        "restored": 3,
        "conflict": 0,
        "failed": 0,
        "outside": [],
        "compensated": 0,
        "compensations": [],
        "obstructions": [],
        "next_cursor": None,
    }
    undoing = await shop.post(done["links"]["undo"], json={"reason": "a mistake"})
    back = await shop.settled(job, done["version"])
    assert undoing["version"] > done["version"]
    assert (back["status"], back["counts"]["rolled_back"]) == ("rolled_back", 3)
    assert ids(await shop.watched(job)) == list(range(1, back["version"] + 1))


async def test_the_list_catches_up(shop: Shop) -> None:
    job = await shop.create(2, name="findable", tags=["x"])
    await shop.settled(job)
    query = {"status": "completed", "tag": "x", "q": "FINDABLE", "sort": "-created_at"}
    async with asyncio.timeout(WAIT):
        while not (page := await shop.get("/api/v1/jobs", params=query))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert [item["job_id"] for item in page["items"]] == [job["job_id"]]
    assert page["items"][0]["counts"] == (await shop.get(job["links"]["self"]))["counts"]
    for wrong in ({"cursor": "nonsense"}, {"sort": "sqlite_master"}):
        await shop.get("/api/v1/jobs", status=400, params=wrong)


async def test_slow_items_show_progress_that_has_no_id(shop: Shop) -> None:
    items = [{"number": n} for n in range(20)]
    job = await shop.post("/api/v1/jobs", json={"operation": "stock.wait", "items": items})
    events = await shop.watched(job)
    assert events[-1].data["counts"]["succeeded"] == 20
    versions = ids(events)
    assert versions == list(range(1, len(versions) + 1))
    assert all(event.id is None for event in events if event.name == "progress")


async def test_a_stream_goes_on_where_it_was_after_the_server_was_restarted(shop: Shop) -> None:
    versions: list[int] = []
    job = await shop.create(3000, options={"chunk_size": 50})
    async with shop.client.get(job["links"]["events"], headers=SSE) as response:
        async for event in live(response):
            versions += ids([event])
            if len(versions) >= 5:
                break
    await shop.close()
    await shop.open()
    versions += ids(await shop.watched(job, versions[-1]))
    done = await shop.get(job["links"]["self"])
    assert done["counts"]["succeeded"] == 3000
    assert versions == list(range(1, done["version"] + 1))


async def test_health_operations_and_metrics(shop: Shop) -> None:
    assert await shop.get("/health/ready") == {"status": "ready"}
    kinds = [operation["kind"] for operation in (await shop.get("/api/v1/operations"))["items"]]
    assert kinds == sorted(operation.kind for operation in operations)
    async with shop.client.get("/metrics") as response:
        assert "countermand_ready 1.0" in await response.text()


async def test_all_jobs_are_followed_and_no_event_is_seen_twice(shop: Shop) -> None:
    events = "/api/v1/events"
    async with asyncio.timeout(WAIT), shop.client.get(events, headers=SSE) as response:
        following = live(response)
        begun = (await anext(following)).id
        jobs = [await shop.create(20, tags=["followed", f"n {n}"]) for n in range(2)]
        left = {job["job_id"] for job in jobs}
        seen = []
        while left:
            seen.append(await anext(following))
            if seen[-1].data["status"] == "completed":
                left.discard(seen[-1].data["job_id"])
    for job in jobs:
        own = [event for event in seen if event.data["job_id"] == job["job_id"] and event.id]
        assert [event.data["version"] for event in own] == list(range(1, len(own) + 1))
        assert [event.data for event in own] == [
            event.data for event in await shop.watched(job) if event.id
        ]
    query = {"after": begun, "tag": "n 1", "limit": 500}
    page = await shop.get(events, params=query, headers={"Accept": "application/json"})
    assert [item["position"] for item in page["items"]] == [
        event.id for event in seen if event.data["job_id"] == jobs[1]["job_id"] and event.id
    ]
    assert ids(seen) == sorted(set(ids(seen)))
    headers = {**SSE, "Last-Event-ID": str(seen[0].id)}
    query = {"tag": "followed"}
    async with (
        asyncio.timeout(WAIT),
        shop.client.get(events, params=query, headers=headers) as response,
    ):
        following = live(response)
        await anext(following)
        again = [await anext(following) for _ in seen[1:]]
    assert ids(again) == ids(seen)[1:]


async def test_a_websocket_follows_jobs_and_hears_what_administrators_say(shop: Shop) -> None:
    url = f"http://127.0.0.1:{shop.port}{WS}"
    async with (
        asyncio.timeout(WAIT),
        shop.client.ws_connect(url) as first,
        shop.client.ws_connect(url) as second,
    ):
        one, other = Talk(first), Talk(second)
        for each in (one, other):
            await each.expect("authenticated")
        await one.followed(tag="spoken of")
        job = await shop.create(5, tags=["spoken of"])
        await shop.settled(job)
        await shop.create(5)
        kind, heard = "", []
        while kind != "completion":
            kind, data = await one.hear()
            heard.append(data)
        assert {data["job_id"] for data in heard} == {job["job_id"]}
        assert heard[-1]["counts"]["succeeded"] == 5
        began = await other.followed(job_id=job["job_id"], after=0)
        stored = [data for data in heard if data["position"]]
        assert began["version"] == len(stored)
        assert await other.happened(len(stored)) == stored
        await one.say("broadcast", text="ä" * 1000)
        assert await one.expect("broadcast") == await other.expect("broadcast")


async def test_who_would_rather_wait_is_answered_with_the_job_at_rest(shop: Shop) -> None:
    body = {"operation": "stock.create", "items": [{"name": "waited for", "amount": 1}]}
    async with shop.client.post("/api/v1/jobs", json=body, headers={"Prefer": "wait=20"}) as told:
        job = orjson.loads(await told.read())
        assert (told.status, told.headers["Preference-Applied"]) == (200, "wait=20")
        assert told.headers["Location"] == job["links"]["self"]
    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 1)


async def test_an_undo_of_what_was_seen_is_refused_once_the_job_has_gone_on(shop: Shop) -> None:
    """The coordinator decides, in the transaction of the command."""
    job = await shop.settled(await shop.create(2))
    path, seen = job["links"]["undo"], f'"{job["version"]}"'
    undone = await shop.post(path, json={"items": [0]}, headers={"If-Match": seen})
    await shop.settled(undone)
    problem = await shop.post(path, json={}, headers={"If-Match": seen}, status=412)
    assert problem["code"] == "version_mismatch"
    assert (await shop.get(job["links"]["self"]))["counts"]["succeeded"] == 1


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"sort": "colour"}])
async def test_what_no_page_has_is_a_bad_parameter(shop: Shop, query: dict[str, str]) -> None:
    problem = await shop.get("/api/v1/jobs", params=query, status=400)
    (name,) = query
    assert (problem["code"], problem["pointer"]) == ("bad_parameter", f"/{name}")
