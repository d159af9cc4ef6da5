"""Every answer, on every route, is guarded and carries the headers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from api.app import ROUTES, create_health_app
from api.dashboard.serving import FILE
from api.documents import SOCKET
from api.limits import LOOPBACK_HOSTS, Limits
from api.security import HEADERS, PAGE_POLICY, SCRIPT_POLICY
from api.server import serving
from api.systems.annotations.operation_documents import SOCKET as OPERATIONS_SOCKET
from domain.systems.annotations.kinds import KINDS
from streams.clock import SystemClock
from streams.settings import load
from tests.api.conftest import CountingIds, Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.matrix import DASHBOARD

PLACES = {
    FILE: DASHBOARD,
    "{job_id:[0-9A-Za-z_-]{1,64}}": "job-1",
    "{other:[0-9A-Za-z_-]{1,64}}": "job-2",
    "{table}": "numbers",
    "{tenant:[^/]{1,100}}": "t",
    "{kind:[^/]{1,200}}": "test.*",
    "{name:[^/]{1,100}}": "queue:t",
    "{code:[a-z][a-z0-9_]{0,49}}": "unreadable",
    "{record_id:[0-9]{1,19}}": "7",
    "{position:[0-9]{1,8}}": "7",
    "{key_id:[0-9a-f]{32}}": "0" * 32,
    "{webhook_id:[0-9a-f]{32}}": "0" * 32,
    "{operation_id:[0-9]{1,19}}": "7",
    **{f"{{{kind.one}_id:[0-9]{{1,19}}}}": "7" for kind in KINDS},
}

DASHBOARD_HEADERS: dict[str, dict[str, str]] = {
    "/": {"Cache-Control": "no-cache", "Content-Security-Policy": SCRIPT_POLICY},
    DASHBOARD: {"Cache-Control": "public, max-age=31536000, immutable"},
}
"""What the dashboard says otherwise than everybody else."""


def filled(path: str) -> str:
    """The pattern of a route as one of its paths."""
    for place, value in PLACES.items():
        path = path.replace(place, value)
    assert "{" not in path, "a place that this test does not know"
    return path


PATHS = [(route.method, filled(route.path)) for route in ROUTES if route.method != "*"]
SOCKETS = (SOCKET, OPERATIONS_SOCKET)
WRITING = [path for method, path in PATHS if method == "POST"]


async def ask(site: Site, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with site.client.request(method, path, **options) as response:
        headers = response.headers
        page = response.content_type == "text/html"
        policy = {"Content-Security-Policy": PAGE_POLICY} if page else {}
        otherwise = DASHBOARD_HEADERS.get(path, {}) if response.status == 200 else {}
        for name, value in (HEADERS | policy | otherwise).items():
            assert headers.getall(name) == [value], f"{name} on {method} {path}"
        assert headers["X-Request-Id"]
        if response.status >= 400:
            assert response.content_type == "application/problem+json"
            problem = orjson.loads(await response.read())
            assert problem.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
            assert problem["status"] == response.status
            return response.status, problem
        response.close()
        return response.status, {}


def test_the_routes_are_those_that_are_promised() -> None:
    assert len(PATHS) == len(set(PATHS)) == 150


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil.example"],
)
async def test_another_host_is_refused(site: Site, host: str) -> None:
    for method, path in PATHS:
        status, problem = await ask(site, method, path, headers={"Host": host})
        assert (status, problem["code"]) == (403, "host_refused"), path


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8080"])
async def test_the_names_of_this_machine_are_served(site: Site, host: str) -> None:
    assert (await ask(site, "GET", "/health/live", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.org", 200),
        ("API.example.org:8080", 200),
        ("[fd00::1]:8080", 200),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("example.org", 403),
        ("www.api.example.org", 403),
        ("api.example.org.evil.example", 403),
        ("fd00::1", 403),
        ("0.0.0.0", 403),
    ],
)
async def test_the_names_given_for_other_machines_are_served_and_no_others(
    engine: MemoryEngine, host: str, status: int
) -> None:
    settings = load(exposed_to="api.example.org,fd00::1")
    limits = Limits(hosts=LOOPBACK_HOSTS | settings.exposed_names)

    async with site_of(engine, limits) as site:
        answered, _ = await ask(site, "GET", "/health/live", headers={"Host": host})

    assert answered == status


def health_alone(engine: MemoryEngine) -> web.Application:
    return create_health_app(
        engine,
        clock=SystemClock(),
        ids=CountingIds(),
        metrics=CollectorRegistry(),
        limits=Limits(hosts=frozenset({"api.example.org"})),
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [("{}", 200), ("{}:1", 200), ("api.example.org", 200), ("127.0.0.2", 403), ("localhost", 403)],
)
async def test_who_serves_its_health_alone_answers_to_the_address_that_it_was_asked_at(
    engine: MemoryEngine, host: str, status: int
) -> None:
    app = health_alone(engine)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place, port = listener.getsockname()
        headers = {"Host": host.format(place)}
        async with (
            serving(app, listener, drain=5.0),
            aiohttp.ClientSession(f"http://{place}:{port}") as client,
            client.get("/metrics", headers=headers) as response,
        ):
            assert response.status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("127.0.0.2", 403),
        ("[::ffff:127.0.0.2]", 403),
        ("[::1]", 403),
        ("localhost", 403),
    ],
)
async def test_who_serves_its_health_alone_on_both_kinds_of_addresses_answers_to_both(
    engine: MemoryEngine, host: str, status: int
) -> None:
    """A socket of both tells an address of IPv4 as one of IPv6; those who scrape do not."""
    app = health_alone(engine)
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        port = listener.getsockname()[1]
        async with (
            serving(app, listener, drain=5.0),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
            client.get("/metrics", headers={"Host": host}) as response,
        ):
            assert response.status == status


async def test_who_serves_jobs_answers_to_no_address_that_was_not_named(
    engine: MemoryEngine,
) -> None:
    async with site_of(engine, Limits(hosts=frozenset({"api.example.org"}))) as site:
        status, problem = await ask(site, "GET", "/metrics")

    assert (status, problem["code"]) == (403, "host_refused")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_another_origin_is_refused(site: Site, origin: str) -> None:
    for method, path in PATHS:
        status, problem = await ask(site, method, path, headers={"Origin": origin})
        assert (status, problem["code"]) == (403, "origin_refused"), path


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
async def test_the_own_origin_is_served_before_and_behind_a_proxy(site: Site, scheme: str) -> None:
    origin = site.url.replace("http", scheme)
    assert (await ask(site, "GET", "/health/live", headers={"Origin": origin}))[0] == 200


async def test_no_page_elsewhere_is_let_read_an_answer(site: Site) -> None:
    """There is no CORS: whatever a page asks for, no header says that it may."""
    wishes = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    for method, path in PATHS:
        for origin in (site.url, "https://evil.example", "null"):
            for verb in (method, "OPTIONS"):
                headers = {"Origin": origin, **wishes}
                async with site.client.request(verb, path, headers=headers) as response:
                    said = [name for name in response.headers if name.lower().startswith("access-")]
                    assert said == [], path
                    response.close()


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_changes_nothing(site: Site, fetch_site: str) -> None:
    for path in WRITING:
        status, problem = await ask(site, "POST", path, headers={"Sec-Fetch-Site": fetch_site})
        assert (status, problem["code"]) == (403, "origin_refused"), path


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "a/b", "json"],
)
async def test_only_json_is_taken(site: Site, kind: str) -> None:
    for path in WRITING:
        status, problem = await ask(
            site, "POST", path, data=b'{"reason":"x"}', headers={"Content-Type": kind}
        )
        # The routes that take forms take none that a page of another site could send.
        is_form = path.endswith(("/text/import", "/image/import")) and kind == "multipart/form-data"
        expected = (403, "origin_refused") if is_form else (415, "unsupported_media_type")
        assert (status, problem["code"]) == expected, path


@pytest.mark.parametrize(
    ("method", "path", "header", "value", "status"),
    [
        ("POST", "/api/v1/jobs", "Idempotency-Key", "once", 400),
        ("POST", "/api/v1/jobs", "Content-Encoding", "gzip", 415),
        ("GET", "/api/v1/events", "Last-Event-ID", "1", 400),
        ("GET", "/api/v1/jobs/job-1/events", "Last-Event-ID", "1", 400),
    ],
)
async def test_a_header_of_one_value_is_not_taken_twice(
    site: Site, method: str, path: str, header: str, value: str, status: int
) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    assert (await ask(site, "POST", "/api/v1/jobs", json=body))[0] == 202
    headers = CIMultiDict([(header, value), (header, value)])

    found, problem = await ask(
        site, method, path, headers=headers, json=body if method == "POST" else None
    )

    assert (found, header in problem["detail"]) == (status, True)


async def test_an_empty_form_is_refused_too(site: Site) -> None:
    kind = "application/x-www-form-urlencoded"
    for path in WRITING:
        assert (await ask(site, "POST", path, headers={"Content-Type": kind}))[0] == 415, path


@pytest.mark.parametrize("coding", ["br", "deflate", "compress", "identity, gzip", "gzip, zstd"])
async def test_a_packed_body_is_refused_unopened(site: Site, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    packed = b"\x1f\x8b" + b"x" * 100
    for path in WRITING:
        status, problem = await ask(site, "POST", path, data=packed, headers=headers)
        assert (status, problem["code"]) == (415, "unsupported_media_type"), path


def wrong_methods() -> Iterator[tuple[str, str]]:
    for path in sorted({path for _, path in PATHS}):
        known = {method for method, other in PATHS if other == path}
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"):
            if method not in known:
                yield method, path


async def test_another_method_is_not_allowed(site: Site) -> None:
    tried = list(wrong_methods())
    assert len(tried) > 200
    for method, path in tried:
        async with site.client.request(method, path) as response:
            allowed = response.headers.get("Allow", "")
        known = {known for known, other in PATHS if other == path}
        heads = {"HEAD"} if "GET" in known and path not in SOCKETS else set()
        assert set(allowed.split(", ")) == known | heads
        assert (await ask(site, method, path))[0] == 405, f"{method} {path}"


async def test_a_method_in_a_header_counts_for_nothing(site: Site) -> None:
    headers = {"X-HTTP-Method-Override": "POST"}
    assert (await ask(site, "GET", "/api/v1/jobs/job-1/pause", headers=headers))[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard",
        "/api",
        "/api/v1/jobs/",
        "/api/v2/jobs",
        "/api/v1/jobs/a%2Fb",
        "/api/v1/jobs/..",
        "/api/v1/jobs/" + "x" * 65,
        "/api/v1/jobs/ä",
        "/api/v1/jobs/job-1/delete",
        "/%00",
        "/a%0D%0Ab",
        "/api/v1/jobs/%0A",
    ],
)
async def test_other_paths_are_not_found(site: Site, path: str) -> None:
    status, problem = await ask(site, "GET", path)
    assert (status, problem["detail"]) == (
        404,
        "there is nothing under this path; /docs shows all there is",
    )


async def test_a_live_stream_carries_the_headers(site: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    await ask(site, "POST", "/api/v1/jobs", json=body)
    assert (await ask(site, "GET", "/api/v1/jobs/job-1/events"))[0] == 200


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0, text/event-stream;q=0", "*"]
)
async def test_what_cannot_be_given_is_not_acceptable(site: Site, accept: str) -> None:
    headers = {"Accept": accept}
    status, problem = await ask(site, "GET", "/api/v1/jobs/job-1/events", headers=headers)
    assert (status, problem["code"]) == (406, "not_acceptable")
