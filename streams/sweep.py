"""Sweep: finds what was lost on the way. Messages are hints, and hints may get lost.

Outcomes that no aggregate has recorded, chunks that nobody works, jobs that nobody
drives, jobs behind others that have ended, batches of which a job has moved. One at a time
looks in the whole installation; two would only say things twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Generic, TypeVar

import structlog
from sqlalchemy import Connection

from domain import planning
from domain.errors import Unavailable
from domain.ports import Clock
from domain.registry import Registry
from streams.coordinator import Coordinator
from streams.dispatching import work_message
from streams.envelope import Outgoing, WorkMode
from streams.killers import close_killer
from streams.metrics import Metrics
from streams.places import LivePlaces
from streams.sick import Sick
from streams.stores import children, outcomes, waits
from streams.stores import chunks as chunk_store
from streams.stores.database import Database
from streams.stores.grants import clear_grants
from streams.stores.overdue import (
    FIRST,
    FOUND_AT_ONCE,
    Again,
    Overdue,
    Place,
    dispatch_again,
    overdue,
    still_late,
    wait_longer,
)

log = structlog.get_logger(__name__)

Found = TypeVar("Found")
At = TypeVar("At")
Send = Callable[[Outgoing], Awaitable[None]]
Look = Callable[[str], Awaitable[list[Outgoing]]]
Neglected = Callable[[Connection], Iterable[str]]


class _InTurn(Generic[Found, At]):
    """What waits for something, one page at each look, in the order of its places.

    Some is found for long: drafts of a paused batch, jobs of a later release, chunks of one that
    is sick. It must not keep anything else from being found. A full page has more behind it; after
    any other it begins anew.
    """

    def __init__(
        self,
        page: Callable[[Connection, At, int], list[Found]],
        place: Callable[[Found], At],
        first: At,
    ) -> None:
        self._page = page
        self._place = place
        self._first = self._behind = self._last = first

    def read(self, connection: Connection) -> list[Found]:
        """The page whose turn it is, which it stays until ``go_on``."""
        found = self._page(connection, self._behind, FOUND_AT_ONCE)
        self._last = self._place(found[-1]) if len(found) == FOUND_AT_ONCE else self._first
        return found

    def go_on(self) -> None:
        """All of the page was seen to."""
        self._behind = self._last


class Sweep:
    """``look`` has a job's coordinator look at it; ``neglected`` names jobs that wait for that."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        clock: Clock,
        claim_by: float,
        neglected: Neglected,
        look: Look,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._claim_by = claim_by
        self._neglected = neglected
        self._look = look
        self._metrics = metrics or Metrics()
        self._unconfirmed: list[Again] = []
        self._waiting = [
            _InTurn(page, str, "")
            for page in (outcomes.jobs_with_unrecorded, waits.ready, children.unheard)
        ]
        self._late = _InTurn(self._overdue, lambda chunk: chunk.place, FIRST)
        self._sick = Sick()

    async def recover(self) -> list[Outgoing]:
        """At the start of the only process: whoever held a lease is dead."""
        await self._database.write(_start_over)
        return await self.sweep()

    async def run(self, send: Send) -> None:
        """Look once, and send what was found.

        Who was sent something may take his time with it. But what was never sent, as the broker
        was away or this process has died, is found again as soon as if it had never been tried.
        """
        for message in await self.sweep():
            await send(message)
        patient = [again for again in self._unconfirmed if again.patience > self._claim_by]
        if patient:
            now = self._clock.now().timestamp()
            await self._database.write(lambda connection: wait_longer(connection, patient, now))

    async def sweep(self) -> list[Outgoing]:
        """Look once; returns what is to be sent."""
        self._unconfirmed = []
        late, waiting = await self._database.read(self._lost)
        sent: list[Outgoing] = []
        for job_id in waiting:
            sent += await self._look(job_id)
        for job_id, chunks in groupby(late, key=lambda chunk: chunk.job_id):
            sent += await self._unless_sick(job_id, list(chunks))
        self._late.go_on()
        for turn in self._waiting:
            turn.go_on()
        return sent

    def _lost(self, connection: Connection) -> tuple[list[Overdue], list[str]]:
        waiting = [job_id for turn in self._waiting for job_id in turn.read(connection)]
        waiting += self._neglected(connection)
        return self._late.read(connection), [*dict.fromkeys(waiting)]

    def _overdue(self, connection: Connection, after: Place, limit: int) -> list[Overdue]:
        """Chunks that nobody works, behind one."""
        now = self._clock.now().timestamp()
        return overdue(connection, now, self._registry.kinds(), after=after, limit=limit)

    async def _unless_sick(self, job_id: str, late: list[Overdue]) -> list[Outgoing]:
        """What is damaged in one job stops no other: it is left, said once."""
        try:
            sent = await self._revive(job_id, late)
        except Unavailable:
            raise
        except Exception:
            if self._sick.add(job_id):
                log.exception("job_left", job_id=job_id, remedy="run `countermand audit verify`")
            return []
        self._sick.discard(job_id)
        return sent

    async def _revive(self, job_id: str, late: list[Overdue]) -> list[Outgoing]:
        """Close overdue chunks that have killed their workers; dispatch the others again.

        In this order: what a killer has given way to is not sent, and of a job that is sick
        nothing is.
        """
        sent: list[Outgoing] = []
        killers = [chunk for chunk in late if chunk.is_killer]
        if killers:
            now = self._clock.now().timestamp()
            closed = await self._database.write(partial(self.close_killers, killers, now))
            self._metrics.killed(killers[0].operation, closed)
            sent += await self._look(job_id)
        others = [chunk for chunk in late if not chunk.is_killer]
        return sent + await self._send_again(others) if others else sent

    async def _send_again(self, others: list[Overdue]) -> list[Outgoing]:
        now = self._clock.now().timestamp()
        works, again = await self._database.write(
            lambda connection: dispatch_again(connection, others, now=now, claim_by=self._claim_by)
        )
        self._unconfirmed += again
        operation = self._registry.get(others[0].operation)
        in_order = operation.in_order or any(chunk.cause.undoing for chunk in others)
        suspect = any(planning.is_suspect(chunk.cause, chunk.parent) for chunk in others)
        mode = WorkMode.EXCLUSIVE if suspect else WorkMode.SEQUENTIAL
        return [
            work_message(work, operation.system, in_order=in_order, mode=mode) for work in works
        ]

    def close_killers(self, killers: list[Overdue], now: float, connection: Connection) -> int:
        """Store the outcome of those that nobody works by now, within a transaction; how many.

        The last one first: what each returns goes to the head of the queue. Of undos the first
        one: those behind it give way to it, and have killed nobody.
        """
        late = still_late(connection, killers, now)
        if not any(killer.cause.undoing for killer in late):
            late.reverse()
        for killer in late:
            close_killer(connection, killer, outcomes.sequence_at(self._clock.now()))
        return len(late)


def _start_over(connection: Connection) -> None:
    """Forget what dead processes held, and what several shared when there were several."""
    chunk_store.void_leases(connection)
    clear_grants(connection)


def undriven(coordinator: Coordinator, places: LivePlaces) -> Neglected:
    """Of the only coordinator: open jobs that it does not drive, and those that may send."""

    def neglected(connection: Connection) -> list[str]:
        idle = [job for job in chunk_store.open_jobs(connection) if not coordinator.drives(job)]
        return [*idle, *places.among(coordinator.live)]

    return neglected
