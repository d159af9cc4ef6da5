"""Noting: what has become of attempts, those that end at the same time in one transaction.

While the database cannot be written a note is kept, and its delivery keeps its place: else what
was delivered would be due again at once, and would be sent for as long as the disk is full. As
many are kept as there are places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from domain.errors import Unavailable
from domain.ports import Clock
from domain.webhooks import DISABLED_AFTER, GONE, DeliveryState, Disabled
from streams.loops import FIRST_PAUSE, LONGEST_PAUSE
from streams.stores import webhook_deliveries as deliveries
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.infrastructure import FAULTS
from streams.stores.webhook_deliveries import Attempt, Delivery

log = structlog.get_logger(__name__)

AT_ONCE: Final = 100
QUIET: Final = 86400.0
"""Seconds without an attempt after which failures count anew: nobody knows whether the receiver
was there meanwhile. No pause between attempts is as long, and a job a day leaves none."""


@dataclass(slots=True)
class Delivered:
    """What this process has delivered since it began: messages taken, attempts failed, given up."""

    taken: int = 0
    failed: int = 0
    dead: int = 0
    disabled: int = 0

    def counts(self) -> list[tuple[str, int]]:
        """By what became of them."""
        return [
            ("delivered", self.taken),
            ("failed", self.failed),
            ("dead", self.dead),
            ("disabled", self.disabled),
        ]


@dataclass(frozen=True, slots=True)
class _Note:
    """An attempt, and the delivery as it is after it; who waits is told when that is stored.

    ``asked`` is the address that was, None when nothing could be sent.
    """

    delivery: Delivery
    attempt: Attempt
    asked: str | None
    stored: asyncio.Future[None]


class Notes:
    """Stores them; ``close`` gives up what is not stored, which is then sent again."""

    def __init__(self, database: Database, clock: Clock, delivered: Delivered) -> None:
        self._database = database
        self._clock = clock
        self._delivered = delivered
        self._waiting: list[_Note] = []
        self._saving: asyncio.Task[None] | None = None

    async def note(self, delivery: Delivery, attempt: Attempt, asked: str | None) -> None:
        """Return once it is stored, however long that takes; raises what a note is to blame for."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append(_Note(delivery, attempt, asked, stored))
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save())
        await stored

    async def close(self) -> None:
        """Store no more."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)

    async def _save(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            await self._save_all(batch)

    async def _save_all(self, batch: Sequence[_Note]) -> None:
        """Store some; where they cannot be together, one by one, as one alone is to blame."""
        try:
            disabled = await self._stored(batch)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._save_all([one])
            elif not batch[0].stored.done():
                batch[0].stored.set_exception(error)
            return
        for one, why in zip(batch, disabled, strict=True):
            self._count(one.delivery, why)
            if not one.stored.done():
                one.stored.set_result(None)

    async def _stored(self, batch: Sequence[_Note]) -> list[Disabled | None]:
        """Store some, as soon as that can be done; returns of each why its webhook is disabled."""
        work, pause = partial(self._store, batch), FIRST_PAUSE
        while True:
            try:
                return await self._database.write(work, lasting=False)
            except (Unavailable, *FAULTS) as error:
                log.warning("waiting", reason=_reason(error), notes=len(batch))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _store(self, batch: Sequence[_Note], connection: Connection) -> list[Disabled | None]:
        return [self._note(connection, one) for one in batch]

    def _note(self, connection: Connection, note: _Note) -> Disabled | None:
        """Store what has become of it; returns why the webhook is disabled by that.

        An address that the webhook had before speaks for the delivery alone.
        """
        delivery, attempt, asked = note.delivery, note.attempt, note.asked
        if not deliveries.note(connection, delivery, attempt):
            return None
        webhook_id, now = delivery.webhook_id, self._clock.now().timestamp()
        if delivery.state == DeliveryState.DELIVERED.value:
            store.delivered(connection, webhook_id, asked)
            return None
        anew = delivery.tries == 1 and _was_quiet(connection, attempt)
        since = store.failed(connection, webhook_id, asked, now, anew=anew)
        if since is None:
            return None
        why: Disabled | None = None
        if attempt.status == GONE:
            why = "gone"
        elif now - since >= DISABLED_AFTER:
            why = "failing"
        if why is None or not store.disable(connection, webhook_id, why, now, asked):
            return None
        deliveries.give_up(connection, webhook_id, "the webhook was disabled", now)
        return why

    def _count(self, delivery: Delivery, disabled: Disabled | None) -> None:
        if delivery.state == DeliveryState.DELIVERED.value:
            self._delivered.taken += 1
            return
        self._delivered.failed += 1
        self._delivered.dead += delivery.state == DeliveryState.DEAD.value
        if disabled is not None:
            self._delivered.disabled += 1
            log.warning("webhook_disabled", webhook_id=delivery.webhook_id, reason=disabled)


def _reason(error: Exception) -> str:
    """Why it cannot be stored, without what was to be stored."""
    return str(getattr(error, "orig", None) or error)


def _was_quiet(connection: Connection, attempt: Attempt) -> bool:
    """Whether nothing was tried at the webhook for long, before this attempt, which is stored."""
    before = deliveries.tried_before(connection, attempt.webhook_id)
    return before is None or attempt.at - before >= QUIET
