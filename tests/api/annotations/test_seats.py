"""Who loses a role in a project is told no more of what happens there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.limits import Limits
from streams.bootstrap import embedded
from streams.settings import Settings
from streams.stores.job_files import PIECE, JobFile
from streams.systems.annotations.files import Files
from tests.api.annotations.conftest import REGISTRY
from tests.api.annotations.place import Place, by
from tests.api.annotations.test_bulk import SPANS, created
from tests.api.annotations.test_exporting import start
from tests.api.annotations.test_importing import ended, lines, send
from tests.api.annotations.test_operation_stream import frames
from tests.api.annotations.test_reading import LETTERS, reading
from tests.api.annotations.test_socket import talking
from tests.api.proofs import carrying, proven
from tests.api.shop import SSE, Shop
from tests.api.test_identity import KEYS
from tests.memory import ENOUGH_MIB

WHO = by("viewer")


@pytest.fixture
async def place(data_dir: Path) -> AsyncIterator[Place]:
    """A project of a server that looks at each turn who may still be told."""

    def start() -> Any:
        return embedded(Settings(data_dir=data_dir, worker_memory_budget=ENOUGH_MIB), REGISTRY)

    limits = Limits(recheck=0.0, heartbeat=0.05)
    async with Shop(start, callers=lambda engine: proven(engine.database), limits=limits) as shop:
        yield await Place.made(shop)


async def leave(place: Place, subject: str = "viewer") -> None:
    """The viewer, or somebody else, loses the role."""
    (member,) = [
        each for each in (await place.get("members"))["items"] if each["subject"] == subject
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


LONG = "".join(map(str, range(PIECE)))
"""More than a piece of a file."""


async def long_rejects(place: Place) -> str:
    """Where it is what an import has rejected, in several pieces."""
    bad = {"content": LONG, "annotations": [{"start_char": 0, "end_char": 10**9, "label": "x"}]}
    return str((await send(place, lines({"content": "x"}, bad)))["links"]["rejects"])


async def long_export(place: Place) -> str:
    """Where a file of several pieces is."""
    for part in range(3):
        await place.add("texts", content=LONG[part : part + 400_000])
    operation = await start(place)
    await ended(place, operation)
    return str(operation["links"]["download"])


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until it is set no more than the first piece of a file is read."""
    event, real = asyncio.Event(), Files.piece

    async def piece(self: Files, file: JobFile, number: int) -> bytes:
        if number:
            await event.wait()
        return await real(self, file, number)

    monkeypatch.setattr(Files, "piece", piece)
    return event


async def revoke(place: Place, key: Any) -> None:
    """A key is taken back."""
    await place.ask("POST", f"{KEYS}/{key['key_id']}/revoke")


@pytest.mark.parametrize("of", ["import", "export"])
@pytest.mark.parametrize("lost", ["role", "key"])
async def test_a_download_is_cut_off(
    place: Place, let_go: asyncio.Event, of: str, lost: str
) -> None:
    who, lose = by("manager"), partial(leave, place, "manager")
    if lost == "key":
        body = {"name": "importer", "roles": ["admin"]}
        key = await place.ask("POST", KEYS, body, status=201)
        who, lose = carrying(key["key"]), partial(revoke, place, key)
    url = await (long_rejects if of == "import" else long_export)(place)
    headers = {**who, "Accept-Encoding": "identity"}
    async with (
        asyncio.timeout(20),
        place.shop.client.get(url, headers=headers) as response,
    ):
        assert len(await response.content.readexactly(PIECE)) == PIECE
        await lose()
        let_go.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert response.content.total_bytes == PIECE
    assert (await place.shop.client.get(url, headers=who)).status in (401, 404)
