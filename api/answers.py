"""Answers: JSON documents as responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from api.bodies import JSON


def answer(
    document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The document as JSON."""
    return web.Response(
        status=status, body=orjson.dumps(document), content_type=JSON, headers=headers
    )
