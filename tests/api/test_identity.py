"""Who calls: asked on every route that is not open, told in problems, looked at again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.app import ROUTES
from api.callers import NamedCallers
from api.limits import Limits
from api.rules import OPEN
from api.systems.annotations.importing import IMPORT
from domain.errors import IdentityUnavailable, StoreUnavailable
from domain.permissions import EVERY_PERMISSION
from streams.clock import SystemClock
from streams.identity.tokens import LEEWAY, VerifyingKey
from streams.stores.database import Database
from streams.stores.schema_callers import api_keys
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.matrix import DASHBOARD
from tests.api.proofs import bearer, carrying, proven
from tests.api.test_security import ask, filled
from tests.api.test_server import NDJSON_HEAD, answer_to
from tests.databases import sqlite_database
from tests.unit.streams.identity.signing import token

__all__ = ["sqlite_database"]

CLOSED = [
    (route.method, filled(route.path))
    for route in ROUTES
    if route.rule is not OPEN and route.method != "*"
]
ME, JOBS, KEYS = "/api/v1/me", "/api/v1/jobs", "/api/v1/keys"


class Later(SystemClock):
    """A clock that is ahead by as much as a test says."""

    by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


@pytest.fixture
async def closed(engine: MemoryEngine, sqlite_database: Database) -> AsyncIterator[Site]:
    """An edge that asks who calls, and looks again at every turn."""
    limits = Limits(recheck=0.0, heartbeat=0.02)
    async with site_of(engine, limits, callers=proven(sqlite_database)) as served:
        yield served


async def answered(site: Site, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
    """Status, document and headers."""
    async with site.client.request(method, path, **options) as response:
        return response.status, await response.json(content_type=None), response.headers


async def test_nobody_gets_in_without_saying_who_it_is(closed: Site) -> None:
    for method, path in CLOSED:
        status, problem = await ask(closed, method, path)
        assert (status, problem["code"]) == (401, "unauthenticated"), path
    _, _, headers = await answered(closed, "GET", ME)
    assert headers["WWW-Authenticate"] == 'Bearer realm="countermand"'


async def test_health_is_told_to_everybody_and_so_is_what_is_not_there(closed: Site) -> None:
    open_to_all = [filled(r.path) for r in ROUTES if r.rule is OPEN and r.method != "*"]
    assert open_to_all == [
        "/api/v1/openapi.json",
        "/",
        DASHBOARD,
        "/docs",
        "/docs/style.css",
        "/problems",
        "/health/live",
        "/health/ready",
        "/metrics",
    ]
    assert {(await ask(closed, "GET", path))[0] for path in open_to_all} == {200}
    assert (await ask(closed, "GET", "/nothing"))[0] == 404
    assert (await ask(closed, "PUT", JOBS))[0] == 405


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Basic {token()}")],
        [("Authorization", token())],
        [("Authorization", f"Bearer {token()}"), ("Authorization", f"Bearer {token()}")],
        [("Authorization", f"Bearer {token()} {token()}")],
        [("Authorization", "Bearer cmk_" + "0" * 32 + "_" + "0" * 64)],
        [("Authorization", f"Bearer {token('x' * 32)}")],
        [("Cookie", f"token={token()}")],
        [("X-Api-Key", token())],
    ],
)
async def test_a_credential_comes_in_one_way(closed: Site, headers: list[tuple[str, str]]) -> None:
    status, problem, answers = await answered(closed, "GET", ME, headers=headers)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert answers["WWW-Authenticate"].startswith('Bearer realm="countermand"')


@pytest.mark.parametrize("name", ["access_token", "token", "ticket"])
async def test_a_token_in_the_address_lets_nobody_in(closed: Site, name: str) -> None:
    assert (await ask(closed, "GET", f"{ME}?{name}={token()}"))[0] == 401


async def test_the_log_says_why_and_not_what(closed: Site) -> None:
    text = token(exp=1)
    with capture_logs() as logged:
        status, problem, headers = await answered(closed, "GET", ME, headers=carrying(text))
    assert (status, headers["WWW-Authenticate"]) == (
        401,
        'Bearer realm="countermand", error="invalid_token"',
    )
    (entry,) = logged
    assert (entry["event"], entry["reason"]) == ("credential_refused", "it has expired")
    assert entry["request_id"] == problem["request_id"]
    assert text not in str(entry)
    assert text not in str(problem)


async def test_who_lacks_a_permission_is_told_which(closed: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    viewer = bearer("acme", "viewer")
    status, problem, headers = await answered(closed, "POST", JOBS, json=body, headers=viewer)
    assert (status, problem["code"]) == (403, "permission_lacking")
    assert "ada lacks the permission submit in tenant acme" in problem["detail"]
    assert "editor" in problem["detail"]
    assert 'error="insufficient_scope", scope="submit"' in headers["WWW-Authenticate"]
    assert closed.engine.events_of == {}


async def test_me_tells_who_one_is(closed: Site) -> None:
    _, said, _ = await answered(closed, "GET", ME, headers=bearer("acme", "viewer", "approver"))
    assert (said["mode"], said["tenant"], said["actor"]) == ("proven", "acme", "ada")
    assert said["permissions"] == ["approve", "participate", "view"]
    assert said["expires_at"].endswith("+00:00")
    nothing = await answered(closed, "GET", ME, headers=bearer("acme", "nobody"))
    assert (nothing[0], nothing[1]["permissions"]) == (200, [])


async def test_a_local_server_says_that_it_asks_nobody(site: Site) -> None:
    _, said, _ = await answered(site, "GET", ME, headers=bearer("acme", "viewer"))
    assert said == {
        "mode": "local",
        "tenant": "local",
        "actor": "local",
        "permissions": sorted(EVERY_PERMISSION),
        "projects": {},
        "expires_at": None,
    }
    status, problem, _ = await answered(site, "GET", KEYS)
    assert (status, problem["code"]) == (409, "keys_not_asked_for")


async def test_a_server_of_named_callers_says_so(engine: MemoryEngine) -> None:
    async with site_of(engine, callers=NamedCallers()) as site:
        _, said, _ = await answered(site, "GET", ME, headers={"Countermand-Actor": "ada"})
    assert (said["mode"], said["actor"]) == ("named", "ada")


async def test_a_name_in_a_header_is_not_heeded_beside_a_token(closed: Site) -> None:
    headers = {**bearer("acme", "admin"), "Countermand-Actor": "root"}
    status, problem, _ = await answered(closed, "GET", ME, headers=headers)
    assert (status, problem["code"]) == (400, "actor_not_heeded")


async def test_one_tenant_does_not_see_the_jobs_of_another(closed: Site) -> None:
    body = {"operation": "test.double", "items": [{"n": 1}]}
    mine, others = bearer("acme", "editor"), bearer("other", "editor")
    _, job, _ = await answered(closed, "POST", JOBS, json=body, headers=mine)
    path = job["links"]["self"]
    assert (await answered(closed, "GET", path, headers=mine))[0] == 200
    assert (await answered(closed, "GET", path, headers=others))[0] == 404


class Away:
    """An issuer whose keys cannot be had."""

    async def candidates(self, kid: str | None) -> Sequence[VerifyingKey]:
        raise IdentityUnavailable("the keys of the issuer of tokens cannot be had; try again")


async def test_when_tokens_cannot_be_checked_nobody_is_let_in(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    async with site_of(engine, callers=proven(sqlite_database, Away())) as site:
        status, problem, headers = await answered(
            site, "GET", JOBS, headers=bearer("acme", "admin")
        )
    assert (status, problem["code"]) == (503, "identity_unavailable")
    assert headers["Retry-After"] == "1"


async def test_when_keys_cannot_be_looked_up_nobody_is_let_in(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    callers = proven(sqlite_database)
    sqlite_database.write_now(lambda found: found.exec_driver_sql("DROP TABLE api_keys"))
    async with site_of(engine, callers=callers) as site:
        status, problem, _ = await answered(
            site, "GET", JOBS, headers=carrying("cmk_" + "0" * 32 + "_" + "0" * 64)
        )
    assert (status, problem["code"]) == (503, StoreUnavailable.code)


async def test_an_upload_is_not_asked_for_from_somebody_unknown(closed: Site) -> None:
    request = NDJSON_HEAD + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    assert (await answer_to(closed, request))[0] == 401
    assert closed.engine.uploads_begun == 0


# -- keys ----------------------------------------------------------------------------------


async def _made(site: Site, *roles: str) -> Any:
    body = {"name": "importer", "roles": list(roles)}
    admin = bearer("acme", "admin")
    status, key, headers = await answered(site, "POST", KEYS, json=body, headers=admin)
    assert (status, headers["Location"]) == (201, f"{KEYS}/{key['key_id']}")
    return key


async def test_a_key_is_shown_once_and_lets_a_service_in(closed: Site) -> None:
    key, admin = await _made(closed, "view"), bearer("acme", "admin")
    _, said, _ = await answered(closed, "GET", ME, headers=carrying(key["key"]))
    assert (said["actor"], said["permissions"]) == ("key:importer", ["view"])

    _, listed, _ = await answered(closed, "GET", KEYS, headers=admin)
    (one,) = listed["items"]
    assert one.keys() == key.keys() - {"key"}
    assert (one["name"], one["created_by"], listed["next_cursor"]) == ("importer", "ada", None)
    assert one["last_used_at"]

    path = f"{KEYS}/{key['key_id']}"
    _, rotated, _ = await answered(
        closed, "POST", f"{path}/rotate", json={"overlap": 0}, headers=admin
    )
    assert (await answered(closed, "GET", ME, headers=carrying(key["key"])))[0] == 401
    assert (await answered(closed, "GET", ME, headers=carrying(rotated["key"])))[0] == 200
    status, gone, _ = await answered(closed, "POST", f"{path}/revoke", headers=admin)
    assert (status, bool(gone["revoked_at"]), "key" in gone) == (200, True, False)
    assert (await answered(closed, "GET", ME, headers=carrying(rotated["key"])))[0] == 401
    others = bearer("other", "admin")
    for verb in ("rotate", "revoke"):
        status, problem, _ = await answered(closed, "POST", f"{path}/{verb}", headers=others)
        assert (status, problem["code"]) == (404, "key_not_found")


async def test_the_log_has_who_made_and_revoked_keys(closed: Site) -> None:
    admin = bearer("acme", "admin")
    with capture_logs() as logged:
        key = await _made(closed, "view")
        for verb in ("rotate", "revoke"):
            await answered(closed, "POST", f"{KEYS}/{key['key_id']}/{verb}", headers=admin)
    assert [entry["event"] for entry in logged] == ["key_created", "key_rotated", "key_revoked"]
    assert {(one["actor"], one["tenant"], one["name"]) for one in logged} == {
        ("ada", "acme", "importer")
    }
    assert key["key"].rpartition("_")[2] not in str(logged)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": "x", "roles": ["root"]}, "/roles/0"),
        ({"name": "x", "roles": "view"}, "/roles"),
        ({"name": "x", "roles": ["view"], "tenant": "other"}, "/tenant"),
        ({"name": "x", "roles": ["view"], "key_id": "0" * 32}, "/key_id"),
        ({"name": "x", "roles": ["view"], "expires_at": "2026-01-01T00:00:00"}, "/expires_at"),
        ({"name": "x", "roles": ["view"], "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        (
            {"name": "x", "roles": ["view"], "expires_at": "0001-01-01T00:00:00+14:00"},
            "/expires_at",
        ),
        (
            {"name": "x", "roles": ["view"], "expires_at": "9999-12-31T23:59:59-14:00"},
            "/expires_at",
        ),
        (
            {"name": "x", "roles": ["view"], "expires_at": "9999-12-31T23:59:59.999999Z"},
            "/expires_at",
        ),
    ],
)
async def test_a_key_that_cannot_be_made_is_refused(closed: Site, body: Any, pointer: str) -> None:
    admin = bearer("acme", "admin")
    status, problem, _ = await answered(closed, "POST", KEYS, json=body, headers=admin)
    assert (status, problem["pointer"]) == (422, pointer)
    assert (await answered(closed, "GET", KEYS, headers=admin))[1]["items"] == []


async def test_a_key_may_end_with_the_last_year_that_dates_have(closed: Site) -> None:
    last, admin = "9999-12-31T23:59:59+00:00", bearer("acme", "admin")
    body = {"name": "lasting", "roles": ["view"], "expires_at": last}
    status, key, _ = await answered(closed, "POST", KEYS, json=body, headers=admin)
    assert (status, key["expires_at"]) == (201, last)
    _, said, _ = await answered(closed, "GET", ME, headers=carrying(key["key"]))
    assert said["expires_at"] == last


async def test_a_key_and_a_token_that_end_later_than_dates_go_are_shown(
    closed: Site, sqlite_database: Database
) -> None:
    """Former versions have stored such keys; what issuers of tokens say is theirs."""
    key, admin, last = (
        await _made(closed, "view"),
        bearer("acme", "admin"),
        "9999-12-31T23:59:59+00:00",
    )
    beyond = datetime(9999, 12, 31, tzinfo=UTC).timestamp() + 2 * 86400
    await sqlite_database.write(lambda c: c.execute(api_keys.update().values(expires_at=beyond)))

    status, listed, _ = await answered(closed, "GET", KEYS, headers=admin)
    assert (status, [one["expires_at"] for one in listed["items"]]) == (200, [last])
    for headers in (carrying(key["key"]), carrying(token(tenant="acme", exp=10**15))):
        status, said, _ = await answered(closed, "GET", ME, headers=headers)
        assert (status, said["expires_at"]) == (200, last)
        async with closed.client.ws_connect("/api/v1/ws", headers=headers) as socket:
            greeting = await socket.receive_json(timeout=10)
            assert greeting["data"]["expires_at"] == last
    path = f"{KEYS}/{key['key_id']}"
    for verb in ("rotate", "revoke"):
        assert (await answered(closed, "POST", f"{path}/{verb}", headers=admin))[0] == 200


async def test_a_live_stream_ends_when_its_key_is_revoked(closed: Site) -> None:
    key = await _made(closed, "view", "submit")
    body = {"operation": "test.double", "items": [{"n": 1}]}
    mine = carrying(key["key"])
    _, job, _ = await answered(closed, "POST", JOBS, json=body, headers=mine)
    async with (
        asyncio.timeout(10),
        closed.client.get(job["links"]["events"], headers=mine) as response,
    ):
        await response.content.readuntil(b": still here\n\n")
        path = f"{KEYS}/{key['key_id']}/revoke"
        await answered(closed, "POST", path, headers=bearer("acme", "admin"))
        await response.read()
    assert (await ask(closed, "GET", job["links"]["events"], headers=mine))[0] == 401


async def sent_while(
    site: Site, path: str, blocks: Sequence[bytes], content_type: str, mine: dict[str, str]
) -> tuple[asyncio.Event, asyncio.Task[tuple[int, Any, Any]]]:
    """A request under way: its first block has come, the others come once the event is set."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield blocks[0]
        begun.set()
        await go_on.wait()
        for block in blocks[1:]:
            yield block

    headers = {**mine, "Content-Type": content_type, "Idempotency-Key": "monday"}
    task = asyncio.create_task(answered(site, "POST", path, data=body(), headers=headers))
    async with asyncio.timeout(10):
        await begun.wait()
    await asyncio.sleep(0.1)  # until who sends it was let in
    return go_on, task


