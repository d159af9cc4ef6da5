"""The other implementation of WebSockets (the package ``websockets``) speaks to ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.ws_messages import ANSWERED
from tests.api.conftest import Site
from tests.api.proofs import bearer
from tests.api.talking import PATIENCE, WS
from tests.api.test_all_events import submitted
from tests.api.test_identity import closed
from tests.api.test_websocket import credential, gone, places
from tests.databases import sqlite_database

__all__ = ["closed", "sqlite_database"]

ADA = bearer("acme", "admin")


@asynccontextmanager
async def opened(site: Site, **options: Any) -> AsyncIterator[ClientConnection]:
    async with (
        asyncio.timeout(30),
        connect(f"ws://127.0.0.1:{site.port}{WS}", proxy=None, **options) as peer,
    ):
        yield peer


async def say(peer: ClientConnection, kind: str, **data: Any) -> None:
    await peer.send(orjson.dumps({"type": kind, "data": data}).decode())


async def hear(peer: ClientConnection) -> tuple[str, dict[str, Any]]:
    text = await asyncio.wait_for(peer.recv(), PATIENCE)
    assert isinstance(text, str)
    ANSWERED.validate_json(text, strict=True)
    message = orjson.loads(text)
    return message["type"], message["data"]


async def test_it_is_let_in_follows_a_job_to_its_end_and_leaves(closed: Site) -> None:
    async with opened(closed) as peer:
        await say(peer, "authenticate", token=credential(ADA))
        assert (await hear(peer))[0] == "authenticated"
        job_id = await submitted(closed, "red", headers=ADA)
        await say(peer, "subscribe", job_id=job_id, after=0)
        assert (await hear(peer))[0] == "subscribed"
        await say(peer, "subscribe", tag="red")
        closed.engine.work(job_id)
        heard = [await hear(peer) for _ in range(len(closed.engine.events_of[job_id]) + 1)]
        assert heard.pop([kind for kind, _ in heard].index("subscribed"))
        assert [data["position"] for _, data in heard] == places(closed.engine, job_id)
        assert [kind for kind, _ in heard] == ["progress"] * (len(heard) - 1) + ["completion"]
        for topic in ({"job_id": job_id}, {"tag": "red"}):
            await say(peer, "unsubscribe", **topic)
            assert (await hear(peer))[0] == "unsubscribed"
        await say(peer, "broadcast", text="good night")
        assert (await hear(peer))[0] == "broadcast"
        await say(peer, "statistics")
        kind, figures = await hear(peer)
        assert (kind, figures["topics"], figures["websockets"]) == ("statistics", [], 1)
        await (await peer.ping())
        await peer.close()
    assert peer.close_code == 1000
    await gone(closed.engine)


async def test_it_understands_how_it_is_refused(closed: Site) -> None:
    async with opened(closed) as peer:
        await say(peer, "authenticate", token="x")
        assert (await hear(peer))[0] == "error"
        with pytest.raises(ConnectionClosed) as end:
            await peer.recv()
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason[:26]) == (
            4401,
            "the token is not accepted:",
        )
    with pytest.raises(InvalidStatus) as refused:
        async with opened(closed, additional_headers={"Authorization": "Bearer x"}):
            pass
    assert refused.value.response.status_code == 401
    async with opened(closed, additional_headers=ADA, max_size=100) as peer:
        with pytest.raises(ConnectionClosed):
            await peer.recv()
    await gone(closed.engine)


async def test_messages_in_fragments_and_offered_compression_do_no_harm(closed: Site) -> None:
    async with opened(closed, additional_headers=ADA, compression="deflate") as peer:
        assert (await hear(peer))[0] == "authenticated"
        text = orjson.dumps({"type": "subscribe", "data": {"all": True}}).decode()
        await peer.send(iter([text[:9], text[9:20], text[20:]]))
        assert (await hear(peer))[0] == "subscribed"
