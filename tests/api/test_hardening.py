"""What attackers send, to every route, body and parameter that there is; see the matrix."""

from __future__ import annotations

import re

import orjson
import pytest
from yarl import URL

from api.documents import SOCKET
from api.systems.annotations.operation_documents import SOCKET as OPERATIONS_SOCKET
from api.vitals import told
from domain.permissions import EVERY_PERMISSION
from tests.api.matrix import CLOSED, WAYS, Request, filled, named
from tests.api.proofs import bearer
from tests.api.shop import Shop
from tests.api.test_tenants import JOBS, NOBODYS, OURS, SECRET, answer_to, shop

__all__ = ["shop"]

ROOT = bearer("acme", *sorted(EVERY_PERMISSION))
NOT_THEIRS = {
    "tenant": "other",
    "tenant_id": "other",
    "status": "completed",
    "created_by": "root",
    "actor": "root",
    "counts": {"succeeded": 7},
    "version": 7,
    "job_id": "mine",
    "permissions": ["operate"],
}
"""Fields that the server sets, and a body never does."""

ODD = (
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    '" OR ""="',
    "%",
    "_",
    "\\",
    "*",
    "\0",
    "a\r\nSet-Cookie: x=1",
    "\N{LINE SEPARATOR}",
    "../../etc/passwd",
    "{{7*7}}",
    "%(x)s {0.__class__}",
    "[]",
    "null",
    "-1",
    "1e9",
    "9" * 400,
    "\N{FULLWIDTH DIGIT ONE}",
    "x" * 4000,
)


async def _served(shop: Shop) -> dict[str, str]:
    """A finished job, with what is named after it."""
    things = [{"name": f"{SECRET} {n}"} for n in range(3)]
    job = await shop.post(JOBS, json={"operation": "stock.create", "items": things}, headers=ROOT)
    await shop.settled(job, headers=ROOT)
    return {**NOBODYS, "JOB": job["links"]["self"], "OTHER": job["job_id"], "RECORD": _RECORD}


_RECORD = "/api/v1/records/stock/1"
ITS_OWN = {("/api/v1/retention", "tenant")}
"""Who operates the installation names the tenant whose rule it is."""


async def test_a_body_sets_nothing_that_is_not_its_own(shop: Shop) -> None:
    tried = 0
    for route in CLOSED:
        method, path = named(route)
        bodies = [how.get("body") or {} for how in WAYS[method, path]]
        for body in [one for one in bodies if method == "POST" and isinstance(one, dict)]:
            for name, value in NOT_THEIRS.items():
                if (path, name) in ITS_OWN:
                    continue
                asked = filled(method, path, {"body": {**body, name: value}}, NOBODYS)
                status, answer = await answer_to(shop, asked, ROOT)
                assert status in (400, 422), f"{asked}: {answer!r}"
                tried += 1
    assert tried >= 100
    assert (await shop.get(JOBS, headers=ROOT))["items"] == []


async def _parameters(shop: Shop, asked: Request) -> list[str]:
    """The parameters of a route, as it says itself when it is given another one."""
    wrong = Request(asked.method, asked.path, {"nonsense": "1"}, asked.headers, asked.body)
    status, body = await answer_to(shop, wrong, ROOT)
    assert status == 400, asked
    listed = orjson.loads(body)["detail"].partition("possible: ")[2]
    return [name for name in listed.split(", ") if name != "none"]


