"""Reports of a project over HTTP: each route, in both formats, within its bounds."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from api.systems.annotations.reports import REPORTS
from streams.stores import read_model, worker_use
from streams.stores.worker_use import HOUR, Used
from tests.api.annotations.place import BOSS, PROJECTS, Place, by
from tests.api.proofs import bearer

FORMULA = bearer("acme", "admin", actor="=1+1")


async def _table(place: Place, name: str, **query: Any) -> list[dict[str, str]]:
    headers = {**by("viewer"), "Accept": "text/csv"}
    path = f"{place.path}/reports/{name}"
    async with place.shop.client.get(path, headers=headers, params=query) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(await response.text())))


async def _work(place: Place) -> None:
    """Two annotations are made and one is not, by somebody of a dangerous name."""
    span = {"text_id": 1, "label": "PERSON", "start_char": 0}
    body = {
        "operation": "annotations.create",
        "params": {"project_id": place.number},
        "items": [{**span, "end_char": end} for end in (3, 9, 99)],
    }
    job = await place.ask("POST", "/api/v1/jobs", body, status=202, who=FORMULA)
    await place.shop.settled(job, headers=FORMULA)
    now = int(datetime.now(UTC).timestamp())
    used = Used(HOUR, now // HOUR * HOUR, 7200.0, 3600.0, 2.0**33 * 3600, 7 * 2**30)
    await place.shop.engine.database.write(
        partial(worker_use.add, systems=["annotations"], used=[used])
    )
    while await place.shop.engine.database.read(read_model.lag):
        await place.ask("GET", "/api/v1/jobs")


async def test_each_report_is_a_document_and_a_table(place: Place) -> None:
    await _work(place)
    shown = {
        name: await place.ask("GET", f"{place.path}/reports/{name}", who=by("viewer"))
        for name in REPORTS
    }
    assert {each["project_id"] for each in shown.values()} == {place.number}
    assert {each["period"]["bucket"] for each in shown.values()} == {"day"}
    summary = shown["summary"]
    assert (summary["jobs"], summary["by_status"]) == (1, {"completed_with_errors": 1})
    assert (summary["item_success_rate"], summary["item_failure_rate"]) == (0.6667, 0.3333)
    assert summary["operations"][0]["items"] == summary["items"]
    rows = await _table(place, "summary")
    assert [(row["operation"], row["items_succeeded"]) for row in rows] == [
        ("", "2"),
        ("annotations.create", "2"),
    ]

    trend = shown["trend"]["items"]
    assert (trend[-1]["items"], trend[-1]["failed"], len(trend)) == (3, 1, 8)
    assert trend[-1]["items_per_second"] is not None
    rows = await _table(place, "trend", bucket="hour")
    assert sum(int(row["items"]) for row in rows) == 3
    assert 7 * 24 <= len(rows) <= 7 * 24 + 1

    (error,) = shown["errors"]["items"]
    assert error == {"code": "span_out_of_range", "items": 1, "jobs": 1, "share": 1.0}
    assert await _table(place, "errors") == [{name: str(each) for name, each in error.items()}]

    users = {user["user"]: user for user in shown["activity"]["items"]}
    written = {"annotations": {"created": 2, "changed": 0, "deleted": 0}}
    assert users["=1+1"] == {"user": "=1+1", "jobs": 1, "items": 3, "records": written}
    assert users["boss"]["records"]["labels"] == {"created": 2, "changed": 0, "deleted": 0}
    rows = await _table(place, "activity")
    assert {row["user"]: row["annotations_created"] for row in rows} == {"boss": "0", "'=1+1": "2"}

    resources = shown["resources"]
    assert set(resources["workers_now"]) >= {"alive", "memory", "cpu_percent"}
    assert resources["items"][-1]["busy_seconds"] > 0
    assert resources["items"][0]["cpu_percent"] is None, "there was no worker"
    (row,) = (await _table(place, "resources"))[-1:]
    assert (row["items"], float(row["cpu_percent"]) > 4) == ("3", True)
    assert int(row["memory_bytes"]) == pytest.approx(2**32, rel=0.01), "a little of its own"
    assert int(row["memory_peak_bytes"]) == 7 * 2**30


async def test_a_table_that_a_client_has_already_is_not_sent_again(place: Place) -> None:
    url = f"{place.path}/reports/trend?format=csv&from=2026-01-01&to=2026-03-01"
    async with place.shop.client.get(url, headers=BOSS) as response:
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Content-Encoding"] in ("gzip", "zstd")
        headers = {**BOSS, "If-None-Match": response.headers["ETag"]}
    async with place.shop.client.get(url, headers=headers) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_what_is_asked_for_has_its_bounds(place: Place) -> None:
    for name in REPORTS:
        path = f"{place.path}/reports/{name}"
        await place.ask("GET", path, status=404, who=by("stranger"))
        await place.ask("GET", f"{PROJECTS}/999/reports/{name}", status=404)
        for query, at in (
            ({"from": "2020-01-01"}, "/from"),
            ({"from": "2026-01-02", "to": "2026-01-01"}, "/from"),
            ({"from": "0001-01-01", "to": "9999-12-31T23:59:59-14:00"}, "/to"),
            ({"from": "0001-01-01T00:00:00+14:00"}, "/from"),
            ({"from": "9999-12-31T23:59:59-14:00"}, "/from"),
            ({"to": "0001-01-03T00:00:00Z"}, "/to"),
            ({"to": "1970-01-01"}, "/to"),
            ({"to": "1970-01-05"}, "/from"),
            ({"to": "9999-12-31T23:59:59-14:00"}, "/to"),
            ({"from": "2026-01-01", "to": "2026-03-01", "bucket": "hour"}, "/from"),
            ({"bucket": "week"}, "/bucket"),
            ({"format": "xml"}, "/format"),
        ):
            problem = await place.ask("GET", path, status=400, params=query)
            assert (problem["code"], problem["pointer"]) == ("bad_parameter", at), query
        headers = {**BOSS, "Accept": "text/html"}
        await place.ask("GET", path, status=406, headers=headers)
