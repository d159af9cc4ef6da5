from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import InvalidCommand
from streams.cli.client import Client
from streams.cli.exits import Problem, Stranger, Unreachable
from streams.cli.patience import Lost, Patience
from tests.cli.conftest import IMPATIENT, QUICK
from tests.cli.contract_server import FINISHED, Contract, event, job, serving


async def _versions(client: Client, after: int = 0) -> list[str]:
    return [event.id async for event in client.events("job-1", after=after) if event.id]


async def test_every_stored_event_is_seen_once_however_often_the_connection_drops(
    contract: Contract,
) -> None:
    contract.events = [event(version) for version in range(1, 60)]
    contract.drop_after = 1

    async with Client(contract.url, QUICK) as client:
        seen = await _versions(client)

    assert seen == [str(version) for version in range(1, 60)]
    assert contract.resumed_from() == [str(version) for version in range(60)]


async def test_a_server_that_is_not_ready_yet_is_asked_again(contract: Contract) -> None:
    contract.events, contract.outage = [FINISHED], 3

    async with Client(contract.url, QUICK) as client:
        assert await _versions(client) == ["5"]


@pytest.mark.parametrize("status", [408, 425, 429, 502])
async def test_a_passing_refusal_does_not_end_the_following(
    contract: Contract, status: int
) -> None:
    contract.events, contract.outage, contract.outage_status = [FINISHED], 3, status
    contract.problem_headers = {"Retry-After": "0"}

    async with Client(contract.url, QUICK) as client:
        assert await _versions(client) == ["5"]


async def test_the_server_says_when_it_is_asked_again(contract: Contract) -> None:
    contract.problem = {"status": 429, "title": "Too Many Requests"}
    contract.problem_headers = {"Retry-After": "17"}
    async with Client(contract.url, IMPATIENT) as client:
        with pytest.raises(Problem) as caught:
            await _versions(client)

    # That is longer than the patience of this one, so it is not waited for at all.
    assert len(contract.requests) == 1
    assert caught.value.details.retry_after == 17.0
    lost = Lost(Patience(first=1.0, longest=2.0), lambda: 0.0, give_up=60.0)
    assert [lost.next(), lost.next(17.0), lost.next(1.0), lost.next(0.0)] == [0.0, 17.0, 2.0, 2.0]
    assert lost.next(61.0) is None


async def test_nothing_is_sent_of_what_was_seen_already(contract: Contract) -> None:
    contract.events = [FINISHED]

    async with Client(contract.url, QUICK) as client:
        assert await _versions(client, after=5) == []


async def test_patience_ends() -> None:
    async with Client("http://127.0.0.1:1", IMPATIENT) as client:
        with pytest.raises(Unreachable, match="is `countermand serve` running"):
            await _versions(client)


async def test_patience_is_whole_again_when_a_connection_has_stood(contract: Contract) -> None:
    """A job may bring nothing for hours, and the server may end more than once meanwhile."""
    contract.events, contract.cuts = [FINISHED], 5

    async with Client(contract.url, Patience(first=0.0, longest=0.0, give_up=0.0)) as client:
        assert await _versions(client) == ["5"]


async def test_an_unknown_job_is_not_waited_for(contract: Contract) -> None:
    contract.problem = {"status": 404, "title": "Not Found", "detail": "there is no job job-1"}

    async with Client(contract.url, QUICK) as client:
        with pytest.raises(Problem, match="Not Found: there is no job job-1"):
            await _versions(client)
    assert len(contract.requests) == 1


async def test_each_fault_of_a_body_is_told(contract: Contract) -> None:
    contract.problem = {
        "status": 422,
        "title": "Unprocessable Content",
        "detail": "two fields are wrong",
        "pointer": "/params",
        "errors": [{"pointer": "/params/a", "detail": "must be a number"}, "no object"],
    }

    async with Client(contract.url) as client:
        with pytest.raises(Problem) as caught:
            await client.job("job-1")

    assert caught.value.message.splitlines() == [
        "Unprocessable Content: two fields are wrong (at /params)",
        "  /params/a: must be a number",
    ]


@pytest.mark.parametrize("status", [422, 503])
@pytest.mark.parametrize("errors", [None, 3, "x", {"pointer": "/a"}])
async def test_faults_that_are_none_are_passed_over(
    contract: Contract, status: int, errors: Any
) -> None:
    contract.problem = {"status": status, "title": "of a gateway", "errors": errors}

    async with Client(contract.url) as client:
        with pytest.raises(Problem) as caught:
            await client.job("job-1")

    assert caught.value.message == "of a gateway"


async def test_an_answer_from_something_else_is_no_traceback() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\n<p>x")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(Problem, match="502 Bad Gateway"):
                await client.job("job-1")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://jobs.example.org/api/v1/jobs/job-1/undo", "https://jobs.example.org"),
        ("https://jobs.example.org/of/api/v1/jobs/job-1/undo?a=b", "https://jobs.example.org/of"),
        ("https://sign.example.org/in?to=jobs", "https://sign.example.org/in?to=jobs"),
    ],
)
async def test_nobody_is_sent_on_with_a_key_and_a_command(
    contract: Contract, location: str, place: str
) -> None:
    contract.elsewhere = location

    async with Client(contract.url, token="secret") as client:
        with pytest.raises(InvalidCommand, match=f"is at {re.escape(place)}; put that address"):
            await client.command("job-1", "undo")
    assert contract.requests == [("POST", "/api/v1/jobs/job-1/undo")]


async def test_a_place_on_the_same_server_is_told_as_a_whole(contract: Contract) -> None:
    contract.jobs["job-1"] = job()
    contract.elsewhere = "/countermand/api/v1/jobs/job-1"

    async with Client(contract.url) as client:
        with pytest.raises(InvalidCommand, match=f"is at {contract.url}/countermand; put that"):
            await client.job("job-1")


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidCommand, match="is no address"):
        Client(wrong)


@pytest.mark.parametrize("wrong", ["", "../jobs", "a b", "a?b"])
async def test_an_id_that_would_lead_elsewhere_is_refused(wrong: str) -> None:
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(InvalidCommand, match="is no job id"):
            await client.job(wrong)


async def test_items_are_sent_as_they_come() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b'{"n": %d}\n' % number

    with serving() as contract:
        async with Client(contract.url) as client:
            made = await client.submit(
                [("operation", "notes.create"), ("tag", "a"), ("tag", "b")], blocks(), key="once"
            )

    assert made["job_id"] == job()["job_id"]
    assert contract.bodies == [b'{"n": 0}\n{"n": 1}\n{"n": 2}\n']
    assert contract.requests == [("POST", "/api/v1/jobs?operation=notes.create&tag=a&tag=b")]
    (headers,) = contract.headers
    assert headers["Idempotency-Key"] == "once"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Transfer-Encoding"] == "chunked"


async def test_a_page_is_no_stream_of_events(contract: Contract) -> None:
    contract.answer = ("text/html", "<p>Who are you?")

    async with Client(contract.url, QUICK) as client:
        with pytest.raises(Stranger):
            await asyncio.wait_for(_versions(client), 5)
    assert len(contract.requests) == 1
