"""Queueing: which events of the log go to which webhooks, each once.

What is queued and how far the log was read are one transaction, so a death in between costs
nothing; where nothing is queued, the position is stored now and then. The log is read before
the webhooks: an event that comes after a webhook finds it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import structlog
from eventsourcing.persistence import Mapper
from sqlalchemy import Connection

from domain.commands import JobSpec
from domain.errors import MessageUnreadable, Unavailable, UnsupportedVersion, VersionConflict
from domain.jobs import stored_event
from domain.ports import Clock
from streams.sick import Sick
from streams.stores import read_model
from streams.stores import webhook_deliveries as deliveries
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.events import EventRecorder
from streams.stores.webhook_deliveries import Delivery, Stored
from streams.stores.webhooks import WebhookRow

log = structlog.get_logger(__name__)

READER = "webhooks"
BATCH = 500
KNOWN_JOBS = 1000
SAVED_EVERY = 5.0
"""Seconds; where nothing was queued, so much is read again after a death."""
COUNTED_AFTER = 10
"""What waits is counted anew once one part of so many of what may has come. A replay leaves as much
room as that (:data:`streams.webhooks.subscriptions.LEFT_FREE`)."""
KNOWN_WEBHOOKS = 10_000


@dataclass(frozen=True, slots=True)
class _Job:
    """What filters ask of a job."""

    operation: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """How many deliveries were queued, and whether there may be more events to look at."""

    queued: int
    more: bool


class Queueing:
    """Follows the log; one at a time in the whole installation. ``most`` may wait for a webhook."""

    def __init__(
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: Mapper[str],
        clock: Clock,
        most: int,
    ) -> None:
        self._most = most
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._clock = clock
        self._position: int | None = None
        self._saved = 0
        self._saved_at = float("-inf")
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._room: dict[str, int] = {}
        """How many more may be queued for a webhook before it is counted what waits for it."""
        self._sick = Sick()

    def start_over(self) -> None:
        """Go on from the stored position: another process may have moved it meanwhile."""
        self._position = None
        self._room.clear()

    async def step(self) -> Step:
        """Queue what is new, at most ``BATCH`` events.

        Raises Unavailable where a filter asks for a job that a later release has begun.
        """
        try:
            found, wanted = await self._database.read(self._news)
        except UnsupportedVersion as later:
            raise Unavailable(f"webhooks stand still: {later.message}") from later
        if not found:
            return Step(queued=0, more=False)
        last, now = found[-1].position, self._clock.monotonic()
        if wanted or now - self._saved_at >= SAVED_EVERY:
            try:
                work = partial(self._queue, last, {one.tenant for one in found}, wanted)
                await self._database.write(work, lasting=False)
            except VersionConflict:
                # Go on from where the other one is.
                self.start_over()
                raise
            self._saved, self._saved_at = last, now
        self._position = last
        return Step(queued=len(wanted), more=len(found) == BATCH)

    def _news(self, connection: Connection) -> tuple[list[Stored], list[Delivery]]:
        """Events that are new, and what is to be sent of them."""
        if self._position is None:
            self._position = self._saved = read_model.position(connection, READER)
        last = deliveries.last(connection)
        if last <= self._position:
            return [], []
        if not store.any_enabled(connection):
            # Nobody wants any of it; only how far that goes is kept.
            return [Stored(last, "", 0, "", "")], []
        found = deliveries.stored_after(connection, self._position, BATCH)
        rows = store.enabled(connection, {one.tenant for one in found})
        now = self._clock.now().timestamp()
        wanted = [
            Delivery(
                webhook_id=row.webhook_id,
                position=one.position,
                job_id=one.job_id,
                version=one.version,
                event=one.event,
                due=now,
                queued_at=now,
            )
            for one in found
            for row in rows
            if self._wants(connection, row, one)
        ]
        return found, wanted

    def _wants(self, connection: Connection, row: WebhookRow, one: Stored) -> bool:
        wanted = row.filter
        if row.tenant != one.tenant or one.position <= row.since:
            return False
        if not wanted.wants(one.event, one.job_id):
            return False
        if not wanted.asks_for_job:
            return True
        job = self._job(connection, one)
        return job is not None and wanted.takes(job.operation, job.tags)

    def _job(self, connection: Connection, one: Stored) -> _Job | None:
        """What the job of an event is; None, which is said once, when that cannot be known."""
        known = self._jobs.get(one.job_id)
        if known is not None:
            self._jobs.move_to_end(one.job_id)
            return known
        try:
            spec = self._spec(connection, one.job_id)
        except MessageUnreadable as damage:
            if self._sick.add(one.job_id):
                reason = damage.message
                log.error("event_not_sent", job_id=one.job_id, position=one.position, reason=reason)
            return None
        self._sick.discard(one.job_id)
        job = self._jobs[one.job_id] = _Job(spec.operation, spec.tags)
        if len(self._jobs) > KNOWN_JOBS:
            self._jobs.popitem(last=False)
        return job

    def _spec(self, connection: Connection, job_id: str) -> JobSpec:
        """By its first event; raises MessageUnreadable when that is damaged."""
        stored = self._recorder.select_events(job_id, limit=1, connection=connection)
        spec = getattr(stored_event(self._mapper, stored[0]), "spec", None) if stored else None
        if not isinstance(spec, JobSpec):
            raise MessageUnreadable(
                f"version 1 of job {job_id} is damaged; run `countermand audit verify`: "
                "it does not begin a job"
            )
        return spec

    def _queue(
        self, last: int, tenants: Collection[str], wanted: list[Delivery], connection: Connection
    ) -> None:
        read_model.advance(connection, READER, seen=self._saved, to=last)
        wanted = _still_wanted(connection, tenants, wanted)
        deliveries.queue(connection, wanted)
        for webhook_id, queued in Counter(one.webhook_id for one in wanted).items():
            if self._is_overfull(connection, webhook_id, queued):
                now = self._clock.now().timestamp()
                store.disable(connection, webhook_id, "overfull", now)
                deliveries.give_up(connection, webhook_id, "too much waited for it", now)

    def _is_overfull(self, connection: Connection, webhook_id: str, queued: int) -> bool:
        """Whether more waits than may; counted only where that can be."""
        room = self._room.pop(webhook_id, 0) - queued
        if room < 0:
            waiting = deliveries.waiting(connection, webhook_id, self._most + 1)
            room = min(self._most - waiting, self._most // COUNTED_AFTER)
        if room < 0:
            return True
        if len(self._room) >= KNOWN_WEBHOOKS:
            self._room.clear()
        self._room[webhook_id] = room
        return False


def _still_wanted(
    connection: Connection, tenants: Collection[str], wanted: list[Delivery]
) -> list[Delivery]:
    """Without those for webhooks that were disabled after these were read, or enabled anew."""
    if not wanted:
        return wanted
    since = {row.webhook_id: row.since for row in store.enabled(connection, tenants)}
    return [one for one in wanted if one.position > since.get(one.webhook_id, one.position)]
