"""Broadcasts: what an administrator says to all who follow their tenant live, wherever they are.

Said once and not kept: who is not connected does not hear it.
"""

from __future__ import annotations

from typing import Final

import orjson

from domain.ports import Clock
from streams.callers import Caller
from streams.live import LiveEvent, LiveHub, Placed
from streams.stores.database import Database
from streams.stores.notifying import notify

CHANNEL: Final = "countermand_broadcasts"
"""What PostgreSQL notifies; the payload is what this module writes."""
MAX_TEXT: Final = 1000
"""Characters: in whatever way they are written, a notification of PostgreSQL holds them."""
NAME: Final = "broadcast"


class Broadcasts:
    """Says, and hears for those who follow at this process."""

    def __init__(self, hub: LiveHub, clock: Clock, database: Database | None = None) -> None:
        """``database`` has the other processes, where there are any."""
        self._hub = hub
        self._clock = clock
        self._database = database

    async def say(self, caller: Caller, text: str) -> None:
        """Tell all connections of the caller's tenant; raises Unavailable."""
        document = {"text": text, "by": caller.actor, "at": self._clock.now().isoformat()}
        payload = orjson.dumps({"tenant": caller.tenant, "said": document}).decode()
        if self._database is None:
            self.heard(payload)
        else:
            # Heard here as well, in the way in which all others hear it.
            await self._database.write(lambda c: notify(c, CHANNEL, payload), lasting=False)

    def heard(self, payload: str | None) -> None:
        """Somebody has said something; None says that something may have been missed."""
        if payload is None:
            return
        document = orjson.loads(payload)
        event = LiveEvent("", None, NAME, document["said"])
        self._hub.place(document["tenant"], Placed(event, None, ()))
