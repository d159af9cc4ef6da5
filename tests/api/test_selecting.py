"""Filters over HTTP: a job without items, frozen at its submit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.engines import in_one_part
from tests.api.shop import JOBS, Shop

NAMED = {"op": "range", "column": "name", "below": "thing 2"}


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    async with Shop(in_one_part(data_dir)) as served:
        await served.settled(await served.create(4))
        yield served


def _body(**select: Any) -> dict[str, Any]:
    whole = {"table": "stock", "where": NAMED, "each": {"amount": 5}} | select
    return {"operation": "stock.add", "select": whole}


async def test_a_filter_makes_the_items_which_stay_to_be_read(shop: Shop) -> None:
    headers = {"Idempotency-Key": "once"}
    job = await shop.post(JOBS, json=_body(), headers=headers)
    done = await shop.settled(job)
    assert (done["counts"]["total"], done["counts"]["succeeded"]) == (2, 2)
    path = f"{job['links']['items']}?include=item"
    items = (await shop.get(path))["items"]
    assert [item["item"] for item in items] == [{"id": 1, "amount": 5}, {"id": 2, "amount": 5}]
    assert done["select"]["where"]["column"] == "name"
    again = await shop.post(JOBS, json=_body(), headers=headers)
    assert again["job_id"] == job["job_id"]
    asking = {"headers": {"Accept": "application/json"}}
    events = await shop.get(job["links"]["events"], **asking)
    assert events["items"][0]["sha256"]


async def test_all_records_need_a_word(shop: Shop) -> None:
    problem = await shop.post(JOBS, json=_body(where=None), status=422)
    assert (problem["code"], problem["pointer"]) == ("selection_unconfirmed", "/select/confirm")
    assert "all 4 records of stock match" in problem["detail"]
    job = await shop.post(JOBS, json=_body(where=None, confirm="all"))
    assert (await shop.settled(job))["counts"]["succeeded"] == 4


async def test_no_record_needs_a_word_as_well(shop: Shop) -> None:
    none = NAMED | {"below": "a"}
    problem = await shop.post(JOBS, json=_body(where=none), status=422)
    assert (problem["code"], problem["pointer"]) == ("selection_unconfirmed", "/select/confirm")
    assert "no record of stock matches (of 4)" in problem["detail"]
    job = await shop.post(JOBS, json=_body(where=none, confirm="none"))
    assert (job["status"], job["counts"]["total"], job["percent"]) == ("completed", 0, 100.0)
    assert (await shop.get(job["links"]["items"]))["items"] == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    (_body(where=NAMED | {"op": "like"}), "/select/where"),
    (_body(where=NAMED | {"column": "price"}), "/select/where/column"),
    (_body(where=NAMED | {"below": 7}), "/select/where/below"),
    (_body(table="nothing"), "/select/table"),
    (_body(each={}), "/select/each/amount"),
    (_body(confirm="yes"), "/select/confirm"),
    (_body() | {"items": []}, "/items"),
    (_body() | {"draft": True}, "/draft"),
    (_body() | {"operation": "stock.create"}, "/select"),
]


@pytest.mark.parametrize(("body", "pointer"), REFUSED)
async def test_what_cannot_be_meant_is_refused_where_it_stands(
    shop: Shop, body: dict[str, Any], pointer: str
) -> None:
    before = await shop.jobs()
    problem = await shop.post(JOBS, json=body, status=422)
    assert problem["pointer"] == pointer
    assert await shop.jobs() == before


async def test_operations_say_whether_they_can_be_asked_so(shop: Shop) -> None:
    found = {o["kind"]: o for o in (await shop.get("/api/v1/operations"))["items"]}
    assert found["stock.add"]["selectable"] == "stock"
    assert found["stock.create"]["selectable"] is None
