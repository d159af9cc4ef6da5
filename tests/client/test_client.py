"""The client against a real server, which is killed under it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from countermand_client import (
    AsyncClient,
    Client,
    Event,
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
    Patience,
    UnreachableError,
    WaitTimedOutError,
    WrongStateError,
)
from tests.acceptance.embedded import Server

HASTE = Patience(attempts=3, first=0.01, longest=0.02, give_up=1.0)


class Number(BaseModel):
    number: int


class Price(BaseModel):
    """The same that the server has: of one name within, and another one outside."""

    price_id: int = Field(alias="priceId")


class Rule(BaseModel):
    times_as: int = Field(alias="timesAs")


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url) as client:
        yield client


def _numbers(count: int) -> Iterator[Number]:
    return (Number(number=n) for n in range(count))


async def _later(count: int) -> AsyncIterator[dict[str, int]]:
    for number in range(count):
        yield {"number": number}


async def test_items_come_from_whatever_has_some(client: AsyncClient, tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"number": n}).encode() + b"\n" for n in range(3))
    path = tmp_path / "items.ndjson"
    path.write_bytes(lines)
    for items in (_numbers(3), _later(3), path, io.BytesIO(lines), [{"number": 1}] * 3):
        job = await client.submit("shop.square", items, name="three", tags=["a", "b"], priority=7)
        assert (job.name, job.tags, job.priority) == ("three", ("a", "b"), 7)
        ended = await client.wait(job.job_id, timeout=30)
        assert (ended.status, ended.counts.succeeded) == ("completed", 3)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("items.ndjson", "give its pathlib.Path"),
        (b"{}", "give its pathlib.Path"),
        ({"number": 1}, "put it into a list"),
        (Number(number=1), "put it into a list"),
        (io.StringIO("{}"), "open it in binary mode"),
        ([{"number": 1}, {"number": object()}], "item 1 is no JSON"),
        ([{"number": float("nan")}], "item 0 is no JSON"),
        ([{"number": "\ud800"}], "item 0 is no JSON"),
    ],
)
async def test_what_would_be_other_items_than_were_meant_is_refused(
    client: AsyncClient, items: Any, said: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        await client.submit("shop.square", items, name="refused")
    # The list of jobs lags behind; whoever is in it came before this one.
    after = await client.submit("shop.square", [{"number": 1}])
    named: dict[str, str] = {}
    async with asyncio.timeout(30):
        while after.job_id not in named:
            named = {job.job_id: job.name async for job in client.jobs()}
    assert "refused" not in named.values()


async def test_models_go_by_their_names_outside(client: AsyncClient) -> None:
    items, rule = [Price(priceId=3)], Rule(timesAs=7)
    jobs = [await client.submit("shop.price", items, params=rule)]
    draft = await client.draft("shop.price", params=rule)
    await client.append(draft.job_id, 0, iter(items))
    jobs.append(await client.seal(draft.job_id))
    for job in jobs:
        ended = await client.wait(job.job_id, timeout=30)
        assert (ended.status, ended.counts.succeeded) == ("completed", 1)
        assert [item.result async for item in client.items(job.job_id)] == [{"price": 21}]


async def test_a_source_that_fails_leaves_no_job(client: AsyncClient) -> None:
    def broken() -> Iterator[Number]:
        yield from _numbers(2000)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        await client.submit("shop.square", broken(), name="broken")
    assert "broken" not in [job.name async for job in client.jobs(operation="shop.square")]


@pytest.mark.parametrize("empty", ["status", "operation", "tag"])
async def test_a_filter_of_jobs_that_is_empty_is_refused(client: AsyncClient, empty: str) -> None:
    """It comes of a variable that was never set, and would give all that there are."""
    with pytest.raises(InvalidRequestError, match=empty):
        await anext(client.jobs(**{empty: ""}))


@pytest.mark.parametrize("empty", ["status", "code"])
async def test_a_filter_of_items_that_is_empty_is_refused(client: AsyncClient, empty: str) -> None:
    job = await client.submit("shop.square", _numbers(2))
    with pytest.raises(InvalidRequestError, match=empty):
        await anext(client.items(job.job_id, **{empty: ""}))


async def test_a_key_that_is_empty_is_refused(client: AsyncClient) -> None:
    """A new one in its place would make another job each time."""
    with pytest.raises(InvalidRequestError, match="Idempotency-Key"):
        await client.submit("shop.square", _numbers(2), key="")
    with pytest.raises(InvalidRequestError, match="Idempotency-Key"):
        await client.draft("shop.square", key="")


async def test_pages_are_read_as_they_are_needed(client: AsyncClient) -> None:
    job = await client.submit("shop.square", _numbers(40))
    assert (await client.wait(job.job_id, timeout=30)).status == "completed_with_errors"
    items = [item async for item in client.items(job.job_id, page=7)]
    assert [item.position for item in items] == list(range(40))
    assert items[5].result == {"square": 25}
    (failed,) = [item async for item in client.items(job.job_id, status="failed")]
    assert failed.error is not None
    assert (failed.position, failed.error.code, failed.error.pointer) == (13, "unlucky", "/number")
    (group,) = await client.errors(job.job_id)
    assert (group.code, group.count) == ("unlucky", 1)
    kinds = {operation.kind for operation in await client.operations()}
    assert {"shop.square", "shop.wait"} <= kinds


async def test_a_job_is_steered(client: AsyncClient) -> None:
    long = [{"number": 100}] * 1000
    job = await client.submit("shop.wait", long, options={"chunk_size": 4})
    assert (await client.pause(job.job_id, reason="look")).status in ("running", "paused")
    async with aclosing(client.stream(job.job_id, after=job.version)) as events:
        assert "paused" in [event.status async for event in _until(events, "paused")]
    assert (await client.resume(job.job_id)).status == "running"
    await client.cancel(job.job_id)
    assert (await client.wait(job.job_id, timeout=30)).status == "cancelled"
    assert (await client.retry(job.job_id, unattempted=True)).status == "running"
    await client.command(job.job_id, "cancel", graceful=True, reason="enough")
    ended = await client.wait(job.job_id, timeout=30)
    assert (ended.status, ended.reason) == ("cancelled", "enough")
    with pytest.raises(WrongStateError, match="possible") as refused:
        await client.approve(job.job_id)
    assert refused.value.code == "wrong_state"


async def _until(events: AsyncIterator[Event], status: str) -> AsyncIterator[Event]:
    async for event in events:
        yield event
        if event.status == status:
            return


async def test_what_is_done_is_undone(client: AsyncClient) -> None:
    job = await client.submit("shop.square", _numbers(5))
    await client.wait(job.job_id, timeout=30)
    await client.undo(job.job_id, reason="wrong file")
    ended = await client.wait(job.job_id, timeout=30)
    assert (ended.status, ended.counts.rolled_back) == ("rolled_back", 5)


async def test_the_same_key_is_the_same_job(client: AsyncClient) -> None:
    first = await client.submit("shop.square", _numbers(3), key="same")
    assert (await client.submit("shop.square", _numbers(3), key="same")).job_id == first.job_id
    with pytest.raises(IdempotencyConflictError):
        await client.submit("shop.square", _numbers(4), key="same")


async def test_errors_say_where_and_what_to_do(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await client.submit("shop.sqare", _numbers(1))
    assert refused.value.field == "/operation"
    assert "registered: " in refused.value.remedy
    assert refused.value.request_id
    with pytest.raises(NotFoundError):
        await client.job("0192f7a1-0000-7000-8000-000000000000")


async def test_a_wait_has_an_end(client: AsyncClient) -> None:
    job = await client.submit("shop.wait", [{"number": 5000}])
    with pytest.raises(WaitTimedOutError, match="wait again"):
        await client.wait(job.job_id, timeout=0.2)
    await client.cancel(job.job_id)


async def test_nobody_there_is_told_after_a_few_attempts() -> None:
    async with AsyncClient("http://127.0.0.1:9", patience=HASTE) as client:
        with pytest.raises(UnreachableError, match="is the server running"):
            await client.operations()
        with pytest.raises(UnreachableError):
            async for _ in client.stream("any"):
                pass


async def test_a_stream_goes_on_over_deaths_of_the_server(
    server: Server, client: AsyncClient
) -> None:
    job = await client.submit("shop.wait", [{"number": 20}] * 600, options={"chunk_size": 20})
    seen: list[int] = []
    async for event in client.stream(job.job_id):
        if event.version is not None:
            seen.append(event.version)
            if len(seen) in (4, 8):
                server.kill_engine()
    ended = await client.wait(job.job_id, timeout=60)
    assert seen == list(range(1, ended.version + 1))
    assert ended.status == "completed"


async def test_a_wait_and_a_submit_outlive_the_server(server: Server, client: AsyncClient) -> None:
    server.kill_engine()
    job = await client.submit("shop.wait", [{"number": 20}] * 200, options={"chunk_size": 20})
    server.kill_engine()
    assert (await client.wait(job.job_id, timeout=60)).counts.succeeded == 200


def test_the_same_without_asyncio(server: Server) -> None:
    with Client(server.url) as client:
        job = client.submit("shop.square", _numbers(20), params={})
        versions = [event.version for event in client.stream(job.job_id) if event.version]
        assert versions == list(range(1, versions[-1] + 1))
        assert client.wait(job.job_id, timeout=30).counts.failed == 1
        items = client.items(job.job_id, page=3)
        assert next(items).result == {"square": 0}
        items.close()
        assert [group.code for group in client.errors(job.job_id)] == ["unlucky"]
        assert client.undo(job.job_id).status in ("rolling_back", "rolled_back")
        with pytest.raises(NotFoundError):
            client.job("0192f7a1-0000-7000-8000-000000000000")
    with pytest.raises(RuntimeError, match="context"):
        client.job(job.job_id)
