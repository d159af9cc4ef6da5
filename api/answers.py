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
    body = orjson.dumps(document)
    tag = {} if version is None else {"ETag": tag_of(body, version)}
    return web.Response(
        status=status, body=body, content_type=JSON, headers={**tag, **(headers or {})}
    )
