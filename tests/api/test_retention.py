"""Rules of retention over the edge: set, shown, removed, and who has done so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.archiving import ArchiveFile
from domain.errors import ItemsArchived
from tests.api.conftest import Site
from tests.api.test_routes import get, post, submitted

RULES = "/api/v1/retention"
DAY = 86400


async def _remove(site: Site, path: str, status: int = 200, **query: str) -> Any:
    async with site.client.delete(f"{RULES}/{path}", params=query) as response:
        assert response.status == status, await response.text()
        return orjson.loads(await response.read())


async def test_a_rule_is_set_shown_and_removed(site: Site) -> None:
    body = {"kind": "test.*", "shred_after": 90 * DAY, "archive_after": 365 * DAY}
    rule = await post(site, RULES, status=200, json=body | {"reason": "the new policy"})
    assert rule == {
        **body,
        "tenant": "*",
        "changed_at": "2026-01-31T12:00:00Z",
        "changed_by": "local",
    }
    kept = await post(site, RULES, status=200, json={"tenant": "shop", "keep": True})
    assert (kept["kind"], kept["shred_after"], kept["archive_after"]) == ("*", None, None)
    assert (await get(site, RULES))["items"] == [rule, kept]
    gone = await _remove(site, "*/test.*", reason="the law")
    assert gone == {"tenant": "*", "kind": "test.*", "removed": True}
    assert (await _remove(site, "*/test.*", status=404))["code"] == "rule_not_found"
    page = await get(site, f"{RULES}/changes", params={"limit": "2"})
    assert [(c["action"], c["actor"], c["reason"]) for c in page["items"]] == [
        ("remove", "local", "the law"),
        ("set", "local", ""),
    ]
    query = {"cursor": page["next_cursor"]}
    rest = await get(site, f"{RULES}/changes", params=query)
    assert ([c["reason"] for c in rest["items"]], rest["next_cursor"]) == (
        ["the new policy"],
        None,
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"shred_after": 2, "archive_after": 1}, "/shred_after"),
        ({"kind": "test.*"}, "/shred_after"),
        ({"keep": True, "archive_after": 1}, "/keep"),
        ({"kind": "*.x", "shred_after": 1}, "/kind"),
        ({"tenant": "", "shred_after": 1}, "/tenant"),
        ({"shred_after": "90d"}, "/shred_after"),
        ({"archive_after": -1}, "/archive_after"),
        ({"colour": "red", "shred_after": 1}, "/colour"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_by_its_field(
    site: Site, body: dict[str, Any], field: str
) -> None:
    problem = await post(site, RULES, status=422, json=body)
    assert problem["pointer"] == field
    assert (await get(site, RULES))["items"] == []


async def test_a_name_that_no_rule_can_have_is_refused(site: Site) -> None:
    assert (await _remove(site, "shop/test.%00", status=422))["pointer"] == "/kind"


async def test_a_job_is_archived_and_says_where_its_items_are(site: Site) -> None:
    job_id = await submitted(site)
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}"
    job = await post(site, f"{path}/archive", json={"reason": "the season is over"})
    assert (job["status"], job["possible"]) == ("archived", ["hold", "shred"])
    archived = job["archived"]
    assert (archived["was"], archived["by"], archived["file"]) == ("completed", "local", None)
    problem = await post(site, f"{path}/undo", status=409)
    assert "archived by local (the season is over): undo is not possible" in problem["detail"]
    file = ArchiveFile(name=f"{job_id}/ab.ndjson", sha256="ab" * 32, size=7)
    site.engine.fault = ItemsArchived(f"what became of its items is in {file.name}")
    problem = await get(site, path, status=410)
    assert (problem["code"], problem["title"]) == ("archived", "Gone")


async def test_what_was_done_by_the_rules_is_counted(site: Site) -> None:
    site.engine.health_now.retained = {"shred": 3, "clear": 1}
    async with site.client.get("/metrics") as response:
        shown = await response.text()
    assert 'countermand_retention{act="shred"} 3.0' in shown
    assert 'countermand_retention{act="clear"} 1.0' in shown
