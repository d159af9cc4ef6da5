"""Reminding: little work that nobody has recorded a moment after it was committed gets its hint.

Of little work PostgreSQL tells whoever drives the job (:mod:`.prompting`), and mostly it is
recorded a few milliseconds later. A hint on the broker for each would have the same looked at
again, by a broker, a worker and a coordinator that have better things to do. So a worker looks,
some times a second, for what was not recorded: nobody drove that job, or nobody heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import structlog

from domain.errors import Unavailable
from domain.ports import Ids
from streams.envelope import Outgoing, look_at
from streams.stores import outcomes
from streams.stores.database import Database

log = structlog.get_logger(__name__)

AFTER_SECONDS: Final = 0.1
"""What was committed so long ago is looked for, and at the latest after twice as long."""
MOST_NOTED: Final = 1000
"""Jobs; of more than these the hints go at once."""
LAST_SECONDS: Final = 1.0
"""How long the hints of whoever ends may take; the sweep finds the rest."""


class Reminder:
    """Remembers the jobs of a worker process of which the database has told."""

    def __init__(
        self,
        database: Database,
        ids: Ids,
        send_together: Callable[[Sequence[Outgoing]], Awaitable[None]],
    ) -> None:
        self._database = database
        self._ids = ids
        self._send_together = send_together
        self._noted: dict[str, None] = {}
        self._news = asyncio.Event()
        self._looking = False

    def note(self, job_id: str) -> bool:
        """Little work of a job was committed; returns whether this sees to its hint."""
        if not self._looking or (job_id not in self._noted and len(self._noted) >= MOST_NOTED):
            return False
        self._noted[job_id] = None
        self._news.set()
        return True

    async def run(self) -> None:
        """Look, until cancelled; what is noted by then gets its hint, if the broker is there."""
        earlier: dict[str, None] = {}
        self._looking = True
        try:
            while True:
                if not earlier:
                    await self._news.wait()
                await asyncio.sleep(AFTER_SECONDS)
                await self._hint(await self._left(list(earlier)))
                earlier, self._noted = self._noted, {}
                self._news.clear()
        finally:
            self._looking = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._hint([*earlier, *self._noted])

    async def _left(self, job_ids: list[str]) -> list[str]:
        """Those of which something is not recorded; all of them when nobody can tell."""
        if not job_ids:
            return job_ids
        try:
            look = partial(outcomes.unrecorded_among, job_ids=job_ids)
            return await self._database.read(look, single=True)
        except Unavailable:
            return job_ids

    async def _hint(self, job_ids: Iterable[str]) -> None:
        hints = [look_at(job_id, self._ids.new()) for job_id in dict.fromkeys(job_ids)]
        if not hints:
            return
        try:
            await self._send_together(hints)
        except Unavailable as error:
            # The sweep finds them.
            log.warning("not_reminded", jobs=len(hints), reason=error.message)