BODIES = [
    (f"{JOBS}?operation=test.double", [b'{"n": 1}\n', b'{"n": 2}\n'], "application/x-ndjson"),
    (f"{JOBS}?operation=test.double", [b'{"n": 1}\n'], "application/x-ndjson"),
    (JOBS, [b'{"operation": "test.double", "items"', b': [{"n": 1}]}'], "application/json"),
    (
        IMPORT,
        [
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
            b"x\r\n--x--\r\n",
        ],
        "multipart/form-data; boundary=x",
    ),
]


@pytest.mark.parametrize(("path", "blocks", "content_type"), BODIES)
async def test_a_body_under_way_makes_nothing_once_its_key_is_revoked(
    closed: Site, path: str, blocks: list[bytes], content_type: str
) -> None:
    key = await _made(closed, "view", "submit", "participate")
    mine = carrying(key["key"])
    go_on, sending = await sent_while(closed, path, blocks, content_type, mine)
    revoke = f"{KEYS}/{key['key_id']}/revoke"
    await answered(closed, "POST", revoke, headers=bearer("acme", "admin"))
    go_on.set()
    status, problem, _ = await sending
    assert (status, problem["code"]) == (401, "unauthenticated")
    _, jobs, _ = await answered(closed, "GET", JOBS, headers=bearer("acme", "admin"))
    assert jobs["items"] == []


