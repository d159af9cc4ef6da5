"""What the server-sent events of an operation say: the platform's words, and soon."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from api.openapi.platform_bulk import OperationUpdate
from tests.api.annotations.place import BOSS, Place, by
from tests.api.annotations.test_bulk import created, ended
from tests.api.annotations.test_socket import talking
from tests.api.shop import SSE

SOON = 1.0
"""Seconds within which an update is there."""

Heard = tuple[str, dict[str, Any]]


async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[Heard]:
    """Each event of a stream by its name, with its document."""
    name = ""
    async for line in response.content:
        key, _, value = line.decode().strip().partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, orjson.loads(value)


class Delays:
    """How long after they were said updates have come; what was said before does not count."""

    def __init__(self) -> None:
        self._since = datetime.now(UTC)
        self._seconds: list[float] = []

    async def of(self, heard: AsyncIterator[Heard]) -> AsyncIterator[Heard]:
        """Each of what is heard, timed."""
        async for name, told in heard:
            at = max(datetime.fromisoformat(told["at"]), self._since)
            self._seconds.append((datetime.now(UTC) - at).total_seconds())
            yield name, told

    def check(self) -> None:
        """Nobody waits for the next update, or for the end, to be told of one."""
        assert statistics.median(self._seconds) < SOON, self._seconds


async def streamed(place: Place, operation: Any) -> list[Heard]:
    """All that a stream says, and that it is said soon."""
    url = operation["links"]["sse"]
    async with place.shop.client.get(url, headers={**BOSS, **SSE}) as response:
        delays = Delays()
        found = [each async for each in delays.of(frames(response))]
    delays.check()
    for _, told in found:
        OperationUpdate.model_validate_json(orjson.dumps(told), strict=True)
    return found


async def test_it_says_what_the_websocket_says_and_each_within_a_second(place: Place) -> None:
    async with asyncio.timeout(30), talking(place, by("viewer")) as words:
        operation = await created(place, chunk_size=1, max_workers=1)
        reading = asyncio.ensure_future(streamed(place, operation))
        await words.say("subscribe", operation_id=operation["operation_id"])
        await words.expect("system_status", event="subscribed")
        kind, shown = await words.hear()
        said: dict[int, Heard] = {}

        async def heard() -> AsyncIterator[Heard]:
            last = kind
            while last == "progress_update":
                last, data = await words.hear()
                yield last, data

        delays = Delays()
        async for name, data in delays.of(heard()):
            said[data["version"]] = name, data
        delays.check()
        stream = await reading
    assert [name for name, _ in stream] == ["progress_update"] * (len(stream) - 1) + [
        "operation_completed"
    ]
    percents = [told["progress_percentage"] for _, told in stream]
    assert percents == sorted(percents)
    assert (percents[-1], stream[-1][1]["succeeded"], shown["total"]) == (100.0, 20, 20)
    of_pace = {"items_per_second", "elapsed_seconds", "workers", "cpu_percent", "memory_bytes"}
    for name, told in stream:
        if told["version"] in said:
            other, data = said[told["version"]]
            assert (name, told.keys()) == (other, data.keys())
            assert {**data, **{key: told[key] for key in of_pace}} == told
    assert stream[-1][1]["version"] in said


async def test_it_tells_what_was_and_goes_on_behind_what_was_seen(place: Place) -> None:
    operation = await ended(place, await created(place, [{"text_id": 9}], rollback_on_error=True))
    url, job = operation["links"]["sse"], operation["job_id"]
    async with place.shop.client.get(url, headers={**BOSS, **SSE}) as response:
        whole = [each async for each in frames(response)]
    name, last = whole[-1]
    assert (name, last["event"], last["failed"], last["job_id"]) == (
        *("operation_failed", "job.stopped"),
        *(1, job),
    )
    assert last["elapsed_seconds"] >= 0
    assert whole[0][1]["elapsed_seconds"] is None
    seen = {**BOSS, **SSE, "Last-Event-ID": str(last["version"] - 1)}
    async with place.shop.client.get(url, headers=seen) as response:
        assert [told["version"] async for _, told in frames(response)] == [last["version"]]
    seen["Last-Event-ID"] = str(last["version"])
    async with place.shop.client.get(url, headers=seen) as response:
        assert response.status == 204
