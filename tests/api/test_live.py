"""Live streams over a real socket: resumed, ended, bounded, and cut when nobody reads."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import orjson
import pytest

from api.limits import Limits
from domain.errors import StoreUnavailable
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.reading import Seen, ids, live, seen

SSE = {"Accept": "text/event-stream"}


async def submitted(site: Site, items: int = 4) -> str:
    body = {
        "operation": "test.double",
        "items": [{"n": n} for n in range(items)],
        "options": {"chunk_size": 1},
    }
    async with site.client.post("/api/v1/jobs", json=body) as response:
        return str(orjson.loads(await response.read())["job_id"])


async def streamed(site: Site, job_id: str, after: int | None = None) -> list[Seen]:
    headers = SSE if after is None else {**SSE, "Last-Event-ID": str(after)}
    async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status == 200
        return list(seen(await response.read()))


def latest(site: Site, job_id: str) -> int:
    return len(site.engine.events_of[job_id])


async def test_a_stream_shows_what_happens_and_ends_with_the_job(site: Site) -> None:
    job_id = await submitted(site)
    async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=SSE) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in response.headers
        events = live(response)
        first = await anext(events)
        assert (first.name, first.id) == ("job.submitted", 1)
        site.engine.work(job_id)
        rest = [event async for event in events]
    assert ids([first, *rest]) == list(range(1, latest(site, job_id) + 1))
    assert rest[-1].data["status"] == "completed"


async def test_a_stream_is_what_a_client_gets_that_does_not_choose(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    async with site.client.get(f"/api/v1/jobs/{job_id}/events") as response:
        assert response.content_type == "text/event-stream"
        assert (await response.read()).startswith(b"retry: 1000\n\n")


async def test_who_has_seen_all_gets_204(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    end = latest(site, job_id)
    path = f"/api/v1/jobs/{job_id}/events"
    async with site.client.get(path, headers={**SSE, "Last-Event-ID": str(end)}) as response:
        assert (response.status, await response.read()) == (204, b"")
    async with site.client.get(path, params={"last_event_id": end}, headers=SSE) as response:
        assert response.status == 204


async def test_who_has_seen_all_of_a_job_that_was_undone_since_gets_the_rest(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    end = latest(site, job_id)
    site.engine.undo(job_id)
    assert ids(await streamed(site, job_id, end)) == list(range(end + 1, latest(site, job_id) + 1))


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "99", "9" * 30, "٣"])
async def test_a_wrong_last_event_id_is_refused(site: Site, given: str) -> None:
    job_id = await submitted(site)
    path = f"/api/v1/jobs/{job_id}/events"
    async with site.client.get(path, params={"last_event_id": given}, headers=SSE) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"
    if given != "99":
        both = {**SSE, "Last-Event-ID": "0"}
        async with site.client.get(path, params={"last_event_id": given}, headers=both) as response:
            assert response.status == 400
        unseen = {"Accept": "application/json", "Last-Event-ID": given.encode().decode("latin-1")}
        async with site.client.get(path, headers=unseen) as response:
            assert response.status == 400


async def test_a_client_that_drops_all_the_time_sees_everything_once(site: Site) -> None:
    job_id = await submitted(site, 60)
    working = asyncio.ensure_future(work_slowly(site, job_id))
    versions: list[int] = []
    for _ in range(50):
        headers = {**SSE, "Last-Event-ID": str(versions[-1] if versions else 0)}
        async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=headers) as response:
            if response.status == 204:
                break
            async for event in live(response):
                assert event.id is not None
                versions.append(event.id)
                if event.id % 3 == 0:
                    break
            response.close()
    await working
    if versions[-1] < latest(site, job_id):
        versions += ids(await streamed(site, job_id, versions[-1]))
    assert versions == list(range(1, latest(site, job_id) + 1))


async def work_slowly(site: Site, job_id: str) -> None:
    """The events of a job, one after another, with the clients' turns between them."""
    site.engine.work(job_id, publish=False)
    stored = site.engine.events_of[job_id]
    for known in range(1, len(stored) + 1):
        site.engine.events_of[job_id] = stored[:known]
        site.engine.publish(stored[known - 1])
        await asyncio.sleep(0.001)


