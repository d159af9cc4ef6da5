"""Varying: on which headers of a request its answer depends, so that no cache mixes answers up."""

from __future__ import annotations

from aiohttp import web

_HEADERS: web.RequestKey[list[str]] = web.RequestKey("varying", list)


def vary(request: web.Request, header: str) -> None:
    """Have the answer, whatever becomes of it, say that it depends on a header of the request."""
    found: list[str] = request.setdefault(_HEADERS, [])
    if header not in found:
        found.append(header)


def varying(request: web.Request) -> str:
    """What ``Vary`` of the answer says; empty when it depends on none."""
    return ", ".join(request.get(_HEADERS, ()))
