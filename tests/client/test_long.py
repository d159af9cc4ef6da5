"""A job that says more of itself than an address can hold: three steps that are one submit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from countermand_client import (
    AsyncClient,
    Client,
    IdempotencyConflictError,
    InvalidRequestError,
    Job,
    Patience,
    ProblemError,
    TooManyRequestsError,
    UnreachableError,
)
from tests.acceptance.embedded import Server
from tests.client.stubs import answering

PATIENCE = Patience(attempts=3, first=0.001, longest=0.01)
LONG = {"note": "x" * 60_000}
OPEN, APPEND, SEAL, CANCEL = "jobs", "items", "seal", "cancel"


@dataclass
class Between:
    """Stands before the server, and loses answers of some steps, or whole requests."""

    url: str
    lost: dict[str, int] = field(default_factory=dict)
    """So many answers of a step are lost."""
    refused: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        step = request.path.rpartition("/")[2]
        body = await request.read()
        if request.method == "POST":
            self.steps.append(step)
            if step in self.refused:
                status, headers = self.refused[step]
                body = json.dumps({"code": "c", "detail": "d; e"}).encode()
                return web.Response(status=status, body=body, headers=headers)
        whole = f"{self.url}{request.rel_url}"
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in {"Content-Type", "Idempotency-Key", "If-Match"}
        }
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, whole, data=body, headers=headers) as response,
        ):
            said = await response.read()
        if request.method == "POST" and self.lost.get(step):
            self.lost[step] -= 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=response.status, body=said, content_type=response.content_type)


@asynccontextmanager
async def before(server: Server, **how: Any) -> AsyncIterator[tuple[AsyncClient, Between]]:
    between = Between(server.url, **how)
    async with answering(between.answer) as url, AsyncClient(url, patience=PATIENCE) as client:
        yield client, between


async def _ended(server: Server, job: Job) -> Job:
    async with AsyncClient(server.url) as client:
        return await client.wait(job.job_id, timeout=60)


async def _named(server: Server, name: str) -> list[str]:
    """The statuses of the jobs of that name; the list lags behind, so it waits for a later job."""
    async with AsyncClient(server.url) as client:
        after = await client.submit("shop.square", [{"number": 1}])
        async with asyncio.timeout(30):
            while True:
                jobs = [job async for job in client.jobs()]
                if after.job_id in {job.job_id for job in jobs}:
                    return [job.status for job in jobs if job.name == name]


def _numbers(count: int) -> Iterator[dict[str, int]]:
    return ({"number": n} for n in range(count))


@pytest.mark.parametrize(
    "said",
    [
        {"params": LONG},
        {"params": LONG, "options": {"chunk_size": 100}, "priority": 7, "tags": ["a", "ä" * 90]},
        {"name": "\N{SNOWMAN}" * 1_500},
        {"tags": [f"{n} {'ü' * 90}" for n in range(40)]},
    ],
    ids=["params", "all", "name", "tags"],
)
async def test_what_is_too_long_for_an_address_is_said_in_a_body(
    server: Server, said: dict[str, Any]
) -> None:
    async with AsyncClient(server.url) as client:
        job = await client.submit("shop.noted", _numbers(1_200), **said)
        ended = await client.wait(job.job_id, timeout=60)
        item = await anext(client.items(job.job_id))
    assert (ended.status, ended.counts.succeeded) == ("completed", 1_200)
    assert (ended.name, list(ended.tags)) == (said.get("name", ""), said.get("tags", []))
    assert ended.priority == said.get("priority", 5)
    assert item.result == {"note": len(said.get("params", {}).get("note", ""))}


def test_the_same_without_asyncio(server: Server) -> None:
    with Client(server.url) as client:
        job = client.submit("shop.noted", _numbers(3), params=LONG)
        assert client.wait(job.job_id, timeout=60).counts.succeeded == 3


@pytest.mark.parametrize("lost", [OPEN, APPEND, SEAL])
async def test_a_lost_answer_makes_no_second_job_and_loses_no_item(
    server: Server, lost: str
) -> None:
    name = f"lost {lost}"
    async with before(server, lost={lost: 2}) as (client, between):
        job = await client.submit("shop.noted", _numbers(1_200), params=LONG, name=name)
    ended = await _ended(server, job)
    assert between.steps.count(lost) == 3
    assert CANCEL not in between.steps
    assert (ended.status, ended.counts.total, ended.counts.succeeded) == ("completed", 1_200, 1_200)
    assert await _named(server, name) == ["completed"]


async def test_the_same_key_is_the_same_job_whatever_became_of_it(server: Server) -> None:
    said: dict[str, Any] = {"params": LONG, "key": "long", "name": "same"}
    async with before(server) as (client, between):
        first = await client.submit("shop.noted", _numbers(3), **said)
        await _ended(server, first)
        assert (await client.submit("shop.noted", _numbers(3), **said)).job_id == first.job_id
        with pytest.raises(IdempotencyConflictError):
            await client.submit("shop.noted", _numbers(4), **said)
        with pytest.raises(IdempotencyConflictError):
            await client.submit(
                "shop.noted", _numbers(3), **{**said, "params": {"note": "y" * 9_000}}
            )
        assert CANCEL not in between.steps
        assert (await client.job(first.job_id)).status == "completed"


@pytest.mark.parametrize("key", [None, "refused"])
async def test_what_is_refused_leaves_no_draft(server: Server, key: str | None) -> None:
    """That two items are called the same is known at the seal, that there is none before."""
    name = f"refused {key}"
    said: dict[str, Any] = {"params": LONG, "name": name, "options": {"key": "/number"}}
    async with before(server) as (client, between):
        with pytest.raises(InvalidRequestError):
            await client.submit("shop.noted", [], key=key and f"{key} 0", **said)
        assert between.steps[-2:] == [APPEND, CANCEL]
        with pytest.raises(ProblemError):
            await client.submit("shop.noted", [{"number": 1}] * 2, key=key, **said)
        assert between.steps[-2:] == [SEAL, CANCEL]
    assert await _named(server, name) == ["cancelled", "cancelled"]


@pytest.mark.parametrize(("key", "left"), [(None, "cancelled"), ("later", "draft")])
async def test_what_fails_in_passing_leaves_a_draft_to_whoever_has_its_key(
    server: Server, key: str | None, left: str
) -> None:
    """Nobody can submit again under a key that was made for this call alone."""
    said: dict[str, Any] = {"params": LONG, "name": f"passing {key}", "key": key}
    async with before(server) as (client, between):
        between.refused = {APPEND: (429, {"Retry-After": "3600"})}
        with pytest.raises(TooManyRequestsError):
            await client.submit("shop.noted", _numbers(3), **said)
        assert await _named(server, said["name"]) == [left]
        between.refused = {}
        job = await client.submit("shop.noted", _numbers(3), **said)
        assert (await _ended(server, job)).counts.succeeded == 3
    expected = ["completed"] if key else ["completed", "cancelled"]
    assert await _named(server, said["name"]) == expected


async def test_a_seal_whose_answers_are_all_lost_is_not_cancelled(server: Server) -> None:
    """The job has gone on, though nobody was told."""
    later = {"start_at": (datetime.now(UTC) + timedelta(days=30)).isoformat()}
    async with before(server, lost={SEAL: 99}) as (client, between):
        with pytest.raises(UnreachableError):
            await client.submit(
                "shop.noted", _numbers(3), params=LONG, name="all lost", options=later, key="lost"
            )
        with pytest.raises(UnreachableError):
            await client.submit(
                "shop.noted", _numbers(3), params=LONG, name="all lost", options=later
            )
        assert between.steps.count(CANCEL) == 1, "which is refused"
        assert await _named(server, "all lost") == ["pending", "pending"]
        between.lost.clear()
        job = await client.submit(
            "shop.noted", _numbers(3), params=LONG, name="all lost", options=later, key="lost"
        )
        await client.cancel(job.job_id)
    assert await _named(server, "all lost") == ["pending", "cancelled"]


async def test_a_draft_that_others_have_given_items_is_theirs(server: Server) -> None:
    """Whose key somebody uses again: what is refused then throws away nothing of theirs."""
    async with before(server) as (client, between):
        draft = await client.draft("shop.noted", params=LONG, key="theirs")
        await client.append(draft.job_id, 0, _numbers(3))
        with pytest.raises(IdempotencyConflictError):
            await client.submit("shop.noted", _numbers(4), params=LONG, key="theirs")
        assert CANCEL not in between.steps
        assert (await client.job(draft.job_id)).status == "draft"
        await client.cancel(draft.job_id)


async def test_a_source_that_fails_opens_no_draft(server: Server) -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield from _numbers(2_000)
        raise LookupError("no more")

    async with before(server) as (client, between):
        with pytest.raises(LookupError, match="no more"):
            await client.submit("shop.noted", broken(), params=LONG)
    assert between.steps == []


async def test_who_is_cancelled_leaves_no_draft() -> None:
    seen: list[tuple[str, str]] = []
    appending = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        step = request.path.rpartition("/")[2]
        body = await request.read()
        seen.append((step, request.headers.get("If-Match", "")))
        if step == APPEND:
            appending.set()
            await asyncio.Event().wait()
        assert step == CANCEL or json.loads(body)["draft"]
        return web.json_response(DRAFT)

    async with answering(answer) as url, AsyncClient(url, patience=PATIENCE) as client:
        submit = asyncio.ensure_future(client.submit("o", _numbers(1), params=LONG))
        await appending.wait()
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
    assert seen == [(OPEN, ""), (APPEND, ""), (CANCEL, '"1"')]


DRAFT = {"job_id": "a", "operation": "o", "status": "draft", "version": 1, "counts": {"total": 0}}
