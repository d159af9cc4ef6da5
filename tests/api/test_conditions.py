"""Tags of answers, commands that insist on a version, and clients that would rather wait."""

from __future__ import annotations

from typing import Any

import pytest

from api.limits import Limits
from api.preferences import wait_of
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine

JOBS = "/api/v1/jobs"
BODY = {"operation": "test.double", "items": [{"n": 1}, {"n": 2}]}
PLAIN = {"Accept-Encoding": "identity"}


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


async def test_where_nobody_more_may_wait_the_answer_comes_at_once(engine: MemoryEngine) -> None:
    async with site_of(engine, Limits(streams=0)) as site:
        headers = {"Prefer": "wait=60"}
        status, _, _ = await asked(site, "POST", JOBS, json=BODY, headers=headers)
    assert status == 202
