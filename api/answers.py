"""Answers: JSON documents as responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from api.bodies import JSON
from api.conditions import tag_of


def answer(
    document: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    version: int | None = None,
) -> web.Response:
    """The document as JSON; ``version`` is that of the job that it shows."""
    body = encoded(document)
    tag = {} if version is None else {"ETag": tag_of(body, version)}
    return web.Response(
        status=status, body=body, content_type=JSON, headers={**tag, **(headers or {})}
    )


def encoded(document: Any) -> bytes:
    """The document as bytes of JSON.

    Records may hold what is refused today, and are shown all the same: what was written has been
    written, and a page is for all that are on it.
    """
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_shown(document))


def _shown(value: Any) -> Any:
    """A value whose whole numbers may have any length, as it can be written."""
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    return value
