"""Timers: commands that are sent when due, and the clean-up of what has expired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from sqlalchemy import Connection

from domain.commands import RecordOutcomes
from domain.errors import MessageUnreadable, UnsupportedVersion
from domain.ports import Clock
from streams import topics
from streams.deadletters import MAX_CAUSE, Burial, bury
from streams.envelope import Outgoing, decode_command
from streams.stores import (
    decisions,
    job_files,
    job_parts,
    payloads,
    rates,
    tickets,
    worker_use,
    workers,
)
from streams.stores.database import Database

log = structlog.get_logger(__name__)

Send = Callable[[Outgoing], Awaitable[None]]

AGAIN_SECONDS = 5.0
"""After which a hint is sent again that nobody has answered."""
UPLOAD_SECONDS = 24 * 3600.0
DECISION_SECONDS = 7 * 24 * 3600.0
"""How long refusals are known, and keys of what never came to be; what was accepted always is."""


class Timers:
    """Fires timers; one at a time in the whole installation."""

    def __init__(self, *, database: Database, clock: Clock, send: Send) -> None:
        self._database = database
        self._clock = clock
        self._send = send

    async def fire(self) -> int:
        """Send the commands that are due; returns how many.

        A command may be sent twice: its id is fixed, so it takes effect once. A hint is sent
        again later, until the job that set it has taken its timer back. What cannot be read
        is buried, and keeps no other from being sent.
        """
        fired = 0
        while due := await self._database.read(self._due):
            for timer_id, value in due:
                await self._fire(timer_id, value)
            fired += len(due)
            if len(due) < decisions.TIMERS_AT_ONCE:
                break
        return fired

    def _due(self, connection: Connection) -> list[tuple[str, bytes]]:
        return decisions.due_timers(connection, self._clock.now().timestamp())

    async def _fire(self, timer_id: str, value: bytes) -> None:
        message, is_hint = _message(timer_id, value)
        await self._send(message)
        now = self._clock.now().timestamp()
        if is_hint:
            again = now + AGAIN_SECONDS
            await self._database.write(
                lambda found: decisions.postpone_timer(found, timer_id, now, again)
            )
        else:
            await self._database.write(lambda found: decisions.drop_timer(found, timer_id))

    async def clean(self) -> None:
        """Remove what has expired.

        Uploads that nobody claimed in a day, refusals older than a week and keys that came to
        nothing, files of jobs older than a month, dead workers, what workers used long ago, and
        windows of rates and tickets that are over.
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
        old = now - job_files.MAX_SECONDS
        while await self._database.write(lambda found: job_files.remove_old(found, old)):
            pass
        while await self._database.write(lambda found: job_parts.remove_old_parts(found, old)):
            pass
        await self._database.write(lambda connection: workers.remove_dead(connection, now))
        await self._database.write(lambda connection: worker_use.remove_old(connection, now))
        for forget in (rates.remove_over, tickets.remove_over):
            while await self._database.write(partial(forget, now=now)):
                pass


def _message(timer_id: str, value: bytes) -> tuple[Outgoing, bool]:
    """The command of a timer and whether it is a hint; its dead letter when it cannot be read."""
    try:
        command = decode_command(value)
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
        return bury(burial, timer_id.encode(), value, ()), False
    message = Outgoing(topics.COMMANDS, command.job_id.encode(), value)
    return message, isinstance(command, RecordOutcomes)
