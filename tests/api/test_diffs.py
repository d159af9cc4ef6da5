"""The routes of diffs, over an engine in memory."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api import item_pages
from streams.diffs import Run
from tests.api.conftest import Site


async def get(site: Site, path: str, status: int = 200, **options: Any) -> Any:
    async with site.client.get(f"/api/v1/jobs/{path}", **options) as response:
        assert response.status == status, await response.text()
        return orjson.loads(await response.read())


@pytest.fixture
async def jobs(site: Site) -> str:
    """The path of the diff of two jobs of which the second fails at 2 and 4."""
    ids = []
    for odd in ((), (2, 4)):
        items = [{"n": n, "odd": True} if n in odd else {"n": n} for n in range(6)]
        body = {"operation": "test.double", "items": items}
        async with site.client.post("/api/v1/jobs", json=body) as response:
            ids.append(orjson.loads(await response.read())["job_id"])
        site.engine.work(ids[-1])
    return f"{ids[0]}/diff/{ids[1]}"


async def test_the_items_that_differ_are_paged(site: Site, jobs: str) -> None:
    page = await get(site, jobs, params={"limit": 1})
    (one,) = page["items"]
    assert (one["position"], one["change"]) == (2, "status")
    assert (one["this"]["status"], one["other"]["status"]) == ("succeeded", "failed")
    assert one["other"]["error"]["code"] == "odd"
    rest = await get(site, jobs, params={"cursor": page["next_cursor"]})
    assert [item["position"] for item in rest["items"]] == [4]
    assert rest["next_cursor"] is None
    same = await get(site, jobs, params={"change": "same"})
    assert [item["position"] for item in same["items"]] == [0, 1, 3, 5]


async def test_a_page_ends_with_as_many_bytes_as_one_of_items(
    site: Site, jobs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_pages, "BYTES", 100)
    page = await get(site, jobs, params={"limit": 10})
    assert [item["position"] for item in page["items"]] == [2]
    rest = await get(site, jobs, params={"limit": 10, "cursor": page["next_cursor"]})
    assert [item["position"] for item in rest["items"]] == [4]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "how",
    [{"params": {"format": "ndjson"}}, {"headers": {"Accept": "application/x-ndjson"}}],
)
async def test_all_that_differs_is_streamed(site: Site, jobs: str, how: dict[str, Any]) -> None:
    async with site.client.get(f"/api/v1/jobs/{jobs}", **how) as response:
        assert response.content_type == "application/x-ndjson"
        lines = (await response.read()).splitlines()
    assert [orjson.loads(line)["position"] for line in lines] == [2, 4]


async def test_the_summary_counts_every_item(site: Site, jobs: str) -> None:
    assert await get(site, f"{jobs}/summary") == {
        "changes": {"same": 4, "status": 2, "result": 0, "only_this": 0, "only_other": 0},
        "moves": [{"this": "succeeded", "other": "failed", "items": 2}],
    }


async def test_runs_are_named_by_version_and_generation(site: Site, jobs: str) -> None:
    query = {"at": "3", "other_generation": "0"}
    await get(site, jobs, params=query)
    this, _, other = jobs.split("/")
    assert site.engine.runs == (Run(this, version=3), Run(other, generation=0))
    await get(site, f"{jobs}/summary", params={"key": "/n"})
    assert site.engine.key == "/n"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("change=all", "/change"),
        ("at=0", "/at"),
        ("other_generation=-1", "/other_generation"),
        ("cursor=x", "/cursor"),
        ("limit=1001", "/limit"),
        ("format=csv", "/format"),
        ("key=id", "/key"),
    ],
)
async def test_a_wrong_parameter_is_refused(
    site: Site, jobs: str, query: str, pointer: str
) -> None:
    problem = await get(site, f"{jobs}?{query}", 400)
    assert (problem["code"], problem["pointer"]) == ("bad_parameter", pointer)


@pytest.mark.parametrize("part", ["", "/summary", "?format=ndjson"])
async def test_an_unknown_job_is_not_found(site: Site, jobs: str, part: str) -> None:
    known = jobs.partition("/")[0]
    for path in (f"nobody/diff/{known}", f"{known}/diff/nobody"):
        assert (await get(site, f"{path}{part}", 404))["code"] == "job_not_found"
