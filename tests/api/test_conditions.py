"""Tags of answers, commands that insist on a version, and clients that would rather wait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from api.app import ROUTES
from api.limits import Limits
from api.preferences import wait_of
from domain.errors import StoreUnavailable
from domain.job import Job
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.test_live import metric
from tests.api.test_server import connected

JOBS = "/api/v1/jobs"
BODY = {"operation": "test.double", "items": [{"n": 1}, {"n": 2}]}
PLAIN = {"Accept-Encoding": "identity"}
SLOW = 1.0
"""Seconds for a body."""


async def asked(site: Site, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
    options["headers"] = {**PLAIN, **options.get("headers", {})}
    async with site.client.request(method, path, **options) as response:
        body = await response.json(content_type=None) if await response.read() else None
        return response.status, body, response.headers


async def test_what_a_client_has_already_is_not_sent_again(site: Site) -> None:
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    for path in ("/api/v1/operations", f"{JOBS}/{job['job_id']}/items", "/problems"):
        async with site.client.get(path) as response:
            tag = response.headers["ETag"]
        for said in (tag, f'"other", {tag}', "*", f"W/{tag.removeprefix('W/')}"):
            async with site.client.get(path, headers={"If-None-Match": said}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"].removeprefix("W/") == tag.removeprefix("W/")
        async with site.client.get(path, headers={"If-None-Match": '"other"'}) as response:
            assert response.status == 200


async def test_what_is_not_sent_again_is_told_of_as_what_was_sent(site: Site) -> None:
    """In another coding too: its tag and what it depends on are those of the whole answer."""
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    for path in (f"{JOBS}/{job['job_id']}/items", "/problems", "/api/v1/operations"):
        for coding in ("identity", "gzip"):
            headers = {"Accept-Encoding": coding}
            async with site.client.get(path, headers=headers) as response:
                told = response.headers
            headers["If-None-Match"] = told["ETag"]
            async with site.client.get(path, headers=headers) as response:
                assert response.status == 304
                for name in ("ETag", "Vary"):
                    assert response.headers[name] == told[name]


async def test_an_answer_says_of_which_headers_it_depends(site: Site) -> None:
    _, job, told = await asked(site, "POST", JOBS, json=BODY)
    assert told["Vary"] == "Prefer, Accept-Encoding"
    items = f"{JOBS}/{job['job_id']}/items"
    for accept in ("application/json", "text/csv"):
        async with site.client.get(items, headers={"Accept": accept}) as response:
            assert (response.content_type, response.headers["Vary"]) == (
                accept,
                "Accept, Accept-Encoding",
            )
    async with site.client.get(f"{items}?format=csv") as response:
        assert response.headers["Vary"] == "Accept-Encoding"
    for accept, varies in (
        ("text/plain", "Accept, Accept-Encoding"),
        ("application/openmetrics-text;version=1.0.0", "Accept"),
    ):
        async with site.client.get("/metrics", headers={"Accept": accept}) as response:
            assert response.content_type == accept.partition(";")[0]
            assert response.headers["Vary"] == varies


async def test_the_tag_of_a_job_has_its_version_and_a_past_one_keeps_its_own(site: Site) -> None:
    _, job, told = await asked(site, "POST", JOBS, json=BODY)
    path = f"{JOBS}/{job['job_id']}"
    assert told["ETag"].startswith(f'"{job["version"]}-')
    _, _, before = await asked(site, "GET", path)
    await asked(site, "POST", f"{path}/pause")
    status, _, after = await asked(site, "GET", path, headers={"If-None-Match": before["ETag"]})
    assert status == 200
    assert after["ETag"] != before["ETag"]


@pytest.mark.parametrize("verb", ["pause", "adjust"])
async def test_a_command_on_what_was_seen_is_refused_once_that_has_changed(
    site: Site, verb: str
) -> None:
    _, job, told = await asked(site, "POST", JOBS, json=BODY)
    path, tag = f"{JOBS}/{job['job_id']}", told["ETag"]
    body = {"priority": 9} if verb == "adjust" else {}
    await asked(site, "POST", f"{path}/adjust", json={"priority": 8})
    insisting = {"If-Match": tag}
    status, problem, _ = await asked(site, "POST", f"{path}/{verb}", json=body, headers=insisting)
    assert (status, problem["code"]) == (412, "version_mismatch")
    _, job, told = await asked(site, "GET", path)
    for good in (told["ETag"], "*"):
        insisting = {"If-Match": good}
        status, _, told = await asked(
            site, "POST", f"{path}/adjust", json=body or {"priority": 7}, headers=insisting
        )
        assert status == 202
    version = f'W/"{job["version"] + 2}"'
    status, _, _ = await asked(
        site, "POST", f"{path}/{verb}", json=body, headers={"If-Match": version}
    )
    assert status == 202


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('"1", "2"', 400),
        ('"0"', 412),
        ('"abc"', 412),
        ("1", 412),
        ('""', 412),
        ('"99999999999"', 412),
    ],
)
async def test_a_tag_that_is_none_of_a_job_matches_nothing(
    site: Site, tag: str, status: int
) -> None:
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    path = f"{JOBS}/{job['job_id']}/pause"
    assert (await asked(site, "POST", path, headers={"If-Match": tag}))[0] == status
    assert (await asked(site, "GET", f"{JOBS}/{job['job_id']}"))[1]["version"] == job["version"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", JOBS, BODY),
        ("POST", "/api/v1/batches", {"steps": []}),
        ("POST", "{job}/items?part=0", [{"n": 1}]),
        ("POST", "{job}/apply", {}),
        ("POST", "{job}/ticket", None),
        ("PATCH", f"/api/v1/webhooks/{'0' * 32}", {"enabled": False}),
        ("DELETE", f"/api/v1/webhooks/{'0' * 32}", None),
        ("POST", f"/api/v1/webhooks/{'0' * 32}/rotate", {}),
        ("POST", "/api/v1/limits/queue:test", {"rate": 10}),
        ("POST", "/api/v1/retention", {"kind": "test.*", "shred_after": 86400}),
        ("DELETE", "/api/v1/retention/acme/test.*", None),
    ],
)
@pytest.mark.parametrize("condition", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
async def test_a_condition_that_nobody_looks_at_is_refused(
    site: Site, method: str, path: str, body: Any, condition: str
) -> None:
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    place = path.format(job=f"{JOBS}/{job['job_id']}")
    said = {condition: '"1-0123456789abcdef"'}
    status, problem, _ = await asked(site, method, place, json=body, headers=said)
    assert (status, problem["code"]) == (400, "bad_condition")
    assert condition in problem["detail"]
    assert len(site.engine.events_of) == 1


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Unmodified-Since"])
async def test_a_command_takes_no_condition_but_the_one(site: Site, condition: str) -> None:
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    path = f"{JOBS}/{job['job_id']}/pause"
    status, problem, _ = await asked(site, "POST", path, headers={condition: "*"})
    assert (status, problem["code"]) == (400, "bad_condition")


def test_what_is_open_to_all_only_reads() -> None:
    """So there is nothing to insist on, and a path that is not there is told of as ever."""
    assert {route.method for route in ROUTES if not route.rule.known} == {"GET", "*"}


async def test_a_command_says_where_the_job_is_and_when_to_look(site: Site) -> None:
    status, job, told = await asked(
        site, "POST", JOBS, json={"operation": "test.double", "draft": True}
    )
    assert (status, told["Location"], told["Retry-After"]) == (202, f"{JOBS}/{job['job_id']}", "1")
    path = f"{told['Location']}/items"
    status, _, told = await asked(site, "POST", path, params={"part": 0}, json=[{"n": 1}])
    assert (status, told["Location"]) == (202, f"{JOBS}/{job['job_id']}")


class _Asking:
    def __init__(self, *said: str) -> None:
        self.headers = self
        self._said = list(said)

    def getall(self, name: str, default: list[str]) -> list[str]:
        return self._said or default


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "WAIT = 5"], 5),
        (["wait=7; x=1"], 7),
        (["wait=-1"], None),
        (["wait"], None),
        (["wait=1.5"], None),
        (["return=minimal"], None),
        ([], None),
    ],
)
def test_what_is_preferred(said: list[str], seconds: int | None) -> None:
    assert wait_of(_Asking(*said)) == seconds  # type: ignore[arg-type] - only headers are read


async def test_who_waits_in_vain_is_answered_when_the_time_is_over(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(wait=1)) as site:
        headers = {"Prefer": "wait=100"}
        status, job, told = await asked(site, "POST", JOBS, json=BODY, headers=headers)
    assert (status, job["status"], told["Preference-Applied"]) == (202, "pending", "wait=1")
    assert told["Retry-After"] == "1"


async def test_a_draft_is_not_waited_for(site: Site) -> None:
    body = {"operation": "test.double", "draft": True}
    headers = {"Prefer": "wait=60"}
    status, job, told = await asked(site, "POST", JOBS, json=body, headers=headers)
    assert (status, job["status"], told["Preference-Applied"]) == (202, "draft", "wait=60")


async def test_who_would_rather_wait_does_not_make_the_api_look_slow(site: Site) -> None:
    body = {"operation": "test.double", "draft": True}
    await asked(site, "POST", JOBS, json=body)
    _, job, _ = await asked(site, "POST", JOBS, json=body, headers={"Prefer": "wait=60"})
    pages = {"Accept": "application/json"}
    events = f"{JOBS}/{job['job_id']}/events?after=9&wait=1"
    status, _, _ = await asked(site, "GET", events, headers=pages)
    assert status == 200
    async with site.client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    timed = [line for line in lines if line.startswith("countermand_http_request_seconds_count")]
    assert timed == [f'countermand_http_request_seconds_count{{route="{JOBS}"}} 1.0']


async def test_who_sends_a_body_slowly_does_not_make_the_api_look_slow(site: Site) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for line in (b'{"n": 1}\n', b'{"n": 2}\n'):
            await asyncio.sleep(SLOW / 2)
            yield line

    headers = {"Content-Type": "application/x-ndjson"}
    query = {"operation": "test.double"}
    status, _, _ = await asked(site, "POST", JOBS, params=query, data=slowly(), headers=headers)
    assert status == 202
    async with site.client.get("/metrics") as response:
        (line,) = (
            line
            for line in (await response.text()).splitlines()
            if line.startswith("countermand_http_request_seconds_sum")
        )
    assert float(line.split()[-1]) < SLOW / 2


async def test_where_nobody_more_may_wait_the_answer_comes_at_once(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(streams=0)) as site:
        headers = {"Prefer": "wait=60"}
        status, _, _ = await asked(site, "POST", JOBS, json=BODY, headers=headers)
    assert status == 202


@dataclass
class Dimmed(MemoryEngine):
    """Jobs are decided on, and can be read so many times."""

    looks: int = 0

    async def job(self, tenant: str, job_id: str, version: int | None = None) -> Job:
        if not self.looks:
            raise StoreUnavailable("the database is away")
        self.looks -= 1
        return await super().job(tenant, job_id, version)


async def test_who_waits_is_told_that_the_command_was_accepted_when_the_job_is_not_read_any_more(
    engine: MemoryEngine,
) -> None:
    async with site_of(Dimmed(engine.registry, looks=1)) as site:
        headers = {"Prefer": "wait=60"}
        status, job, told = await asked(site, "POST", JOBS, json=BODY, headers=headers)
    assert (status, job["status"], told["Location"]) == (202, "pending", f"{JOBS}/{job['job_id']}")


async def test_who_is_not_told_how_the_job_is_is_told_where_and_not_to_submit_it_again(
    engine: MemoryEngine,
) -> None:
    dimmed = Dimmed(engine.registry)
    async with site_of(dimmed) as site:
        status, problem, told = await asked(site, "POST", JOBS, json=BODY)
    (job_id,) = dimmed.events_of
    assert (status, problem["code"]) == (503, StoreUnavailable.code)
    assert (told["Location"], told["Retry-After"]) == (f"{JOBS}/{job_id}", "1")
    assert f"do not send it again, but look at {JOBS}/{job_id}" in problem["detail"]


@pytest.mark.parametrize("way", ["command", "page of a job", "page of all"])
async def test_who_waits_and_leaves_takes_up_no_place(site: Site, way: str) -> None:
    _, job, _ = await asked(site, "POST", JOBS, json=BODY)
    path = f"{JOBS}/{job['job_id']}"
    line, more = {
        "command": (f"POST {path}/resume", "Prefer: wait=60\r\nContent-Length: 0\r\n"),
        "page of a job": (f"GET {path}/events?after=9&wait=30", ""),
        "page of all": ("GET /api/v1/events?wait=30", ""),
    }[way]
    if way == "command":
        await asked(site, "POST", f"{path}/pause")
    head = f"{line} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{more}\r\n"
    async with connected(site) as (_, writer), asyncio.timeout(10):
        writer.write(head.encode())
        await _open(site, 1)
    async with asyncio.timeout(5):
        await _open(site, 0)


async def _open(site: Site, streams: int) -> None:
    """Wait until so many are."""
    for _ in itertools.count():
        if await metric(site, "countermand_live_streams") == streams:
            return
        await asyncio.sleep(0.02)
