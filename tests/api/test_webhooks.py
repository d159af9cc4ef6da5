"""Webhooks over the real engine: made, sent, listed, and their secrets shown once."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain.registry import Registry
from domain.webhooks import MAX_URL
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.stores import sealing
from tests.api.proofs import bearer, proven
from tests.api.shop import Shop
from tests.engine.stock import operations
from tests.webhooks.receiver import Receiver, receiving

HOOKS = "/api/v1/webhooks"
ADMIN, EDITOR = bearer("acme", "admin"), bearer("acme", "editor")


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    settings = Settings(data_dir=data_dir, webhook_networks="127.0.0.0/8", webhook_http=True)

    def start() -> Any:
        return embedded(settings, Registry(operations))

    callers = lambda engine: proven(engine.database)  # noqa: E731 - as the shop takes it
    async with Shop(start, callers=callers, settings=settings) as served:
        yield served


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as server:
        yield server


async def _hook(shop: Shop, receiver: Receiver, **fields: Any) -> Any:
    wanted = {"url": f"{receiver.url}/hook", "events": ["job.finished"], **fields}
    return await shop.post(HOOKS, json=wanted, headers=ADMIN, status=201)


async def _finished(shop: Shop, name: str) -> Any:
    body = {"operation": "stock.create", "items": [{"name": name}]}
    job = await shop.post("/api/v1/jobs", json=body, headers=EDITOR)
    return await shop.settled(job, headers=EDITOR)


def _stored(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def _listed(shop: Shop, path: str, least: int) -> Any:
    """What is listed, once there is so much of it."""
    async with asyncio.timeout(10):
        while len(found := (await shop.get(path, headers=ADMIN))["items"]) < least:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_a_webhook_from_its_making_to_its_end(shop: Shop, receiver: Receiver) -> None:
    hook = await _hook(shop, receiver, description="for the tests", tags=[])
    path = f"{HOOKS}/{hook['webhook_id']}"
    assert hook["secret"].startswith("whsec_")
    job = await _finished(shop, "told")
    async with asyncio.timeout(10):
        await receiver.came.wait()

    (got,) = receiver.got
    assert got.is_signed_by(hook["secret"])
    assert got.document["data"]["job_id"] == job["job_id"]
    shown = await shop.get(path, headers=ADMIN)
    assert shown == {name: value for name, value in hook.items() if name != "secret"}
    assert (shown["enabled"], shown["created_by"], shown["events"]) == (
        True,
        "ada",
        ["job.finished"],
    )
    attempts = await _listed(shop, f"{path}/attempts", 1)
    assert [(one["number"], one["status"], one["error"]) for one in attempts] == [(1, 200, None)]
    (delivery,) = (await shop.get(f"{path}/deliveries", headers=ADMIN))["items"]
    assert (delivery["state"], delivery["job_id"], delivery["due"]) == (
        "delivered",
        job["job_id"],
        None,
    )
    rotated = await shop.post(f"{path}/rotate", headers=ADMIN, status=200)
    assert rotated["secret"] != hook["secret"]
    async with shop.client.patch(
        path, json={"enabled": False, "events": ["*"]}, headers=ADMIN
    ) as response:
        changed = await response.json()
    assert (changed["enabled"], changed["disabled"], changed["events"]) == (
        False,
        "by_request",
        ["*"],
    )
    refused = await shop.post(f"{path}/replay", headers=ADMIN, status=409)
    assert "enable it first" in refused["detail"]
    async with shop.client.delete(path, headers=ADMIN) as response:
        assert response.status == 200
    gone = await shop.get(path, headers=ADMIN, status=404)
    assert gone["code"] == "webhook_not_found"


async def test_lists_page(shop: Shop, receiver: Receiver) -> None:
    hooks = [await _hook(shop, receiver, description=str(n)) for n in range(3)]
    for n in range(3):
        await _finished(shop, str(n))
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await shop.get(HOOKS, params=query, headers=ADMIN)
        listed += [one["webhook_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert listed == [hook["webhook_id"] for hook in hooks]
    async with asyncio.timeout(10):
        while len(receiver.got) < 9:
            receiver.came.clear()
            await receiver.came.wait()
    for part, key in (("deliveries", "version"), ("attempts", "number")):
        path = f"{HOOKS}/{listed[0]}/{part}"
        await _listed(shop, path, 3)
        first = await shop.get(path, params={"limit": 2}, headers=ADMIN)
        assert len(first["items"]) == 2
        rest = await shop.get(path, params={"cursor": first["next_cursor"]}, headers=ADMIN)
        assert len(rest["items"]) == 1
        assert rest["next_cursor"] is None
        positions = [one["position"] for one in first["items"] + rest["items"]]
        assert len(set(positions)) == 3
        assert all(one[key] for one in rest["items"])


async def test_a_secret_is_sealed_and_nowhere_to_be_read(
    shop: Shop, receiver: Receiver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hook = await _hook(shop, receiver)
    rotated = await shop.post(
        f"{HOOKS}/{hook['webhook_id']}/rotate", json={"overlap": 60}, headers=ADMIN, status=200
    )
    await _finished(shop, "told")
    async with asyncio.timeout(10):
        await receiver.came.wait()
    rows = await shop.engine.database.read(
        lambda c: c.exec_driver_sql(
            "SELECT algorithm, secret, previous_algorithm, previous FROM webhooks"
        ).all()
    )
    (row,) = rows
    assert (row[0], row[2]) == (sealing.AES_GCM, sealing.AES_GCM)
    said = "".join(capfd.readouterr())
    stored = await asyncio.to_thread(_stored, tmp_path)
    for made in (hook, rotated):
        text = made["secret"].removeprefix("whsec_")
        assert base64.b64decode(text) not in stored
        assert text.encode() not in stored
        assert text not in said


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"events": ["*"]}, "/url"),
        ({"url": "https://example.org/"}, "/events"),
        ({"url": "https://example.org/", "events": []}, "/events"),
        ({"url": "https://example.org/", "events": ["job.done"]}, "/events/0"),
        ({"url": "https://example.org/", "events": ["*"], "secret": "x"}, "/secret"),
        ({"url": "https://u:p@example.org/", "events": ["*"]}, "/url"),
        ({"url": "https://10.0.0.1/", "events": ["*"]}, "/url"),
        ({"url": "https://[fd00::1]/", "events": ["*"]}, "/url"),
        ({"url": "https://example.org/" + "x" * MAX_URL, "events": ["*"]}, "/url"),
        ({"url": "https://example.org/", "events": ["*"], "jobs": ["a/b"]}, "/jobs/0"),
        ({"url": "https://example.org/", "events": ["*"], "description": "a\nb"}, "/description"),
    ],
)
async def test_what_cannot_be_meant_is_refused(shop: Shop, body: Any, pointer: str) -> None:
    problem = await shop.post(HOOKS, json=body, headers=ADMIN, status=422)
    assert problem["pointer"] == pointer
    assert "Value error" not in problem["detail"]
    told = [each["pointer"] for each in problem.get("errors", ())]
    assert not any(one.startswith(f"{other}/") for one in told for other in told), told
