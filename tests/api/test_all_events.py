"""All events of a tenant over a real socket: streamed, paged, waited for, let in by tickets."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import orjson
import pytest

from api.limits import Limits
from api.log_feed import OPENED
from streams.quotas import Quotas, QuotaTable
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.proofs import bearer, carrying
from tests.api.reading import ids, live
from tests.api.test_identity import answered, closed
from tests.api.test_live import metric
from tests.api.test_security import ask
from tests.databases import sqlite_database

__all__ = ["closed", "sqlite_database"]

EVENTS, JOBS = "/api/v1/events", "/api/v1/jobs"
SSE, JSON = {"Accept": "text/event-stream"}, {"Accept": "application/json"}
ADA, EVE = bearer("acme", "editor"), bearer("other", "editor", actor="eve")


async def submitted(site: Site, *tags: str, headers: dict[str, str] | None = None) -> str:
    body = {"operation": "test.double", "items": [{"n": 1}], "tags": tags}
    _, job, _ = await answered(site, "POST", JOBS, json=body, headers=headers)
    return str(job["job_id"])


async def paged(site: Site, status: int = 200, **query: Any) -> Any:
    found, document, _ = await answered(site, "GET", EVENTS, params=query, headers=JSON)
    assert found == status, document
    return document


async def test_a_stream_goes_on_behind_the_last_id_at_whatever_process(site: Site) -> None:
    async with site.client.get(EVENTS, headers=SSE) as response:
        assert response.content_type == "text/event-stream"
        events = live(response)
        assert (await anext(events)).name == OPENED
        first = await submitted(site)
        seen = [await anext(events)]
    second = await submitted(site, "red")
    site.engine.work(first)
    stored = len(site.engine.tail.logged)
    headers = {**SSE, "Last-Event-ID": str(seen[-1].id)}
    async with site.client.get(EVENTS, headers=headers) as response:
        events = live(response)
        assert (await anext(events)).id == seen[-1].id
        seen += [await anext(events) for _ in range(stored - 1)]
        site.engine.work(second)
        seen.append(await anext(events))
    assert ids(seen) == [one.position for one in site.engine.tail.logged][: len(seen)]
    assert {event.data["job_id"] for event in seen} == {first, second}


async def test_a_tag_is_followed(site: Site) -> None:
    async with site.client.get(EVENTS, params={"tag": ["red", "green"]}, headers=SSE) as response:
        events = live(response)
        await anext(events)
        await submitted(site, "blue")
        red = await submitted(site, "red")
        assert (await anext(events)).data["job_id"] == red


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "99", "9" * 30, "٣"])
async def test_a_wrong_last_event_id_is_refused(site: Site, given: str) -> None:
    await submitted(site)
    for query in ({"last_event_id": given}, {"last_event_id": given, "tag": "red"}):
        async with site.client.get(EVENTS, params=query, headers=SSE) as response:
            problem = orjson.loads(await response.read())
        assert response.status == 400
        assert problem["code"] in ("bad_last_event_id", "bad_parameter")
    # The header counts, but a query that says nothing is not passed over.
    if given != "99":
        both = {**SSE, "Last-Event-ID": "0"}
        async with site.client.get(EVENTS, params=query, headers=both) as response:
            assert response.status == 400
        # A page does not go by it, and passes over nothing that is wrong either.
        unseen = {**JSON, "Last-Event-ID": given.encode().decode("latin-1")}
        async with site.client.get(EVENTS, headers=unseen) as response:
            assert response.status == 400
    assert site.engine.hub.readers == 0


@pytest.mark.parametrize("query", [{"tag": ""}, {"tag": "x" * 101}, {"tag": ["x"] * 60 + ["y"]}])
async def test_what_no_tag_can_be_is_refused(site: Site, query: Any) -> None:
    if isinstance(query["tag"], list):
        query = {"tag": [str(n) for n in range(51)]}
    for headers in (SSE, JSON):
        async with site.client.get(EVENTS, params=query, headers=headers) as response:
            assert response.status == 400


async def test_a_silent_stream_beats_and_who_has_left_is_forgotten(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(heartbeat=0.02)) as site:
        async with site.client.get(EVENTS, headers=SSE) as response:
            await response.content.readuntil(b": still here\n\n")
            assert await metric(site, "countermand_live_streams") == 1
            response.close()
        async with asyncio.timeout(5):
            while engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.01)


async def test_a_client_that_reads_nothing_is_cut_and_others_see_all(
    engine: MemoryEngine,
) -> None:
    async with site_of(engine, Limits(write_wait=0.1), send_buffer=4096) as site:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.port))
        request = f"GET {EVENTS}?last_event_id=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf.sendall(request.encode())
        try:
            async with site.client.get(EVENTS, headers=SSE) as response:
                events = live(response)
                await anext(events)
                seen = []
                while await metric(site, "countermand_live_streams_cut_total") == 0:
                    job_id = await submitted(site)
                    engine.work(job_id)
                    for _ in engine.events_of[job_id]:
                        seen.append(await anext(events))
        finally:
            deaf.close()
    assert ids(seen) == [one.position for one in engine.tail.logged]


async def test_a_ticket_is_for_one_stream_of_all_and_nothing_else(closed: Site) -> None:
    job_id = await submitted(closed, headers=ADA)
    status, made, _ = await answered(closed, "POST", f"{EVENTS}/ticket", headers=ADA)
    assert status == 201
    address, ticket = made["links"]["events"], made["ticket"]
    assert address == f"{EVENTS}?ticket={ticket}"
    for path in (f"{JOBS}/{job_id}/events", f"{JOBS}/{job_id}", "/api/v1/me"):
        assert (await ask(closed, "GET", f"{path}?ticket={ticket}"))[0] == 401, path
    async with closed.client.get(f"{address}&last_event_id=0", headers=SSE) as response:
        events = live(response)
        await anext(events)
        assert (await anext(events)).data["job_id"] == job_id
    assert (await ask(closed, "GET", address, headers=SSE))[0] == 401, "it is good once"
    status, of_one, _ = await answered(closed, "POST", f"{JOBS}/{job_id}/ticket", headers=ADA)
    assert (await ask(closed, "GET", f"{EVENTS}?ticket={of_one['ticket']}", headers=SSE))[0] == 401


async def test_a_stream_ends_with_the_key_that_opened_it(closed: Site) -> None:
    admin = bearer("acme", "admin")
    body = {"name": "importer", "roles": ["viewer"]}
    _, key, _ = await answered(closed, "POST", "/api/v1/keys", json=body, headers=admin)
    headers = {**SSE, **carrying(key["key"])}
    async with asyncio.timeout(10), closed.client.get(EVENTS, headers=headers) as response:
        await response.content.readuntil(b": still here\n\n")
        await answered(closed, "POST", f"/api/v1/keys/{key['key_id']}/revoke", headers=admin)
        await response.read()


async def test_nothing_of_another_tenant_is_told(closed: Site) -> None:
    ours = await submitted(closed, "red", headers=ADA)
    async with closed.client.get(
        EVENTS, params={"last_event_id": 0}, headers={**SSE, **EVE}
    ) as response:
        events = live(response)
        await anext(events)
        await submitted(closed, "red", headers=ADA)
        theirs = await submitted(closed, headers=EVE)
        assert (await anext(events)).data["job_id"] == theirs
    for query in ({"after": 0}, {"after": 0, "tag": "red"}):
        _, page, _ = await answered(closed, "GET", EVENTS, params=query, headers={**JSON, **EVE})
        assert ours not in str(page)


async def test_pages_lead_to_the_next_and_say_when_there_is_no_more(site: Site) -> None:
    first, second = await submitted(site, "red"), await submitted(site)
    site.engine.work(first)
    found, after, more = [], 0, True
    while more:
        page = await paged(site, after=after, limit=2)
        found += [(item["position"], item["job_id"]) for item in page["items"]]
        after, more = page["position"], page["more"]
    assert found == [(one.position, one.event.originator_id) for one in site.engine.tail.logged]
    assert {job_id for _, job_id in found} == {first, second}
    (item, *_) = (await paged(site, after=0, tag="red"))["items"]
    assert (item["event"], item["tags"], item["version"]) == ("job.submitted", ["red"], 1)
    assert await paged(site) == {"items": [], "position": after, "more": False}
    assert (await paged(site, 400, after=after + 1))["code"] == "bad_last_event_id"


async def test_a_place_that_is_not_there_is_called_as_it_was_said(site: Site) -> None:
    """As after a restore to an older point: who pages on has sent no header to leave out."""
    await submitted(site)
    page = await paged(site, 400, after=99)
    async with site.client.get(EVENTS, params={"last_event_id": "99"}, headers=SSE) as response:
        stream = orjson.loads(await response.read())

    assert page["detail"].startswith("after: no event has the id 99 yet; ")
    assert stream["detail"].startswith("Last-Event-ID: no event has the id 99 yet; ")


async def test_a_page_waits_for_what_comes_next(site: Site) -> None:
    begun = (await paged(site))["position"]
    waiting = asyncio.ensure_future(paged(site, after=begun, wait=20, tag="red"))
    while not site.engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.005)
    assert await metric(site, "countermand_live_streams") == 1
    await submitted(site, "blue")
    assert not waiting.done()
    job_id = await submitted(site, "red")
    async with asyncio.timeout(5):
        page = await waiting
    assert [item["job_id"] for item in page["items"]] == [job_id]
    assert page["position"] == site.engine.tail.position


async def test_a_page_of_a_job_waits_for_its_next_event(site: Site) -> None:
    job_id = await submitted(site)
    path = f"{JOBS}/{job_id}/events"
    query = {"after": 1, "wait": 20}
    waiting = asyncio.ensure_future(answered(site, "GET", path, params=query, headers=JSON))
    while not site.engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.005)
    site.engine.progress(job_id, pending=1)
    assert not waiting.done()
    site.engine.work(job_id)
    async with asyncio.timeout(5):
        _, page, _ = await waiting
    assert page["items"][0]["version"] == 2
    last = len(site.engine.events_of[job_id])
    async with asyncio.timeout(5):
        query = {"after": last, "wait": 20}
        _, page, _ = await answered(site, "GET", path, params=query, headers=JSON)
    assert page == {"items": [], "next_after": None}, "a job at rest is not waited for"


async def test_a_wait_ends_when_its_time_is_over(site: Site) -> None:
    job_id = await submitted(site)
    async with asyncio.timeout(5):
        assert (await paged(site, after=3, wait=1))["items"] == []
    path = f"{JOBS}/{job_id}/events"
    for query in ({"after": 1, "wait": 31}, {"after": 1, "wait": -1}, {"after": 1, "wait": "x"}):
        status, _, _ = await answered(site, "GET", path, params=query, headers=JSON)
        assert status == 400
        assert (await paged(site, 400, **query))["code"] == "bad_parameter"


async def test_who_waits_counts_as_a_stream(engine: MemoryEngine) -> None:
    async with (
        site_of(engine, Limits(quotas=QuotaTable(Quotas(streams=1)))) as site,
        site.client.get(EVENTS, headers=SSE) as response,
    ):
        await anext(live(response))
        problem = await paged(site, 429, wait=5)
        assert problem["code"] == "quota_exceeded"
        assert (await paged(site))["items"] == []


async def test_a_shutdown_answers_who_waits(engine: MemoryEngine) -> None:
    async with asyncio.timeout(5), aiohttp.ClientSession() as client:
        async with site_of(engine) as site:
            asked = client.get(f"{site.url}{EVENTS}", params={"wait": 30}, headers=JSON)
            waiting = asyncio.ensure_future(asked.__aenter__())
            while not engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.005)
        response = await waiting
        assert (await response.json())["items"] == []
        response.close()