@pytest.mark.parametrize(("late", "status"), [(3600.0, 202), (0.0, 401)])
async def test_a_body_under_way_may_end_a_while_after_its_token(
    engine: MemoryEngine, sqlite_database: Database, late: float, status: int
) -> None:
    limits, clock = Limits(recheck=0.0, body_late=late), Later()
    async with site_of(engine, limits, callers=proven(sqlite_database, clock=clock)) as site:
        short = carrying(
            token(sub="ada", tenant="acme", roles=["editor"], exp=int(time.time() + 600))
        )
        path, blocks, content_type = BODIES[0]
        go_on, sending = await sent_while(site, path, blocks, content_type, short)
        clock.by = timedelta(seconds=601 + LEEWAY)
        go_on.set()
        assert (await sending)[0] == status


async def test_a_live_stream_ends_with_its_token(
    engine: MemoryEngine, sqlite_database: Database
) -> None:
    callers = proven(sqlite_database)
    limits = Limits(recheck=0.0, heartbeat=0.02)
    async with site_of(engine, limits, callers=callers) as site:
        body = {"operation": "test.double", "items": [{"n": 1}]}
        mine = bearer("acme", "editor")
        _, job, _ = await answered(site, "POST", JOBS, json=body, headers=mine)
        # With the leeway it is good for another two seconds or three.
        short = carrying(
            token(sub="ada", tenant="acme", roles=["viewer"], exp=int(time.time() + 3 - LEEWAY))
        )
        async with (
            asyncio.timeout(10),
            site.client.get(job["links"]["events"], headers=short) as response,
        ):
            assert b": still here" in await response.read()
