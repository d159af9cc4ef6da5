"""A server in a thread that answers as the REST contract says, from documents in memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

COUNTED = ("pending", "succeeded", "failed", "skipped", "rolled_back", "conflict")


def counts(**given: int) -> dict[str, int]:
    every = {name: given.get(name, 0) for name in COUNTED}
    return {"total": sum(every.values()), **every}


def job(job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "operation": "notes.create",
        "status": "running",
        "version": 2,
        "name": "",
        "tags": [],
        "priority": 5,
        "params": {},
        "counts": counts(pending=10),
        "percent": 0.0,
        "items_per_second": None,
        "eta_seconds": None,
        "created_at": "2025-06-01T12:00:00+00:00",
        "started_at": "2025-06-01T12:00:00+00:00",
        "finished_at": None,
        "created_by": "local",
        **changes,
    }


def event(version: int, name: str = "job.chunks_closed", **changes: Any) -> dict[str, Any]:
    return {
        "job_id": "job-1",
        "version": version,
        "event": name,
        "at": "2025-06-01T12:00:00+00:00",
        "actor": "local",
        "status": "running",
        "counts": counts(pending=10),
        "percent": 0.0,
        "items_per_second": None,
        "eta_seconds": None,
        **changes,
    }


FINISHED = event(5, "job.finished", status="completed", counts=counts(succeeded=10), percent=100.0)


@dataclass
class Contract:
    """What the server knows, what it was asked, and how it misbehaves."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)
    """Answers by what stands behind the routes of records."""
    differences: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    preview: dict[str, Any] = field(default_factory=dict)
    compensations: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    """What a job that is submitted has beside what all have."""
    reason: str = ""
    """Why a rule of retention was set."""
    next_cursor: str | None = None
    problem: dict[str, Any] | None = None
    problem_headers: dict[str, str] = field(default_factory=dict)
    parts_refused: int = 0
    """The status by which parts of a draft are refused."""
    answer: tuple[str, str] | None = None
    """Media type and text that everybody is answered, as by something else than Countermand."""
    busy: bool = False
    """Whether everybody is told to come later, once no more answers are to be lost."""
    elsewhere: str = ""
    """Where everybody is sent on to."""
    lost: int = 0
    """Answers to a POST that are cut, though what was asked for is done."""
    done: list[str] = field(default_factory=list)
    """Verbs that took effect; said again with its key, one does not."""
    known: set[tuple[str, str, str]] = field(default_factory=set)
    drop_after: int | None = None
    """Events of a stream after which its connection is cut, without a good-bye."""
    outage: int = 0
    """Streams that are answered with ``outage_status`` first."""
    outage_status: int = 503
    cuts: int = 0
    """Streams that are cut first, before they have brought anything."""
    after_stream: Callable[[], None] = lambda: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def resumed_from(self) -> list[str]:
        return [seen["Last-Event-ID"] for seen in self.headers if "Last-Event-ID" in seen]


@web.middleware
async def _recorded(request: web.Request, handler: Any) -> web.StreamResponse:
    contract: Contract = request.app[CONTRACT]
    contract.requests.append((request.method, request.path_qs))
    contract.headers.append(dict(request.headers))
    contract.bodies.append(await request.read())
    if contract.elsewhere:
        raise web.HTTPFound(contract.elsewhere)
    if contract.answer is not None:
        kind, text = contract.answer
        return web.Response(text=text, content_type=kind)
    if contract.busy and not contract.lost:
        return web.json_response({"title": "not now"}, status=429)
    if contract.problem is not None:
        return web.json_response(
            contract.problem,
            status=contract.problem["status"],
            headers=contract.problem_headers,
            content_type="application/problem+json",
        )
    answer: web.StreamResponse = await handler(request)
    if request.method == "POST" and contract.lost and request.transport is not None:
        contract.lost -= 1
        request.transport.close()
    return answer


CONTRACT = web.AppKey("contract", Contract)


async def _jobs(request: web.Request) -> web.Response:
    contract = request.app[CONTRACT]
    page = {"items": list(contract.jobs.values()), "next_cursor": contract.next_cursor}
    return web.json_response(page)


async def _submit(request: web.Request) -> web.Response:
    more = request.app[CONTRACT].made
    operation = request.query.get("operation") or (await request.json())["operation"]
    made = job(**{"operation": operation, "status": "pending", "version": 1, **more})
    request.app[CONTRACT].jobs[made["job_id"]] = made
    return web.json_response(made, status=202)


async def _batch(request: web.Request) -> web.Response:
    step = {"name": "load", "job_id": "job-1-1", "operation": "notes.load", "status": "running"}
    step |= {"counts": counts(pending=2), "after": ["first"], "savepoint": None}
    made = job(operation="batch.steps", status="running", version=2, steps=[step])
    request.app[CONTRACT].jobs[made["job_id"]] = made
    return web.json_response(made, status=202)


