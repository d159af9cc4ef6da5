"""Reading server-sent events in tests, byte by byte as they are specified."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson


@dataclass(frozen=True)
class Seen:
    name: str
    id: int | None
    data: dict[str, Any]


def seen(text: bytes) -> Iterator[Seen]:
    """The events of a whole stream, comments and ``retry`` left out."""
    for block in text.split(b"\n\n"):
        fields = dict(
            line.split(b": ", 1)
            for line in block.split(b"\n")
            if b": " in line and not line.startswith(b":")
        )
        if b"data" in fields:
            identity = int(fields[b"id"]) if b"id" in fields else None
            yield Seen(fields[b"event"].decode(), identity, orjson.loads(fields[b"data"]))


def ids(events: Iterable[Seen]) -> list[int]:
    return [event.id for event in events if event.id is not None]


async def live(response: aiohttp.ClientResponse) -> AsyncIterator[Seen]:
    """The events as they arrive."""
    rest = b""
    async for block in response.content.iter_any():
        whole, mark, rest = (rest + block).rpartition(b"\n\n")
        for event in seen(whole + mark):
            yield event
