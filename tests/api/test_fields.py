"""Answers of which a client wants only some of what they say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.api.conftest import Site

JOBS = "/api/v1/jobs"


async def got(site: Site, path: str, **query: str) -> tuple[int, Any]:
    async with site.client.get(path, params=query) as response:
        body = await response.read()
        lines = response.content_type == "application/x-ndjson"
        return response.status, [*map(orjson.loads, body.splitlines())] if lines else orjson.loads(
            body
        )


async def submitted(site: Site) -> str:
    body = {"operation": "test.double", "items": [{"n": n} for n in range(3)]}
    async with site.client.post(JOBS, json=body) as response:
        return str((await response.json())["links"]["self"])


async def test_only_the_fields_that_are_wanted_are_told(site: Site) -> None:
    path = await submitted(site)
    status, job = await got(site, path, fields="version,status")
    assert (status, job) == (200, {"version": 1, "status": "pending"})
    _, page = await got(site, f"{path}/items", format="json", fields="position", limit="2")
    assert page == {"items": [{"position": 0}, {"position": 1}], "next_cursor": "1"}
    _, lines = await got(site, f"{path}/items", format="ndjson", fields="position,status")
    assert lines == [{"position": n, "status": "pending"} for n in range(3)]


@pytest.mark.parametrize("fields", ["", "nobody", "status,", "status,nobody", " status"])
async def test_a_field_that_is_none_is_refused(site: Site, fields: str) -> None:
    path = await submitted(site)
    for asked in (path, JOBS, f"{path}/items?format=json"):
        where, _, query = asked.partition("?")
        given = {"format": "json"} if query else {}
        status, problem = await got(site, where, fields=fields, **given)
        assert (status, problem["code"], problem["pointer"]) == (400, "bad_parameter", "/fields")


@pytest.mark.parametrize("form", ["csv", "items"])
async def test_where_there_are_no_fields_they_are_refused(site: Site, form: str) -> None:
    path = await submitted(site)
    status, problem = await got(site, f"{path}/items", format=form, fields="status")
    assert (status, problem["pointer"]) == (400, "/fields")
