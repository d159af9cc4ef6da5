"""Long poll: a page that waits for the next event, for who can hold no stream open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import web

from api.edge import WAITS, caller, edge, has_gone
from api.live_ports import Subscription
from streams.live import Overflow

Happened = TypeVar("Happened")
LOOK: Final = 1.0
"""Seconds after which it is looked whether the client is still there to be answered."""


async def next_of(
    request: web.Request,
    subscription: Subscription[Happened],
    seconds: float,
    stored: Callable[[Happened], bool],
) -> None:
    """Wait until a stored event is there to be read, for so many seconds at most.

    It counts as a live stream while it lasts; a shutdown ends it at once, and a client that
    leaves soon.
    """
    own = edge(request)
    request[WAITS] = True
    try:
        async with asyncio.timeout(seconds) as scope:
            with own.streams.admitted(scope, caller(request).tenant):
                while not has_gone(request):
                    event = await subscription.next(LOOK)
                    if event is not None and stored(event):
                        return
    except (TimeoutError, Overflow):
        return
