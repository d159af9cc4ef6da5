"""Drafts that are edited, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.engines import in_one_part
from tests.api.shop import JOBS, Shop


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    async with Shop(in_one_part(data_dir)) as served:
        yield served


async def _draft(shop: Shop, **options: Any) -> Any:
    body = {"operation": "stock.create", "draft": True, "options": options}
    job = await shop.post(JOBS, json=body)
    await shop.post(f"{job['links']['append']}?part=0", json=[{"name": n} for n in "abc"])
    return job


async def test_a_draft_is_edited_until_it_is_sealed(shop: Shop) -> None:
    job = await _draft(shop)
    edited = await shop.post(
        job["links"]["edit"],
        json={"edits": [{"item": 1, "body": {"name": "B"}}], "drop": [2], "reason": "sold out"},
    )
    assert (edited["status"], edited["counts"]["skipped"]) == ("draft", 1)
    await shop.post(job["links"]["seal"])
    done = await shop.settled(job)
    assert (done["counts"]["succeeded"], done["counts"]["skipped"]) == (2, 1)
    dropped = (await shop.get(f"{job['links']['items']}?code=dropped"))["items"]
    assert [item["position"] for item in dropped] == [2]
    refused = await shop.post(job["links"]["edit"], json={"drop": [0]}, status=409)
    assert refused["code"] == "wrong_state"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/edits"),
        ({"drop": [-1]}, "/drop/0"),
        ({"drop": [3]}, "/edits"),
        ({"drop": "all"}, "/drop"),
        ({"edits": [{"item": 1}]}, "/edits/0/body"),
        ({"edits": [{"item": 1, "body": 1}], "drop": [1]}, "/drop"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    shop: Shop, body: dict[str, Any], pointer: str
) -> None:
    job = await _draft(shop)
    problem = await shop.post(job["links"]["edit"], json=body, status=422)
    assert problem["pointer"] == pointer


async def test_keys_over_http(shop: Shop) -> None:
    """Refused with the positions, found by name."""
    items = [{"name": n} for n in "aba"]
    body = {"operation": "stock.create", "items": items, "options": {"key": "/name"}}
    problem = await shop.post(JOBS, json=body, status=422)
    assert problem["pointer"] == "/items/2"
    body["options"] = {"key": "/name", "duplicates": "last"}
    job = await shop.settled(await shop.post(JOBS, json=body))
    found = (await shop.get(f"{job['links']['items']}?key=a"))["items"]
    assert [(item["position"], item["status"]) for item in found] == [
        (0, "skipped"),
        (2, "succeeded"),
    ]
    assert found[0]["error"]["message"].startswith("item 2 has the same key")
    for options, pointer in (({"key": "name"}, "/options/key"), ({"key": 7}, "/options/key")):
        problem = await shop.post(JOBS, json=body | {"options": options}, status=422)
        assert problem["pointer"] == pointer