async def _job(request: web.Request) -> web.Response:
    found = request.app[CONTRACT].jobs.get(request.match_info["job"])
    if found is None:
        detail = "there is no such job; `countermand jobs` lists them"
        body = {"status": 404, "title": "Not Found", "detail": detail, "code": "job_not_found"}
        return web.json_response(body, status=404)
    return web.json_response(found)


async def _command(request: web.Request) -> web.Response:
    contract, verb = request.app[CONTRACT], request.match_info["verb"]
    document = contract.jobs[request.match_info["job"]]
    said = (document["job_id"], verb, request.headers.get("Idempotency-Key", ""))
    if not said[2] or said not in contract.known:
        contract.done.append(verb)
    contract.known.add(said)
    status = {"pause": "paused", "cancel": "cancelled", "undo": "rolling_back"}
    return web.json_response({**document, "status": status.get(verb, "running")})


async def _part(request: web.Request) -> web.Response:
    refusal = request.app[CONTRACT].parts_refused
    if refusal:
        return web.json_response({"title": "the part is refused"}, status=refusal)
    return web.json_response({"job_id": request.match_info["job"], "version": 3}, status=202)


async def _items(request: web.Request) -> web.Response:
    items = request.app[CONTRACT].items
    wanted = [i for i in items if request.query.get("status") in (None, i["status"])]
    wanted = wanted[: int(request.query.get("limit", len(wanted)))]
    if request.headers["Accept"] == "text/csv":
        text = "".join(f"{item['position']},{item['status']}\r\n" for item in wanted)
        return web.Response(text=f"position,status\r\n{text}", content_type="text/csv")
    lines = "".join(json.dumps(item) + "\n" for item in wanted)
    return web.Response(text=lines, content_type="application/x-ndjson")


async def _events(request: web.Request) -> web.StreamResponse:
    contract = request.app[CONTRACT]
    if request.headers["Accept"] == "application/json":
        after, limit = int(request.query["after"]), int(request.query["limit"])
        page = [stored for stored in contract.events if stored["version"] > after][:limit]
        return web.json_response({"items": page})
    if contract.outage > 0:
        contract.outage -= 1
        return web.json_response(
            {"title": "not now"}, status=contract.outage_status, headers=contract.problem_headers
        )
    return await _stream(request, contract, int(request.headers["Last-Event-ID"]))


async def _stream(request: web.Request, contract: Contract, last: int) -> web.StreamResponse:
    left = [stored for stored in contract.events if stored["version"] > last]
    if not left:
        return web.Response(status=204)
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b"retry: 1000\n\n: still here\n\n")
    if contract.cuts > 0 and request.transport is not None:
        contract.cuts -= 1
        request.transport.close()
        return answer
    for sent, stored in enumerate(left):
        if sent == contract.drop_after and request.transport is not None:
            request.transport.close()
            return answer
        await answer.write(b"event: progress\ndata: %b\n\n" % json.dumps(stored).encode())
        head = f"event: {stored['event']}\nid: {stored['version']}\n"
        await answer.write(f"{head}data: {json.dumps(stored)}\n\n".encode())
    contract.after_stream()
    return answer


async def _plan(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTRACT].plan)


async def _errors(request: web.Request) -> web.Response:
    return web.json_response({"items": request.app[CONTRACT].groups})


async def _diff(request: web.Request) -> web.Response:
    found = request.app[CONTRACT].differences
    found = found[: int(request.query.get("limit", len(found)))]
    lines = "".join(json.dumps(one) + "\n" for one in found)
    return web.Response(text=lines, content_type="application/x-ndjson")


async def _summary(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTRACT].summary)


async def _record(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTRACT].records[request.match_info["part"]])


async def _preview(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTRACT].preview)


async def _compensations(request: web.Request) -> web.Response:
    return web.json_response(request.app[CONTRACT].compensations)


async def _operations(request: web.Request) -> web.Response:
    return web.json_response({"items": request.app[CONTRACT].operations})


async def _workers(_request: web.Request) -> web.Response:
    worker = {
        "name": "worker-1",
        "systems": ["notes"],
        "slots": 2,
        "host": "here",
        "process": 7,
        "memory_bytes": 12 << 20,
        "memory_budget_bytes": 10 << 20,
        "held_since": "2026-01-01T00:00:00+00:00",
        "cpu_seconds": 5.0,
        "cpu_percent": 50.0,
        "alive_seconds": 10.0,
    }
    return web.json_response({"items": [worker]})


async def _weights(_request: web.Request) -> web.Response:
    return web.json_response({"items": [{"tenant": "shop", "weight": 3}]})


async def _weigh(request: web.Request) -> web.Response:
    return web.json_response({"tenant": request.match_info["tenant"], **await request.json()})


KEY = {
    "key_id": "0" * 32,
    "name": "importer",
    "roles": ["submit", "view"],
    "created_at": "2026-01-01T00:00:00+00:00",
    "created_by": "ada",
    "expires_at": None,
    "rotated_at": None,
    "last_used_at": None,
    "revoked_at": None,
}
SHOWN = {**KEY, "key": "cmk_" + "0" * 32 + "_" + "1" * 64}


