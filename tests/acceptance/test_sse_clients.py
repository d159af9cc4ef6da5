"""Clients that are not ours read a job that is under way, are cut, and see each event once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from aiosseclient import aiosseclient
from httpx_sse import connect_sse
from playwright.async_api import Error, Page
from sseclient import SSEClient

from domain.events import EVENTS
from domain.planning import FIRST_ITEMS, LONG_MS
from tests.acceptance.cutting import Scissors, cutting
from tests.acceptance.stack import Stack
from tests.crash.client import Client
from tests.crash.seeds import SEED
from tests.services.browser import page_at

CHUNK = FIRST_ITEMS // 2 + 1
ITEM_MS = 0.6 * LONG_MS / CHUNK
"""Two chunks do not share a dispatch, so that each has events of its own: they are more than a
first one holds, and take longer than one aims at."""
LONGEST = 5_000
"""Bytes, of which the headers of an answer are some 800."""
PATIENCE = 180.0
LAST = "job.finished"

Seen = list[tuple[str, int]]
"""Name and id of each stored event, in the order in which a client was handed them."""


class Over(Exception):
    """The server says that there is nothing more."""


# -- the three libraries: one connection each, behind the last id -------------------------


def by_httpx_sse(url: str, last: str) -> Iterator[tuple[str, str, str]]:
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        connect_sse(client, "GET", url, headers={"Last-Event-ID": last}) as source,
    ):
        if source.response.status_code == 204:
            raise Over
        for event in source.iter_sse():
            yield event.event, event.id, event.data


def by_sseclient_py(url: str, last: str) -> Iterator[tuple[str, str, str]]:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code == 204:
            raise Over
        for event in SSEClient(response.iter_bytes()).events():
            yield event.event, event.id or "", event.data


async def by_aiosseclient(url: str, last: str) -> AsyncIterator[tuple[str, str, str]]:
    found = False
    async for event in aiosseclient(url, last_id=last, timeout_total=PATIENCE):
        found = True
        yield event.event, event.id or "", event.data
    if not found:
        raise Over


def followed(read: Any, url: str) -> Seen:
    """All events, with a client that comes back with the last id that it was handed."""
    seen: Seen = []
    while True:
        last = str(seen[-1][1]) if seen else "0"
        try:
            with closing(read(url, last)) as events:
                for name, identity, data in events:
                    _take(seen, name, identity, data)
        except Over:
            return seen
        except httpx.TransportError:
            continue


async def followed_async(read: Any, url: str) -> Seen:
    """The same of one that waits in the event loop."""
    seen: Seen = []
    while True:
        try:
            async for name, identity, data in read(url, str(seen[-1][1]) if seen else "0"):
                _take(seen, name, identity, data)
        except Over:
            return seen
        except aiohttp.ClientError:
            continue


def _take(seen: Seen, name: str, identity: str, data: str) -> None:
    """Keep a stored event; what has no id of its own, or no data, is none."""
    if data and name in EVENTS:
        assert json.loads(data)["event"] == name
        seen.append((name, int(identity)))


# -- the browser --------------------------------------------------------------------------

_SCRIPT = """([paths, names, last]) => {
    window.seen = {}; window.sources = {}; window.errors = 0;
    for (const path of paths) {
        const events = window.seen[path] = [];
        const source = window.sources[path] = new EventSource(path);
        source.onerror = () => { window.errors += 1; };
        for (const name of names) {
            source.addEventListener(name, e => events.push([name, Number(e.lastEventId)]));
        }
    }
    window.over = () => paths.every(path => window.seen[path].some(([name]) => name === last));
}"""

_STATE = """() => Object.keys(window.seen).map(path => [
    path, window.seen[path].length, window.sources[path].readyState, window.errors])"""


async def browsed(page: Page, paths: list[str]) -> dict[str, Seen]:
    """What a page's EventSource of each path has handed out, up to the job's last event."""
    await page.evaluate(_SCRIPT, [paths, sorted(EVENTS), LAST])
    try:
        await page.wait_for_function("() => window.over()", timeout=1000 * PATIENCE, polling=200)
    except Error:
        state = await page.evaluate(_STATE)
        raise AssertionError(f"the browser does not come to the end: {state}") from None
    # The stream of the job is over, for which it asks once more; that of all jobs goes on.
    await page.wait_for_function(
        "path => window.sources[path].readyState === EventSource.CLOSED",
        arg=paths[0],
        timeout=1000 * PATIENCE,
    )
    assert await page.evaluate("path => window.sources[path].readyState", paths[1]) != 2
    found = await page.evaluate("window.seen")
    return {path: [(name, number) for name, number in found[path]] for path in paths}


# -- all of them --------------------------------------------------------------------------


def _stored(stack: Stack, job_id: str, column: str) -> Seen:
    sql = f"SELECT alias, {column} FROM events WHERE job_id = :job_id ORDER BY version"
    return [(name, number) for name, number in stack.rows(sql, job_id=job_id)]


async def _read_by_all(stack: Stack, *, chunks: int, cuts: int) -> None:
    client, tag = Client(stack.url), f"cut {cuts}"
    steps = [{"ms": ITEM_MS}] * (chunks * CHUNK)
    job_id = client.submit(tag, "walker.step", steps, options={"chunk_size": CHUNK}, tags=[tag])
    events = f"/api/v1/jobs/{job_id}/events"
    all_events = f"/api/v1/events?tag=cut%20{cuts}&last_event_id=0"
    target = urlsplit(stack.url).port or 0

    async def alone(read: Any) -> tuple[Seen, Scissors]:
        chance = random.Random(f"{SEED} {read.__name__}")
        async with cutting(target, cuts, chance, longest=LONGEST) as way:
            url = way.also(events)
            if read is by_aiosseclient:
                return await followed_async(read, url), way
            return await asyncio.to_thread(followed, read, url), way

    async def in_a_browser() -> tuple[dict[str, Seen], Scissors]:
        chance = random.Random(f"{SEED} browser")
        async with cutting(target, cuts, chance, longest=LONGEST) as way:
            for path in (events, all_events):
                way.also(path)
            async with page_at(f"{way.url}/health/live") as page:
                return await browsed(page, [events, all_events]), way

    async with asyncio.timeout(PATIENCE):
        browser, *libraries = await asyncio.gather(
            in_a_browser(), *map(alone, (by_httpx_sse, by_sseclient_py, by_aiosseclient))
        )
    stored = _stored(stack, job_id, "version")
    assert len(stored) > chunks
    for seen, way in libraries:
        assert seen == stored
        assert way.cuts == {events: cuts}
    pages, way = browser
    assert pages == {events: stored, all_events: _stored(stack, job_id, "id")}
    assert way.cuts == {events: cuts, all_events: cuts}
    stack.tell("events seen once by each of five readers", len(stored), cuts=cuts, seed=SEED)


@pytest.mark.service("chromium")
async def test_three_libraries_and_a_browser_that_are_cut_see_each_event_once(
    stack: Stack,
) -> None:
    await _read_by_all(stack, chunks=40, cuts=3)


@pytest.mark.proof
@pytest.mark.service("chromium")
@pytest.mark.timeout(400)
async def test_three_libraries_and_a_browser_that_are_cut_fifty_times(stack: Stack) -> None:
    await _read_by_all(stack, chunks=320, cuts=50)