async def test_odd_words_in_every_parameter_do_no_harm(shop: Shop) -> None:
    ids = await _served(shop)
    theirs = bearer("other", *sorted(EVERY_PERMISSION))
    tried = 0
    for route in CLOSED:
        method, path = named(route)
        if method != "GET":
            continue
        for how in WAYS[method, path]:
            plain = filled(method, path, {k: v for k, v in how.items() if k == "headers"}, ids)
            for name in await _parameters(shop, plain):
                for word in ODD:
                    asked = Request(method, plain.path, {name: word}, plain.headers)
                    status, body = await answer_to(shop, asked, ROOT)
                    allowed = {200, 204, 400, 404, 409, 422, 431}
                    if path in (SOCKET, OPERATIONS_SOCKET):
                        allowed.add(426)  # it wants another protocol, whatever the words are
                    assert status in allowed, f"{asked}: {body[:300]!r}"
                    _, body = await answer_to(shop, asked, theirs)
                    assert SECRET.encode() not in body, asked
                    tried += 1
            break
    assert tried > 500
    assert (await shop.get(ids["JOB"], headers=ROOT))["counts"]["succeeded"] == 3


async def test_a_parameter_given_twice_is_refused_or_meant(shop: Shop) -> None:
    """``status=a&status=b`` is either of both; elsewhere two values are one too many."""
    meant = {"status", "tag", "change", "item", "chunk", "record"}
    ids = await _served(shop)
    for route in CLOSED:
        method, path = named(route)
        if method != "GET":
            continue
        asked = filled(method, path, {}, ids)
        for name in await _parameters(shop, asked):
            async with shop.client.get(
                asked.path, params=[(name, "1"), (name, "2")], headers=ROOT
            ) as response:
                # The stream of all jobs does not end, and takes several tags.
                live = response.content_type == "text/event-stream"
                problem = {} if live else orjson.loads(await response.read())
                if name not in meant:
                    assert (response.status, problem["code"]) == (400, "bad_parameter")


async def test_odd_words_in_a_path_lead_nowhere(shop: Shop) -> None:
    ids = await _served(shop)
    for word in ODD:
        quoted = "".join(f"%{byte:02X}" for byte in word.encode())
        for pattern in (
            f"{JOBS}/@",
            "/api/v1/records/@/1/history",
            "/api/v1/records/stock/@/blame",
            "/api/v1/keys/@/revoke",
            f"{ids['JOB']}/@",
            f"{ids['JOB']}/diff/@",
        ):
            path = pattern.replace("@", quoted)
            async with shop.client.get(URL(path, encoded=True), headers=ROOT) as response:
                assert response.status in (400, 404, 405, 422, 431), path


@pytest.mark.parametrize("word", ["%", "_", "confidential_", "c%l"])
async def test_what_is_looked_for_is_no_pattern(shop: Shop, word: str) -> None:
    things = {"operation": "stock.create", "name": "confidential", "items": [{"name": "x"}]}
    job = await shop.post(JOBS, json=things, headers=OURS)
    await shop.settled(job, headers=OURS)
    assert (await shop.get(JOBS, params={"q": word}, headers=OURS))["items"] == []


@pytest.mark.parametrize(
    ("remote", "is_told"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", False),
        ("2001:db8::1", False),
        ("::ffff:10.1.2.3", False),
        ("", False),
        (None, False),
    ],
)
def test_where_our_parts_are_is_told_on_this_machine_alone(
    remote: str | None, is_told: bool
) -> None:
    said = told(["the database is away (db.internal:5432)"], remote)
    assert ("db.internal" in said) == is_told
    assert "log" in said or is_told


async def test_a_fault_tells_nothing_of_our_insides(shop: Shop) -> None:
    """Of releases, files and classes there is no word in any refusal."""
    telling = re.compile(rb"Traceback|site-packages|\.py\b|aiohttp|sqlalchemy|sqlite|psycopg")
    for route in CLOSED:
        method, path = named(route)
        for body in (b"{", b'"\xff"', b"[" * 5000, b'{"a":NaN}'):
            headers = {**ROOT, "Content-Type": "application/json"}
            where = filled(method, path, {}, NOBODYS).path
            async with shop.client.request(method, where, data=body, headers=headers) as response:
                assert response.status < 500
                live = response.content_type == "text/event-stream"
                said = await (response.content.readany() if live else response.read())
                assert not telling.search(said), where
                assert not telling.search(repr(response.headers).encode()), where