async def test_many_readers_see_the_same(site: Site) -> None:
    job_id = await submitted(site, 20)
    readers = [asyncio.ensure_future(streamed(site, job_id)) for _ in range(30)]
    while site.engine.hub.readers < 30:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.005)
    site.engine.work(job_id)
    for events in await asyncio.gather(*readers):
        assert ids(events) == list(range(1, latest(site, job_id) + 1))
    assert site.engine.hub.readers == 0


async def test_too_many_streams_are_refused_and_a_place_becomes_free(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(streams=1)) as site:
        job_id = await submitted(site)
        path = f"/api/v1/jobs/{job_id}/events"
        async with site.client.get(path, headers=SSE) as first:
            await anext(live(first))
            async with site.client.get(path, headers=SSE) as second:
                assert second.status == 503
                assert second.headers["Retry-After"] == "1"
                assert orjson.loads(await second.read())["code"] == "too_many_streams"
            async with site.client.get("/metrics") as response:
                assert "countermand_live_streams 1.0" in await response.text()
            engine.work(job_id)
            await first.read()
        assert ids(await streamed(site, job_id))


async def test_a_shutdown_ends_streams_cleanly_and_at_once(engine: MemoryEngine) -> None:
    async with aiohttp.ClientSession() as client:
        async with site_of(engine) as site:
            job_id = await submitted(site)
            response = await client.get(f"{site.url}/api/v1/jobs/{job_id}/events", headers=SSE)
            events = live(response)
            await anext(events)
        # The server is gone; a stream that was torn would raise here.
        assert [event async for event in events] == []
        response.close()
    assert engine.hub.readers == 0


async def test_a_silent_stream_beats(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(heartbeat=0.02)) as site:
        job_id = await submitted(site)
        async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=SSE) as response:
            text = b""
            while text.count(b"\n: ") < 2:
                text += await response.content.readany()
    assert ids(seen(text)) == [1]


async def test_a_client_that_reads_nothing_is_cut_and_nobody_else_waits(
    engine: MemoryEngine,
) -> None:
    async with site_of(engine, Limits(write_wait=0.1), send_buffer=4096) as site:
        job_id = await submitted(site, 1000)
        engine.work(job_id)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.port))
        request = f"GET /api/v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf.sendall(request.encode())
        try:
            while await metric(site, "countermand_live_streams_cut_total") == 0:
                assert ids(await streamed(site, job_id, latest(site, job_id) - 1))
                await asyncio.sleep(0.01)
            assert await metric(site, "countermand_live_streams") == 0
        finally:
            deaf.close()
    assert engine.hub.readers == 0


async def metric(site: Site, name: str) -> float:
    async with site.client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_a_store_that_goes_away_ends_the_stream_and_the_client_comes_back(
    engine: MemoryEngine,
) -> None:
    async with site_of(engine, Limits(heartbeat=0.02)) as site:
        job_id = await submitted(site)
        async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=SSE) as response:
            events = live(response)
            first = await anext(events)
            engine.fault = StoreUnavailable("away")
            assert [event async for event in events] == []
        engine.fault = None
        engine.work(job_id)
        rest = await streamed(site, job_id, first.id)
    assert ids([first, *rest]) == list(range(1, latest(site, job_id) + 1))


async def test_a_client_that_left_is_forgotten(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(heartbeat=0.02)) as site:
        job_id = await submitted(site)
        async with site.client.get(f"/api/v1/jobs/{job_id}/events", headers=SSE) as response:
            await anext(live(response))
            response.close()
        async with asyncio.timeout(5):
            while engine.hub.readers:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.01)


async def test_names_and_values_stay_in_their_lines(site: Site) -> None:
    body: dict[str, Any] = {"operation": "test.double", "items": [{"n": 1}]}
    async with site.client.post("/api/v1/jobs", json=body) as response:
        job_id = orjson.loads(await response.read())["job_id"]
    async with site.client.post(
        f"/api/v1/jobs/{job_id}/cancel", json={"reason": "a\r\nid: 99\n\ndata: {}\u2028"}
    ) as response:
        assert response.status == 202
    events = await streamed(site, job_id)
    assert ids(events) == [1, 2]
