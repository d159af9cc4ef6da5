"""Messaging: how far the broker's partitions were read, and messages that could not be handled."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import structlog
from aiohttp import web

from api import bodies
from api.answers import answer
from api.edge import caller, edge
from api.models import Nothing, checked
from api.parameters import Parameters
from streams.messaging import PartitionView

PARTITIONS: Final = "/api/v1/partitions"
LETTERS: Final = "/api/v1/letters"
REDRIVE: Final = f"{LETTERS}/{{code:[a-z][a-z0-9_]{{0,49}}}}/redrive"


_log = structlog.get_logger("countermand.api")


async def partitions(request: web.Request) -> web.Response:
    """Every partition on which somebody works, with what waits there."""
    Parameters(request, ())
    found = await edge(request).messaging.partitions()
    return answer({"items": [*map(_document, found)]})


async def letters(request: web.Request) -> web.Response:
    """Messages that could not be handled, by code and topic, each with its latest cause."""
    Parameters(request, ())
    found = await edge(request).messaging.letters()
    return answer({"items": [*map(dataclasses.asdict, found.groups)], "others": found.others})


async def redrive(request: web.Request) -> web.Response:
    """Send the letters of a code to where they were, once their cause is mended."""
    own = edge(request)
    Parameters(request, ())
    checked(Nothing, await bodies.read_optional(request, own.limits), own.limits.json_depth)
    code = request.match_info["code"]
    found = await own.messaging.redrive(code)
    _log.info("letters_redriven", code=code, by=caller(request).actor, sent=found.sent)
    return answer(dataclasses.asdict(found))


def _document(view: PartitionView) -> dict[str, Any]:
    return {**dataclasses.asdict(view), "waiting": view.waiting}
