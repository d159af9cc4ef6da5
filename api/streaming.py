"""Streaming: answers of any size, sent as they are made, at the pace of who reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from api.edge import edge
from api.packing import packed_stream
from api.rules import demand
from api.standing import Standing
from domain.permissions import Permission

NDJSON = "application/x-ndjson"
CSV = "text/csv"


async def send(
    request: web.Request, content_type: str, blocks: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Stream blocks to a client that reads them; one that does not is cut off.

    It is all in one piece, which takes a permission of its own.
    """
    demand(request, Permission.EXPORT)
    standing = Standing(request)
    response = web.StreamResponse(headers={"Content-Type": content_type})
    async with aclosing(packed_stream(request, response, blocks)) as pieces:
        first = await anext(pieces)  # an unknown job must be told before the answer begins
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await write(request, response, first)
        async for piece in pieces:
            await standing.check()
            await write(request, response, piece)
    return response


async def write(request: web.Request, response: web.StreamResponse, block: bytes) -> None:
    """Send a block; a client that does not read is given up and counted, and no fault of ours.

    Raises ConnectionAbortedError then.
    """
    own = edge(request)
    try:
        async with asyncio.timeout(own.limits.write_wait):
            await response.write(block)
    except TimeoutError:
        own.meters.cut.inc()
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("the client does not read what it is sent") from None
