"""Live progress over the platform's WebSocket: who is let in, what is followed, what is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from api.systems.annotations.socket_words import Message
from tests.api.annotations.place import BOSS, Place, by
from tests.api.annotations.test_bulk import SPANS, created, ended
from tests.api.shop import SSE

WS = "/api/v1/batch/ws/connect"


class Words:
    """One connection; whatever comes must be of the vocabulary."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, action: str, **more: Any) -> None:
        await self.socket.send_str(orjson.dumps({"action": action, **more}).decode())

    async def hear(self) -> tuple[str, dict[str, Any]]:
        message = await self.socket.receive(10)
        assert message.type is aiohttp.WSMsgType.TEXT, f"closed: {message}"
        said = Message.model_validate_json(message.data, strict=True)
        assert orjson.loads(message.data).keys() == {"type", "data"}
        return said.type, said.data

    async def expect(self, kind: str, **data: Any) -> dict[str, Any]:
        found, told = await self.hear()
        assert found == kind, told
        assert {name: told[name] for name in data} == data
        return told


@asynccontextmanager
async def talking(place: Place, who: dict[str, str]) -> AsyncIterator[Words]:
    """Somebody who says in the first message who they are."""
    token = who["Authorization"].removeprefix("Bearer ")
    async with asyncio.timeout(30), place.shop.client.ws_connect(WS) as socket:
        words = Words(socket)
        await words.say("authenticate", token=token)
        await words.expect("system_status", event="authenticated")
        yield words


async def test_an_operation_is_followed_to_its_end(place: Place) -> None:
    body = {"project_id": place.number, "annotations": SPANS, "chunk_size": 1}
    async with talking(place, by("viewer")) as words:
        accepted = await place.ask("POST", "/api/v1/batch/annotations/create", body, status=202)
        number = accepted["operation_id"]
        await words.say("subscribe", operation_id=number)
        await words.expect("system_status", event="subscribed", operation_id=number)
        kind, percents = "", []
        while kind != "operation_completed":
            kind, data = await words.hear()
            assert kind in ("progress_update", "operation_completed"), data
            assert data["operation_id"] == number
            assert (data["workers"], data["memory_bytes"] > 1_000_000) == (1, True)
            assert data["cpu_percent"] >= 0
            assert data.keys() >= {"items_per_second", "items_per_second_mean", "eta_seconds"}
            percents.append(data["progress_percentage"])
        assert (data["succeeded"], data["total"], data["status"]) == (20, 20, "completed")
        assert data["elapsed_seconds"] > 0
        assert percents == sorted(percents)
        assert percents[-1] == 100.0


async def test_one_that_has_ended_is_told_at_once(place: Place) -> None:
    done = await ended(place, await created(place))
    failed = await ended(place, await created(place, [{"text_id": 9}], rollback_on_error=True))
    async with talking(place, BOSS) as words:
        for operation, kind in ((done, "operation_completed"), (failed, "operation_failed")):
            number = operation["operation_id"]
            await words.say("subscribe", operation_id=number)
            await words.expect("system_status", event="subscribed")
            await words.expect(kind, operation_id=number)
            await words.say("unsubscribe", operation_id=number)
            await words.expect("system_status", event="unsubscribed", operation_id=number)
        await words.say("unsubscribe", operation_id=number)
        await words.expect("error", code="not_subscribed")


async def test_what_one_may_not_see_is_not_followed(place: Place) -> None:
    done = await ended(place, await created(place))
    for who in (by("stranger"), by("admin", "other")):
        async with talking(place, who) as words:
            await words.say("subscribe", operation_id=done["operation_id"])
            told = await words.expect("error", code="record_not_found")
            await words.say("subscribe", operation_id=999)
            nothing = await words.expect("error", code="record_not_found")
            assert told["detail"].replace(f" {done['operation_id']};", " 999;") == nothing["detail"]


async def test_who_is_not_known_is_not_let_in(place: Place) -> None:
    for said in (
        {"action": "subscribe", "operation_id": 1},
        {"action": "authenticate", "token": "none"},
    ):
        async with asyncio.timeout(30), place.shop.client.ws_connect(WS) as socket:
            words = Words(socket)
            await socket.send_str(orjson.dumps(said).decode())
            await words.expect("error", code="unauthenticated")
            assert (await socket.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401


async def test_administrators_speak_to_all_and_hear_of_the_connections(place: Place) -> None:
    async with talking(place, BOSS) as boss, talking(place, by("viewer")) as viewer:
        await viewer.say("broadcast", text="hello")
        await viewer.expect("error", code="permission_lacking")
        await boss.say("broadcast", text="back at noon")
        for each in (boss, viewer):
            await each.expect("broadcast", text="back at noon", by="boss")
        await boss.say("system_status")
        told = await boss.expect("system_status", event="status", websockets=2, workers=1)
        assert told["ready"]
        await viewer.say("system_status")
        assert "websockets" not in await viewer.expect("system_status", event="status")
        await viewer.say("authenticate", token="again")
        await viewer.expect("error", code="already_authenticated")
        for odd in (
            {"action": "dance"},
            {"action": "subscribe"},
            {"action": "subscribe", "operation_id": 0},
        ):
            await viewer.socket.send_str(orjson.dumps(odd).decode())
            await viewer.expect("error", code="invalid")


@pytest.mark.parametrize("shop", [{"worker_memory_budget": 1}], indirect=True)
async def test_a_worker_that_passes_its_memory_budget_is_told_of(place: Place) -> None:
    body = {"project_id": place.number, "annotations": SPANS * 5, "chunk_size": 1}
    body |= {"max_workers": 1, "validate_before_create": False}
    accepted = await place.ask("POST", "/api/v1/batch/annotations/create", body, status=202)
    number, link = accepted["operation_id"], accepted["links"]["sse"]
    live = place.shop.client.get(link, headers={**BOSS, **SSE})
    async with asyncio.timeout(60), live as response:
        async with talking(place, by("viewer")) as words:
            await words.say("subscribe", operation_id=number)
            await words.expect("system_status", event="subscribed", operation_id=number)
            first = await words.expect("progress_update", operation_id=number)
            kind, alert = await words.hear()
            while kind == "progress_update":
                kind, alert = await words.hear()
            assert kind == "memory_alert"
        frames = (await response.read()).decode().split("\n\n")
    assert (alert["operation_id"], alert["threshold_bytes"]) == (number, 1 << 20)
    assert min(alert["memory_bytes"], first["memory_bytes"]) > 1 << 20
    (frame,) = (frame for frame in frames if frame.startswith("event: memory_alert"))
    streamed = json.loads(frame.rpartition("data: ")[2])
    # Memory and moment are those of another look.
    assert {name: streamed[name] for name in ("operation_id", "worker", "host")} == {
        name: alert[name] for name in ("operation_id", "worker", "host")
    }
    assert streamed.keys() == alert.keys()
