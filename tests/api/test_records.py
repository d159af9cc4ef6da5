"""The routes of records, over an engine in memory."""

from __future__ import annotations

import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from api.record_documents import shown
from domain.events import Cause
from domain.records import Writer
from streams.stores.records.past import Changed, Version, Write
from tests.api.conftest import Site

BY_JOB = Writer("local", "ann", "job-1", 1, 4)
BY_HAND = Writer("local", "bob")


@pytest.fixture
def past(site: Site) -> list[Version]:
    found = [
        Version(Write(3, False, BY_JOB, 2.5, Cause.ROLLBACK), {"n": 1}, {"n": Changed(5, 1)}),
        Version(Write(2, False, BY_HAND, 1.0, None), None, None),
        Version(Write(1, True, BY_JOB, 0.0, Cause.APPLY), {}, {}),
    ]
    site.engine.past["numbers", 7] = found
    return found


async def get(site: Site, path: str, status: int = 200, **query: Any) -> Any:
    async with site.client.get(f"/api/v1/records/{path}", params=query) as response:
        assert response.status == status, await response.text()
        return orjson.loads(await response.read())


@pytest.mark.usefixtures("past")
async def test_versions_come_the_latest_first(site: Site) -> None:
    page = await get(site, "numbers/7/history")
    last, by_hand, first = page["items"]
    assert last == {
        "version": 3,
        "deleted": False,
        "at": "1970-01-01T00:00:02.500000+00:00",
        "by": {
            "actor": "ann",
            "job_id": "job-1",
            "generation": 1,
            "chunk": 4,
            "cause": "rollback",
        },
        "links": {"job": "/api/v1/jobs/job-1"},
        "changed": {"n": {"before": 5, "after": 1}},
    }
    assert (by_hand["by"]["actor"], by_hand["by"]["job_id"]) == ("bob", None)
    assert (by_hand["changed"], by_hand["links"]) == (None, {})
    assert (first["deleted"], first["changed"]) == (True, {})
    assert page["next_cursor"] is None


@pytest.mark.usefixtures("past")
async def test_a_page_leads_to_the_next_and_values_come_when_wanted(site: Site) -> None:
    page = await get(site, "numbers/7/history", limit=2, include="values")
    assert [version["values"] for version in page["items"]] == [{"n": 1}, None]
    rest = await get(site, "numbers/7/history", cursor=page["next_cursor"])
    assert [version["version"] for version in rest["items"]] == [1]


@pytest.mark.usefixtures("past")
async def test_blame_tells_who_wrote_each_column(site: Site) -> None:
    record = await get(site, "numbers/7/blame")
    assert (record["table"], record["id"], record["version"]) == ("numbers", 7, 3)
    column = record["columns"]["n"]
    assert (column["value"], column["certain"], column["version"]) == (1, True, 3)
    assert column["by"]["job_id"] == "job-1"


@pytest.mark.parametrize("part", ["history", "blame"])
async def test_an_unknown_record_is_not_found(site: Site, part: str) -> None:
    for path in ("numbers/8", "people/7", "numbers/9999999999999999999"):
        assert (await get(site, f"{path}/{part}", 404))["code"] == "record_not_found"
    assert (await get(site, f"numbers/seven/{part}", 404))["code"] == "not_found"


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"cursor": "x"}, "/cursor"),
        ({"cursor": "0"}, "/cursor"),
        ({"limit": "101"}, "/limit"),
        ({"include": "item"}, "/include"),
        ({"at": "1"}, None),
    ],
)
async def test_a_wrong_parameter_is_refused(
    site: Site, query: dict[str, str], pointer: str | None
) -> None:
    problem = await get(site, "numbers/7/history", 400, **query)
    assert (problem["code"], problem.get("pointer")) == ("bad_parameter", pointer)


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (None, None),
        (True, True),
        (2**62, 2**62),
        (0.5, 0.5),
        (math.inf, "inf"),
        ("text", "text"),
        (b"\x00\xff", "AP8="),
        (Decimal("1.10"), "1.10"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "2024-01-02T00:00:00+00:00"),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "RED"),
        ({"a": [Decimal(1), {"b": b""}]}, {"a": ["1", {"b": ""}]}),
    ],
)
def test_every_kind_of_value_is_json(value: Any, as_json: Any) -> None:
    assert shown(value) == as_json
    orjson.dumps(shown(value))
