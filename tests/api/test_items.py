"""The items of a job, filtered, paged and streamed, over an engine in memory."""

from __future__ import annotations

import asyncio
import csv
import io
import socket
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from api.limits import Limits
from streams.items import Wanted
from streams.stores.survey import RecordName
from tests.api.conftest import Site, site_of
from tests.api.engine import MemoryEngine
from tests.api.test_live import metric
from tests.api.test_routes import NDJSON, get, post, submitted


async def test_items_are_paged(site: Site) -> None:
    job_id = await submitted(site, 5, odd=(2,))
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}/items"
    first = await get(site, path, params={"limit": 3})
    assert [item["position"] for item in first["items"]] == [0, 1, 2]
    assert first["items"][2]["error"] == {
        "code": "odd",
        "message": "no",
        "pointer": "/n",
        "retryable": False,
    }
    assert "item" not in first["items"][0]
    rest = await get(site, path, params={"cursor": first["next_cursor"], "include": "item"})
    assert [item["item"]["n"] for item in rest["items"]] == [3, 4]
    assert rest["next_cursor"] is None
    failed = await get(site, path, params={"status": "failed"})
    assert [item["position"] for item in failed["items"]] == [2]
    await get(site, path, status=400, params={"status": "odd"})


async def test_items_are_filtered_by_status_code_and_record(site: Site) -> None:
    job_id = await submitted(site, 6, odd=(2, 4))
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}/items"
    for query, positions in (
        ([("code", "odd")], [2, 4]),
        ([("status", "failed"), ("status", "succeeded")], [0, 1, 2, 3, 4, 5]),
        ([("status", "unattempted")], []),
        ([("code", "timeout")], []),
        ([("status", "succeeded"), ("code", "odd")], []),
        ([("status", "failed"), ("cursor", "2")], [4]),
    ):
        page = await get(site, path, params=query)
        assert [item["position"] for item in page["items"]] == positions
    await get(site, path, params={"record": "numbers/17"})
    assert site.engine.wanted == Wanted(record=RecordName("numbers", 17))


@pytest.mark.parametrize(
    ("query", "pointer", "said"),
    [
        ("status=broken", "/status", "pending, succeeded, failed"),
        ("status=failed&status=", "/status", "unattempted"),
        ("code=even", "/code", "odd, timeout"),
        ("record=numbers", "/record", "annotations/17"),
        ("record=numbers/x", "/record", "annotations/17"),
        ("record=numbers/99999999999999999999", "/record", "annotations/17"),
        ("record=numbers/9999999999999999999", "/record", "annotations/17"),
        ("record=people/1", "/record", "possible: numbers"),
        ("cursor=x", "/cursor", "whole number"),
        ("cursor=-1", "/cursor", "whole number"),
        ("format=xml", "/format", "json, ndjson, csv, items"),
    ],
)
async def test_a_filter_that_nothing_can_meet_names_what_is_possible(
    site: Site, query: str, pointer: str, said: str
) -> None:
    job_id = await submitted(site)
    problem = await get(site, f"/api/v1/jobs/{job_id}/items?{query}", status=400)
    assert (problem["code"], problem["pointer"]) == ("bad_parameter", pointer)
    assert said in problem["detail"]


async def test_items_alone_are_what_was_sent(site: Site) -> None:
    lines = b'{"n": 1}\n{ "n":2,"odd":true}\n{"odd":true,"n": 3}\n'
    query = {"operation": "test.double"}
    job = await post(site, "/api/v1/jobs", params=query, data=lines, headers=NDJSON)
    site.engine.work(job["job_id"])
    sent = {"status": "failed", "format": "items"}
    async with site.client.get(job["links"]["items"], params=sent) as response:
        assert response.content_type == "application/x-ndjson"
        failed = await response.read()
    assert failed == b'{ "n":2,"odd":true}\n{"odd":true,"n": 3}\n'
    again = await post(site, "/api/v1/jobs", params=query, data=failed, headers=NDJSON)
    assert again["counts"]["total"] == 2


@pytest.mark.parametrize("how", ["format", "accept"])
async def test_items_are_streamed_as_ndjson_and_csv(site: Site, how: str) -> None:
    job_id = await submitted(site, 5, odd=(2,))
    site.engine.work(job_id)
    path = f"/api/v1/jobs/{job_id}/items"
    for name, kind in (("ndjson", "application/x-ndjson"), ("csv", "text/csv")):
        options: dict[str, Any] = (
            {"params": {"format": name}} if how == "format" else {"headers": {"Accept": kind}}
        )
        async with site.client.get(path, **options) as response:
            assert response.content_type == kind
            text = await response.text()
        if name == "ndjson":
            rows: list[Any] = [orjson.loads(line) for line in text.splitlines()]
        else:
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [int(row["position"]) for row in rows] == [0, 1, 2, 3, 4]
        assert [row["status"] for row in rows].count("failed") == 1


@pytest.mark.parametrize(
    "path",
    [
        "items?include=item",
        "items?include=item&format=ndjson",
        "items?include=item&format=csv",
        "items?format=items",
        "items/0",
    ],
)
async def test_whole_numbers_of_items_keep_their_digits_however_long_they_are(
    site: Site, path: str
) -> None:
    number = b"340282366920938463463374607431768211455"
    query = {"operation": "test.double"}
    lines = b'{"n": 1, "serial": %b}\n' % number
    job = await post(site, "/api/v1/jobs", params=query, data=lines, headers=NDJSON)
    site.engine.work(job["job_id"])
    async with site.client.get(f"/api/v1/jobs/{job['job_id']}/{path}") as response:
        assert response.status == 200
        assert number in await response.read()


async def test_an_export_that_breaks_off_is_not_taken_for_whole(site: Site) -> None:
    job_id = await submitted(site, 5000)
    site.engine.work(job_id)
    site.engine.breaks_at = 4000
    async with site.client.get(f"/api/v1/jobs/{job_id}/items?format=ndjson") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    site.engine.breaks_at = 10
    await get(site, f"/api/v1/jobs/{job_id}/items?format=ndjson", status=503)


@pytest.mark.parametrize("name", ["code", "record"])
async def test_an_empty_filter_is_refused_and_does_not_give_all(site: Site, name: str) -> None:
    job_id = await submitted(site, 3)
    path = f"/api/v1/jobs/{job_id}/items"
    for form in ("json", "items"):
        problem = await get(site, path, params={"format": form, name: ""}, status=400)
        assert (problem["code"], problem["pointer"]) == ("bad_parameter", f"/{name}")


async def test_an_empty_key_is_a_key(site: Site) -> None:
    job_id = await submitted(site, 3)
    await get(site, f"/api/v1/jobs/{job_id}/items", params={"key": ""})
    assert site.engine.wanted == Wanted(key="")


async def test_who_reads_nothing_of_an_export_is_cut_and_no_more_is_read_for_him(
    engine: MemoryEngine,
) -> None:
    """Which is counted, and is no fault of ours."""
    with capture_logs() as logged:
        async with site_of(engine, Limits(write_wait=0.1), send_buffer=4096) as site:
            job_id = await submitted(site, 20_000)
            engine.work(job_id)
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", site.port))
                path = f"/api/v1/jobs/{job_id}/items?format=ndjson"
                deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                async with asyncio.timeout(10):
                    await engine.items_left.wait()
            assert 0 < engine.taken < 5000
            assert await metric(site, "countermand_live_streams_cut_total") == 1.0
    assert "request_failed" not in {entry["event"] for entry in logged}