async def _keys(request: web.Request) -> web.Response:
    if request.method == "POST":
        return web.json_response(SHOWN, status=201)
    last = request.query.get("cursor") == "more"
    return web.json_response({"items": [KEY], "next_cursor": None if last else "more"})


async def _key(request: web.Request) -> web.Response:
    return web.json_response(SHOWN if request.match_info["verb"] == "rotate" else KEY)


_RULE = {"tenant": "*", "kind": "notes.*", "shred_after": 7776000.0, "archive_after": None}


async def _rules(_request: web.Request) -> web.Response:
    set_by = {"changed_at": "2026-01-01T00:00:00Z", "changed_by": "grace"}
    return web.json_response({"items": [_RULE | set_by]})


async def _set_rule(request: web.Request) -> web.Response:
    said = {"shred_after": None, "archive_after": None, **await request.json()}
    return web.json_response(said)


async def _remove_rule(request: web.Request) -> web.Response:
    return web.json_response({**request.match_info, "removed": True})


async def _rule_changes(request: web.Request) -> web.Response:
    told = {"number": 1, "action": "set", "actor": "grace", "at": "2026-01-01"}
    told |= {"reason": request.app[CONTRACT].reason}
    return web.json_response({"items": [_RULE | told], "next_cursor": None})


async def _limits(_request: web.Request) -> web.Response:
    return web.json_response({"items": [_LIMIT]})


async def _limit(request: web.Request) -> web.Response:
    return web.json_response({**_LIMIT, "name": request.match_info["name"]})


_LIMIT = {
    "name": "provider:openai",
    "rate": 10.0,
    "concurrency": 4,
    "calls": 3,
    "jobs": 2,
    "waiting": 1,
    "changed_by": None,
    "changed_at": "2026-01-01T00:00:00+00:00",
}


async def _ready(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ready"})


def _application(contract: Contract) -> web.Application:
    application = web.Application(middlewares=[_recorded], client_max_size=1 << 30)
    application[CONTRACT] = contract
    application.router.add_get("/health/ready", _ready)
    application.router.add_get("/api/v1/workers", _workers)
    application.router.add_get("/api/v1/limits", _limits)
    application.router.add_post("/api/v1/limits/{name}", _limit)
    application.router.add_get("/api/v1/tenants", _weights)
    application.router.add_post("/api/v1/tenants/{tenant}", _weigh)
    application.router.add_get("/api/v1/keys", _keys)
    application.router.add_post("/api/v1/keys", _keys)
    application.router.add_post("/api/v1/keys/{key}/{verb}", _key)
    application.router.add_get("/api/v1/retention", _rules)
    application.router.add_post("/api/v1/retention", _set_rule)
    application.router.add_delete("/api/v1/retention/{tenant}/{kind}", _remove_rule)
    application.router.add_get("/api/v1/retention/changes", _rule_changes)
    application.router.add_get("/api/v1/jobs", _jobs)
    application.router.add_post("/api/v1/jobs", _submit)
    application.router.add_post("/api/v1/batches", _batch)
    application.router.add_get("/api/v1/operations", _operations)
    application.router.add_get("/api/v1/records/{table}/{id}/{part}", _record)
    application.router.add_get("/api/v1/jobs/{job}/diff/{other}", _diff)
    application.router.add_get("/api/v1/jobs/{job}/diff/{other}/summary", _summary)
    application.router.add_get("/api/v1/jobs/{job}", _job)
    application.router.add_get("/api/v1/jobs/{job}/items", _items)
    application.router.add_post("/api/v1/jobs/{job}/items", _part)
    application.router.add_get("/api/v1/jobs/{job}/events", _events)
    application.router.add_get("/api/v1/jobs/{job}/errors", _errors)
    application.router.add_get("/api/v1/jobs/{job}/undo-preview", _preview)
    application.router.add_get("/api/v1/jobs/{job}/compensations", _compensations)
    application.router.add_get("/api/v1/jobs/{job}/plan", _plan)
    application.router.add_post("/api/v1/jobs/{job}/{verb}", _command)
    return application


async def _serve(
    contract: Contract, ready: threading.Event, stop: Callable[[], asyncio.Event]
) -> None:
    runner = web.AppRunner(_application(contract), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    contract.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    stopped = stop()
    ready.set()
    await stopped.wait()
    await runner.cleanup()


@contextmanager
def serving() -> Iterator[Contract]:
    """A contract server that runs until the scope is left."""
    contract, ready = Contract(), threading.Event()
    handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def stop() -> asyncio.Event:
        handles.append((asyncio.get_running_loop(), asyncio.Event()))
        return handles[0][1]

    thread = threading.Thread(target=lambda: asyncio.run(_serve(contract, ready, stop)))
    thread.start()
    assert ready.wait(10)
    try:
        yield contract
    finally:
        loop, stopped = handles[0]
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
