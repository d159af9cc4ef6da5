"""Unmatched: requests that no route takes, and expectations, answered like all others."""

from __future__ import annotations

from aiohttp import HttpVersion11, web

from api.edge import REFUSED, basics, give_id
from api.pages import DOCS
from api.problems import RequestRefused, refused
from api.rules import TABLE, admit
from api.security import guard
from domain.errors import CountermandError

PATTERN = r"/{unmatched:[\s\S]*}"


async def unmatched(request: web.Request) -> web.StreamResponse:
    """Always raises: 405 when the path is known with other methods, else 404."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != "/{unmatched}":
            _, methods = await resource.resolve(request)
            allowed |= methods
    if not allowed:
        raise refused(404, "not_found", f"there is nothing under this path{_hint(request)}")
    names = ", ".join(sorted(allowed))
    raise refused(405, "method_not_allowed", f"possible here: {names}", headers={"Allow": names})


def _hint(request: web.Request) -> str:
    """Where all routes are told, in processes that do."""
    is_told = any(route.path == DOCS for route in request.app[TABLE])
    return f"; {DOCS} shows all there is" if is_told else ""


async def expectation(request: web.Request) -> None:
    """Answer ``Expect: 100-continue``, unless the request will be refused without its body.

    Another expectation cannot be met and is ignored, as is any of a client that speaks HTTP/1.0
    (RFC 9110, section 10.1.1). aiohttp asks this before all middleware.
    """
    expected = request.headers.get("Expect", "").lower()
    if expected != "100-continue" or request.version < HttpVersion11:
        return
    give_id(request)
    try:
        guard(request, basics(request).limits.hosts)
        await admit(request)
    except (RequestRefused, CountermandError) as refusal:
        request[REFUSED] = refusal
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # What counts as the answer begins after this.
    request.writer.output_size = 0
