"""Recalls: slow chunks of which nothing more may begin, because their job was slowed down.

What a slow item does outside cannot be taken back, so it must not begin twice: items that
have begun come to their end, the others go back to the job. A worker looks up what is
called back while it has slow chunks, once for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import structlog

from domain.errors import CountermandError
from streams.stores.chunks import Claimed
from streams.stores.database import Database
from streams.stores.recalled import recalled

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5


class Recalls:
    """Tells slow chunks of this process when they are called back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched: dict[asyncio.Event, Claimed] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def watched(self, chunk: Claimed) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the chunk is called back."""
        event = asyncio.Event()
        self._watched[event] = chunk
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield event
        finally:
            del self._watched[event]
            if not self._watched and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        """Look again and again; cancelled when there is no chunk left to look after."""
        while True:
            jobs = sorted({chunk.job_id for chunk in self._watched.values()})
            try:
                before = await self._database.read(partial(recalled, jobs=jobs))
            except CountermandError as error:
                log.warning("waiting", reason=error.message)
                before = {}
            for event, chunk in self._watched.items():
                if chunk.chunk < before.get(chunk.job_id, 0):
                    event.set()
            await asyncio.sleep(LOOK_SECONDS)
