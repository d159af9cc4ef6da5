"""Rates and live streams: who asks too often is told so, and nobody else notices."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.callers import network_of
from api.limits import Limits
from streams.clock import SystemClock
from streams.quotas import Quotas, QuotaTable
from streams.rates import Rate
from streams.stores.database import Database
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.proofs import bearer, carrying, proven
from tests.api.test_identity import answered
from tests.api.test_security import ask
from tests.api.test_server import NDJSON_HEAD, answer_to, connected
from tests.databases import sqlite_database
from tests.unit.streams.identity.signing import token

__all__ = ["sqlite_database"]

ME, JOBS = "/api/v1/me", "/api/v1/jobs"
SSE = {"Accept": "text/event-stream"}


@pytest.fixture
async def paced(engine: MemoryEngine, sqlite_database: Database) -> AsyncIterator[Site]:
    """Three calls of a route in an hour, two tokens that are refused, one stream a tenant."""
    clock = SystemClock()
    callers = proven(sqlite_database, failures=Rate.of("2/hour", clock))
    limits = Limits(quotas=QuotaTable(Quotas(streams=1)))
    rate = Rate.of("3/hour", clock)
    async with site_of(engine, limits, callers=callers, rate=rate) as served:
        yield served


async def test_every_answer_says_what_is_left(paced: Site) -> None:
    ada = bearer("acme", "viewer")
    seen = [await answered(paced, "GET", ME, headers=ada) for _ in range(4)]
    assert [status for status, _, _ in seen] == [200, 200, 200, 429]
    assert [headers["RateLimit-Remaining"] for _, _, headers in seen] == ["2", "1", "0", "0"]
    _, problem, headers = seen[-1]
    assert (problem["code"], headers["RateLimit-Limit"]) == ("too_many_requests", "3")
    assert headers["RateLimit-Policy"] == "3;w=3600"
    assert headers["Retry-After"] == headers["RateLimit-Reset"]
    assert 3500 < int(headers["Retry-After"]) <= 3600


async def test_refusals_do_not_make_the_api_look_slow(paced: Site) -> None:
    for _ in range(5):
        await answered(paced, "GET", ME, headers=bearer("acme", "viewer"))
    async with paced.client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    assert f'countermand_http_request_seconds_count{{route="{ME}"}} 3.0' in lines
    assert f'countermand_http_requests_total{{method="GET",route="{ME}",status="429"}} 2.0' in lines


async def test_another_caller_and_another_route_are_not_concerned(paced: Site) -> None:
    for _ in range(4):
        await answered(paced, "GET", ME, headers=bearer("acme", "viewer"))
    for headers in (bearer("acme", "viewer", actor="bob"), bearer("other", "viewer")):
        assert (await answered(paced, "GET", ME, headers=headers))[0] == 200
    assert (await answered(paced, "GET", JOBS, headers=bearer("acme", "viewer")))[0] == 200
    for _ in range(5):
        status, _, headers = await answered(paced, "GET", "/health/live")
        assert (status, "RateLimit-Limit" in headers) == (200, False)


async def test_what_is_not_allowed_counts_as_well(paced: Site) -> None:
    nobody = bearer("acme", "nobody")
    seen = [(await answered(paced, "GET", JOBS, headers=nobody))[0] for _ in range(4)]
    assert seen == [403, 403, 403, 429]


async def test_who_guesses_is_slowed_down_and_who_is_known_is_let_in(paced: Site) -> None:
    bad = carrying(token("x" * 32))
    seen = [await answered(paced, "GET", ME, headers=bad) for _ in range(3)]
    assert [status for status, _, _ in seen] == [401, 401, 429]
    assert seen[-1][1]["code"] == "too_many_failures"
    assert int(seen[-1][2]["Retry-After"]) > 3500
    assert (await answered(paced, "GET", ME, headers=bearer("acme", "viewer")))[0] == 200
    assert (await answered(paced, "GET", ME))[0] == 401, "who shows nothing guesses nothing"


def expecting(headers: dict[str, str]) -> bytes:
    """The head of a submit whose body is sent once the server asks for it."""
    said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return NDJSON_HEAD + f"{said}Content-Length: 8\r\nExpect: 100-continue\r\n\r\n".encode()


async def test_who_waits_to_be_asked_for_a_body_may_call_no_more_often(paced: Site) -> None:
    head = expecting(bearer("acme", "editor"))
    for _ in range(3):
        async with connected(paced) as (reader, writer), asyncio.timeout(5):
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b'{"n":1}\n')
            assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
    status, headers, problem = await answer_to(paced, head)
    assert (status, problem["code"]) == (429, "too_many_requests")
    assert int(headers["Retry-After"]) > 3500


async def test_who_guesses_and_waits_to_be_asked_for_a_body_is_counted_once(paced: Site) -> None:
    head = expecting(carrying(token("x" * 32)) | {"X-Request-Id": "mine"})
    seen = [await answer_to(paced, head) for _ in range(3)]
    assert [status for status, _, _ in seen] == [401, 401, 429]
    _, headers, problem = seen[0]
    assert headers["WWW-Authenticate"].startswith("Bearer ")
    assert (headers["X-Request-Id"], problem["request_id"]) == ("mine", "mine")
    assert seen[-1][2]["code"] == "too_many_failures"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("", ""),
    ],
)
def test_guesses_are_counted_by_who_has_the_address(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_a_tenant_has_so_many_live_streams(paced: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    jobs: dict[str, Any] = {}
    for tenant in ("acme", "other"):
        own = bearer(tenant, "editor")
        _, jobs[tenant], _ = await answered(paced, "POST", JOBS, json=body, headers=own)
    mine, theirs = bearer("acme", "editor", actor="bob"), bearer("other", "editor")
    path = jobs["acme"]["links"]["events"]
    async with paced.client.get(path, headers={**mine, **SSE}) as first:
        await first.content.readuntil(b"\n\n")
        status, problem = await ask(paced, "GET", path, headers={**mine, **SSE})
        assert (status, problem["code"]) == (429, "quota_exceeded")
        others = jobs["other"]["links"]["events"]
        async with paced.client.get(others, headers={**theirs, **SSE}) as second:
            assert second.status == 200
        first.close()
    paced.engine.work(jobs["acme"]["job_id"])
    async with asyncio.timeout(10):
        # The server notices at its next write that the first one has gone.
        for number in itertools.count():
            again = bearer("acme", "editor", actor=f"bob-{number}")
            if (await ask(paced, "GET", path, headers={**again, **SSE}))[0] == 200:
                break
