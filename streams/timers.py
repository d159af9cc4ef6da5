"""Timers: commands that are sent when due, and the clean-up of what has expired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from domain.errors import MessageUnreadable, UnsupportedVersion
from domain.ports import Clock
from streams import topics
from streams.deadletters import MAX_CAUSE, Burial, bury
from streams.envelope import Outgoing, decode_command
from streams.stores import decisions, payloads, workers
from streams.stores.database import Database

log = structlog.get_logger(__name__)

Send = Callable[[Outgoing], Awaitable[None]]

UPLOAD_SECONDS = 24 * 3600.0
DECISION_SECONDS = 7 * 24 * 3600.0


class Timers:
    """Fires timers; one at a time in the whole installation."""

    def __init__(self, *, database: Database, clock: Clock, send: Send) -> None:
        self._database = database
        self._clock = clock
        self._send = send

    async def fire(self) -> int:
        """Send the commands that are due; returns how many.

        A command may be sent twice: its id is fixed, so it takes effect once. One that cannot
        be read is buried, and keeps no other from being sent.
        """
        now = self._clock.now().timestamp()
        due = await self._database.read(lambda connection: decisions.due_timers(connection, now))
        for timer_id, value in due:
            await self._send(_message(timer_id, value))
            await self._database.write(
                lambda connection, timer_id=timer_id: decisions.drop_timer(  # type: ignore[misc]
                    connection, timer_id
                )
            )
        return len(due)

    async def clean(self) -> None:
        """Remove what has expired.

        Uploads that nobody claimed in a day, decisions older than a week, dead workers.
        """
        now = self._clock.now().timestamp()
        while await self._database.write(
            lambda connection: payloads.remove_unclaimed(connection, now - UPLOAD_SECONDS)
        ):
            pass
        while await self._database.write(
            lambda connection: decisions.remove_old(connection, now - DECISION_SECONDS)
        ):
            pass
        await self._database.write(lambda connection: workers.remove_dead(connection, now))


def _message(timer_id: str, value: bytes) -> Outgoing:
    """The command of a timer; its dead letter when it cannot be read."""
    try:
        key = decode_command(value).job_id.encode()
    except (MessageUnreadable, UnsupportedVersion) as error:
        burial = Burial(
            topic=topics.COMMANDS,
            partition=0,
            offset=0,
            size=len(value),
            code=error.code,
            reason=f"timer {timer_id}: {error.message}"[:MAX_CAUSE],
        )
        log.error("dead_letter", timer=timer_id, **burial.model_dump())
        return bury(burial, timer_id.encode(), value, ())
    return Outgoing(topics.COMMANDS, key, value)
