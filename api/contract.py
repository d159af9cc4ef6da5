"""Contract: what a server says of itself, to programs and to people."""

from __future__ import annotations

import asyncio
from functools import cache

from aiohttp import web

from api.bodies import JSON
from api.rules import TABLE, Route


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document of this server.

    It is the same for everybody; what a caller may do is said by `GET /api/v1/me`.
    """
    body = await asyncio.to_thread(_document, request.app[TABLE])
    return web.Response(body=body, content_type=JSON)


@cache
def _document(routes: tuple[Route, ...]) -> bytes:
    """The document as bytes; made when somebody first asks, since it takes a while."""
    from api.openapi import describe, text

    return text(describe(routes))
