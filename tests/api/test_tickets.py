"""Tickets over HTTP: what a browser's EventSource opens, and what nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.conftest import Site
from tests.api.proofs import bearer, carrying
from tests.api.test_identity import KEYS, answered, closed
from tests.api.test_security import ask
from tests.databases import sqlite_database

__all__ = ["closed", "sqlite_database"]

JOBS = "/api/v1/jobs"
SSE = {"Accept": "text/event-stream"}
ADA = bearer("acme", "editor")


async def _job(site: Site, **headers: str) -> str:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    _, job, _ = await answered(site, "POST", JOBS, json=body, headers=headers or ADA)
    return str(job["job_id"])


async def _ticket(site: Site, job_id: str, headers: dict[str, str] | None = None) -> Any:
    status, made, _ = await answered(
        site, "POST", f"{JOBS}/{job_id}/ticket", headers=headers or ADA
    )
    assert status == 201, made
    return made


async def test_a_ticket_opens_a_stream_without_a_header_once(closed: Site) -> None:
    job_id = await _job(closed)
    address = (await _ticket(closed, job_id))["links"]["events"]
    closed.engine.work(job_id)
    async with asyncio.timeout(10), closed.client.get(address, headers=SSE) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert b"event: job.finished" in await response.read()
    status, problem = await ask(closed, "GET", address, headers=SSE)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert "the ticket is over, was used, or is for another stream" in problem["detail"]


async def test_it_goes_on_where_one_stopped(closed: Site) -> None:
    job_id = await _job(closed)
    closed.engine.work(job_id)
    address = (await _ticket(closed, job_id))["links"]["events"]
    last = len(closed.engine.events_of[job_id])
    status, _ = await ask(closed, "GET", f"{address}&last_event_id={last}", headers=SSE)
    assert status == 204


async def test_a_ticket_opens_nothing_else(closed: Site) -> None:
    job_id, other = await _job(closed), await _job(closed)
    ticket = (await _ticket(closed, job_id))["ticket"]
    for method, path in (
        ("GET", f"{JOBS}/{job_id}"),
        ("GET", f"{JOBS}/{job_id}/items"),
        ("GET", f"{JOBS}/{other}/events"),
        ("POST", f"{JOBS}/{job_id}/pause"),
        ("GET", "/api/v1/me"),
    ):
        assert (await ask(closed, method, f"{path}?ticket={ticket}"))[0] == 401, path
    assert (await ask(closed, "GET", "/api/v1/me", headers=carrying(ticket)))[0] == 401
    twice = f"{JOBS}/{job_id}/events?ticket={ticket}&ticket={ticket}"
    assert (await ask(closed, "GET", twice, headers=SSE))[0] == 401
    closed.engine.work(job_id)
    once = f"{JOBS}/{job_id}/events?ticket={ticket}"
    assert (await ask(closed, "GET", once, headers=SSE))[0] == 200, "it was not used up by others"


async def test_a_key_that_was_revoked_leaves_no_tickets(closed: Site) -> None:
    admin = bearer("acme", "admin")
    body = {"name": "importer", "roles": ["editor"]}
    _, key, _ = await answered(closed, "POST", KEYS, json=body, headers=admin)
    job_id = await _job(closed, **carrying(key["key"]))
    address = (await _ticket(closed, job_id, carrying(key["key"])))["links"]["events"]
    await answered(closed, "POST", f"{KEYS}/{key['key_id']}/revoke", headers=admin)
    assert (await ask(closed, "GET", address, headers=SSE))[0] == 401


async def test_a_stream_by_ticket_ends_with_its_owners_key(closed: Site) -> None:
    admin = bearer("acme", "admin")
    body = {"name": "importer", "roles": ["editor"]}
    _, key, _ = await answered(closed, "POST", KEYS, json=body, headers=admin)
    job_id = await _job(closed, **carrying(key["key"]))
    address = (await _ticket(closed, job_id, carrying(key["key"])))["links"]["events"]
    async with asyncio.timeout(10), closed.client.get(address, headers=SSE) as response:
        await response.content.readuntil(b": still here\n\n")
        await answered(closed, "POST", f"{KEYS}/{key['key_id']}/revoke", headers=admin)
        await response.read()


async def test_where_nobody_is_asked_streams_need_no_ticket(site: Site) -> None:
    job_id = await _job(site, **{"X-Nobody": "asks"})
    status, problem, _ = await answered(site, "POST", f"{JOBS}/{job_id}/ticket")
    assert (status, problem["code"]) == (409, "tickets_not_asked_for")
