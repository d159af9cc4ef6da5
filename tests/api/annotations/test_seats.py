"""Who loses a role in a project is told no more of what happens there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.limits import Limits
from streams.bootstrap import embedded
from streams.settings import Settings
from tests.api.annotations.conftest import ENOUGH_MIB, REGISTRY
from tests.api.annotations.place import Place, by
from tests.api.annotations.test_bulk import SPANS, created
from tests.api.annotations.test_operation_stream import frames
from tests.api.annotations.test_reading import LETTERS, reading
from tests.api.annotations.test_socket import talking
from tests.api.proofs import proven
from tests.api.shop import SSE, Shop

WHO = by("viewer")


@pytest.fixture
async def place(data_dir: Path) -> AsyncIterator[Place]:
    """A project of a server that looks at each turn who may still be told."""

    def start() -> Any:
        return embedded(Settings(data_dir=data_dir, worker_memory_budget=ENOUGH_MIB), REGISTRY)

    limits = Limits(recheck=0.0, heartbeat=0.05)
    async with Shop(start, callers=lambda engine: proven(engine.database), limits=limits) as shop:
        yield await Place.made(shop)


async def leave(place: Place) -> None:
    """The viewer loses the role."""
    (member,) = [
        each for each in (await place.get("members"))["items"] if each["subject"] == "viewer"
    ]
    path = f"{place.path}/members/{member['member_id']}"
    await place.ask("DELETE", path, headers={"If-Match": f'"{member["version"]}"'})


async def waiting(place: Place) -> Any:
    """An operation that does not end by itself: it is paused, and has work for far longer."""
    operation = await created(place, SPANS * 250, chunk_size=1)
    await place.ask("POST", f"/api/v1/jobs/{operation['job_id']}/pause", status=202)
    return operation


async def test_a_stream_of_an_operation_ends(place: Place) -> None:
    operation = await waiting(place)
    url = operation["links"]["sse"]
    async with (
        asyncio.timeout(10),
        place.shop.client.get(url, headers={**WHO, **SSE}) as response,
    ):
        await response.content.readuntil(b": still here\n\n")
        await leave(place)
        await response.read()
    await place.ask("GET", url, status=404, who=WHO)


async def test_a_stream_of_a_file_that_is_read_ends(place: Place, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    letters.write_bytes(LETTERS)
    async with asyncio.timeout(20), reading(place, letters) as (begun, _):
        url = f"/api/v1/batch/operations/{begun.number.operation_id}/events"
        async with place.shop.client.get(url, headers={**WHO, **SSE}) as response:
            heard = frames(response)
            await anext(heard)
            await leave(place)
            assert [name async for name, _ in heard if name != "progress_update"] == []


async def test_a_websocket_is_told_no_more_of_the_operation_and_stays_open(place: Place) -> None:
    operation = await waiting(place)
    number = operation["operation_id"]
    async with talking(place, WHO) as words:
        await words.say("subscribe", operation_id=number)
        await words.expect("system_status", event="subscribed", operation_id=number)
        await leave(place)
        told: dict[str, Any] = {}
        while told.get("event") != "unsubscribed":
            _, told = await words.hear()
        assert told["operation_id"] == number
        await words.say("subscribe", operation_id=number)
        await words.expect("error", code="record_not_found")
