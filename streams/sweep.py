"""Sweep: finds what was lost on the way. Messages are hints, and hints may get lost.

Outcomes that no aggregate has recorded, chunks that nobody works, jobs that nobody
drives, jobs behind others that have ended, batches of which a job has moved. One at a time
looks in the whole installation; two would only say things twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import groupby

from sqlalchemy import Connection

from domain import planning
from domain.ports import Clock
from domain.registry import Registry
from streams.coordinator import Coordinator
from streams.dispatching import work_message
from streams.envelope import Outgoing, WorkMode
from streams.killers import close_killer
from streams.places import LivePlaces
from streams.stores import children, outcomes, waits
from streams.stores import chunks as chunk_store
from streams.stores.database import Database
from streams.stores.grants import clear_grants
from streams.stores.overdue import Again, Overdue, dispatch_again, overdue, still_late, wait_longer

Send = Callable[[Outgoing], Awaitable[None]]
Look = Callable[[str], Awaitable[list[Outgoing]]]
Neglected = Callable[[Connection], Iterable[str]]


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
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._claim_by = claim_by
        self._neglected = neglected
        self._look = look
        self._unconfirmed: list[Again] = []
        self._behind = ""

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
            sent += await self._revive(job_id, list(chunks))
        return sent

    def _lost(self, connection: Connection) -> tuple[list[Overdue], list[str]]:
        waiting = [
            *outcomes.jobs_with_unrecorded(connection),
            *self._ready(connection),
            *children.unheard(connection),
            *self._neglected(connection),
        ]
        return overdue(connection, self._clock.now().timestamp()), [*dict.fromkeys(waiting)]

    def _ready(self, connection: Connection) -> list[str]:
        """Some of those that need wait no longer, in their turn.

        Drafts of a paused batch are found as long as it is paused, and must not keep others from
        being found. A full page has more behind it; after any other the next look begins anew.
        """
        found = waits.ready(connection, self._behind)
        self._behind = found[-1] if len(found) == waits.FOUND_AT_ONCE else ""
        return found

    async def _revive(self, job_id: str, late: list[Overdue]) -> list[Outgoing]:
        """Dispatch overdue chunks again; close those that have killed their workers."""
        killers = [chunk for chunk in late if chunk.is_killer]
        # What no worker here knows is not sent again: it waits for its operation.
        others = [c for c in late if not c.is_killer and c.operation in self._registry]
        sent: list[Outgoing] = []
        now = self._clock.now().timestamp()
        if others:
            works, again = await self._database.write(
                lambda connection: dispatch_again(
                    connection, others, now=now, claim_by=self._claim_by
                )
            )
            self._unconfirmed += again
            undoing = any(chunk.cause.undoing for chunk in others)
            in_order = undoing or self._registry.get(others[0].operation).in_order
            suspect = any(planning.is_suspect(chunk.cause, chunk.parent) for chunk in others)
            mode = WorkMode.EXCLUSIVE if suspect else WorkMode.SEQUENTIAL
            sent += [work_message(work, in_order=in_order, mode=mode) for work in works]
        if killers:
            await self._database.write(partial(self.close_killers, killers, now))
            sent += await self._look(job_id)
        return sent

    def close_killers(self, killers: list[Overdue], now: float, connection: Connection) -> None:
        """Store the outcome of those that nobody works by now, within a transaction."""
        for killer in still_late(connection, killers, now):
            close_killer(connection, killer, outcomes.sequence_at(self._clock.now()))


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
