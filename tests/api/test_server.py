"""What happens below a request: broken HTTP, slow and vanished clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from api.limits import Limits
from api.security import HEADERS
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine

NDJSON_HEAD = (
    b"POST /api/v1/jobs?operation=test.double HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-ndjson\r\n"
)


@asynccontextmanager
async def connected(
    site: Site,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_to(site: Site, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and problem that the server sends before it closes."""
    async with connected(site) as (reader, writer), asyncio.timeout(5):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        return int(lines[0].split()[1]), headers, orjson.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"ODD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (NDJSON_HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (NDJSON_HEAD + b"Content-Length: -1\r\n\r\n", 400),
    ],
)
async def test_broken_http_is_answered_with_a_problem(
    site: Site, request_bytes: bytes, status: int
) -> None:
    answered, headers, problem = await answer_to(site, request_bytes)
    assert (answered, problem["status"]) == (status, status)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "X-Request-Id" in headers
    assert "aiohttp" not in headers["Server"]


async def test_a_missing_host_is_refused(site: Site) -> None:
    status, _, problem = await answer_to(site, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert (status, problem["code"]) == (403, "host_refused")


async def test_a_request_for_no_path_finds_nothing(site: Site) -> None:
    request = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await answer_to(site, request))[0] in (404, 405)


async def test_two_hosts_are_refused(site: Site) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert (await answer_to(site, request))[0] in (400, 403)


async def test_too_many_headers_are_refused(site: Site) -> None:
    many = b"".join(b"X-%d: x\r\n" % number for number in range(200))
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n"
    assert (await answer_to(site, request))[0] in (400, 431)


async def test_broken_transfer_coding_is_a_problem_and_nothing_runs(site: Site) -> None:
    request = NDJSON_HEAD + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"n":1}\r\nzz\r\n'
    assert (await answer_to(site, request))[0] == 400
    assert site.engine.events_of == {}


async def test_a_client_that_stops_sending_is_answered(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(body_idle=0.05, linger=0.05)) as site:
        request = NDJSON_HEAD + b'Content-Length: 100\r\n\r\n{"n":1}\n'
        status, _, problem = await answer_to(site, request)
    assert (status, problem["code"]) == (408, "request_timeout")
    assert engine.events_of == {}


async def test_a_client_that_sends_a_byte_now_and_then_is_answered(engine: MemoryEngine) -> None:
    """Of a whole document; lines may come as slowly as they are made."""
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with (
        site_of(engine, Limits(body_grace=0.0, linger=0.05)) as site,
        connected(site) as (reader, writer),
        asyncio.timeout(10),
    ):
        writer.write(head + b"Content-Length: 9000\r\n\r\n")
        answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        while not answered.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)  # the pace of who drips, well within what may stand still
        assert (await answered).startswith(b"HTTP/1.1 408 ")
    assert engine.events_of == {}


@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n8\r\n"]
)
async def test_a_client_that_vanishes_while_it_sends_leaves_nothing_running(
    site: Site, head: bytes
) -> None:
    with capture_logs() as logged:
        async with connected(site) as (_, writer):
            writer.write(NDJSON_HEAD + head + b'{"n":1}\n')
            await writer.drain()
            await until(lambda: bool(site.engine.uploads_begun))
        await until(lambda: bool(site.engine.uploads_failed))
        assert (await site.client.get("/health/live")).status == 200
    assert site.engine.events_of == {}
    assert logged == []


async def test_a_connection_that_never_asks_is_closed(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(keepalive=0.05)) as site:
        for first in (b"", b"GET /health/live HTTP/1.1\r\nHost: loc"):
            async with connected(site) as (reader, writer), asyncio.timeout(5):
                writer.write(first)
                assert await reader.read() == b""


async def test_a_refused_upload_is_not_asked_for(site: Site) -> None:
    request = (
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await answer_to(site, request))[0] == 403


async def test_an_expected_go_ahead_is_given(site: Site) -> None:
    async with connected(site) as (reader, writer), asyncio.timeout(5):
        writer.write(NDJSON_HEAD + b"Content-Length: 8\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b'{"n":1}\n')
        assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")


async def test_who_speaks_http_1_0_is_given_no_go_ahead(site: Site) -> None:
    head = NDJSON_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    async with connected(site) as (reader, writer), asyncio.timeout(5):
        writer.write(head + b"Content-Length: 8\r\nExpect: 100-continue\r\n\r\n" + b'{"n":1}\n')
        assert (await reader.readline()).startswith(b"HTTP/1.0 202 ")


async def test_an_unknown_expectation_is_ignored(site: Site) -> None:
    async with site.client.get("/nothing", headers={"Expect": "miracles"}) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def until(happened: Any) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)
