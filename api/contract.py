"""Contract: what a server says of itself, to programs and to people."""

from __future__ import annotations

import asyncio
from functools import cache

from aiohttp import web

from api import pages, problem_page
from api.bodies import JSON
from api.rules import TABLE, Route


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document of this server.

    It is the same for everybody; what a caller may do is said by `GET /api/v1/me`.
    """
    body = await asyncio.to_thread(_document, request.app[TABLE])
    return web.Response(body=body, content_type=JSON)


async def docs(request: web.Request) -> web.Response:
    """The OpenAPI document as a page for people."""
    return pages.shown(await asyncio.to_thread(_page, request.app[TABLE]))


async def problems(_request: web.Request) -> web.Response:
    """Every code that a refusal can have, as a page for people."""
    return pages.shown(problem_page.html())


async def style(_request: web.Request) -> web.Response:
    """The style sheet of the pages."""
    return await asyncio.to_thread(pages.style)


@cache
def _document(routes: tuple[Route, ...]) -> bytes:
    """The document as bytes; made when somebody first asks, since it takes a while."""
    from api.openapi import describe, text

    return text(describe(routes))


@cache
def _page(routes: tuple[Route, ...]) -> str:
    from api.openapi import describe
    from api.openapi.page import html

    return html(describe(routes))
