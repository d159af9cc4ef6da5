"""Courier: delivers what is queued, at least once each, some of every webhook at a time.

What has become of an attempt is stored after it, so that a death repeats the attempt under the
same message id; while this process lives, nothing more of the delivery is sent before that. A
receiver that hangs or fails holds places of its own and nobody else's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
from eventsourcing.persistence import Mapper
from sqlalchemy import Connection
from structlog.contextvars import bound_contextvars

from domain.ports import Clock
from domain.retrying import Draw
from domain.webhooks import MAX_WAITING, DeliveryState, pause_before
from streams.failpoints import Failpoint, Failpoints
from streams.loops import at_news, background, every, until_done
from streams.stores import webhook_deliveries as deliveries
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.events import EventRecorder
from streams.stores.webhook_deliveries import Attempt, Delivery
from streams.tracing import OFF, TRACEPARENT, Kind, Tracing, Value
from streams.webhooks.composing import Composer, Order
from streams.webhooks.noting import Delivered, Notes
from streams.webhooks.places import Key, Places
from streams.webhooks.queueing import Queueing
from streams.webhooks.sending import Answer, Post

log = structlog.get_logger(__name__)

PAUSE: Final = 0.1
"""Seconds by which a message may come later, so that not every commit is looked at by itself."""
REFILL: Final = 0.01
"""Seconds in which places are gathered that became free, to be filled together."""
AFTER_FAULT: Final = 60.0
"""Seconds for which an attempt that has broken keeps its place: its delivery is due all the while,
and must not be sent again and again."""
BATCHES: Final = 10
"""Of events that are looked at in one go."""
KEPT: Final = 7 * 86400.0
DEAD_KEPT: Final = 30 * 86400.0
CLEANED_AT_ONCE: Final = 500
CLEAN_EVERY: Final = 60.0


class Courier:
    """Owned by one process at a time; ``run`` does the work."""

    def __init__(  # noqa: PLR0913 - its ports, by name
        self,
        *,
        database: Database,
        recorder: EventRecorder,
        mapper: Mapper[str],
        clock: Clock,
        draw: Draw,
        post: Post,
        delivered: Delivered,
        news: asyncio.Event,
        failpoints: Failpoints,
        tracing: Tracing = OFF,
        most_waiting: int = MAX_WAITING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._draw = draw
        self._post = post
        self._news = news
        self._failpoints = failpoints
        self._tracing = tracing
        self._composer = Composer(recorder, mapper, traced=tracing.is_on)
        self._notes = Notes(database, clock, delivered)
        self._queueing = Queueing(
            database=database, recorder=recorder, mapper=mapper, clock=clock, most=most_waiting
        )
        self.freed = asyncio.Event()
        """There may be something to begin with."""
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._tenants: dict[str, str] = {}
        """Of the webhooks that something is on its way to."""

    async def run(self) -> None:
        """Queue and deliver for as long as this process is the one that does."""
        try:
            async with background(
                [every(CLEAN_EVERY, self.clean), at_news(self.freed, self._begin, pause=REFILL)]
            ):
                await at_news(self._news, self._queue, pause=PAUSE)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._notes.close()

    async def look(self) -> None:
        """Queue what is new, and begin with what is due, as far as there are places."""
        await self._queue()
        await self._begin()

    async def _queue(self) -> None:
        for _ in range(BATCHES):
            step = await self._queueing.step()
            if step.queued:
                self.freed.set()
            if not step.more:
                break
        else:
            self._news.set()

    async def _begin(self) -> None:
        for order in await self._database.read(partial(self._due, [*self._running])):
            key = order.delivery.webhook_id, order.delivery.position
            task = asyncio.create_task(self._guarded(order))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))

    async def quiet(self) -> None:
        """Return when nothing is on its way any more."""
        while self._running:
            await asyncio.wait([*self._running.values()])

    async def clean(self) -> None:
        """Remove what was kept long enough, and what was deleted."""

        async def some() -> bool:
            return await self._database.write(self._clean, lasting=False) > 0

        await until_done(some)

    # -- which ---------------------------------------------------------------------------

    def _due(self, running: list[Key], connection: Connection) -> list[Order]:
        now = self._clock.now().timestamp()
        waiting = deliveries.with_due(connection, now)
        places = Places(running, self._tenants)
        found: list[Delivery] = []
        # Who has least on the way comes first, so that nobody who hangs can keep others out.
        for webhook in sorted(waiting, key=places.rank):
            free = places.free(webhook)
            if free > 0:
                besides = places.of(webhook.webhook_id)
                due = deliveries.due(connection, webhook.webhook_id, now, besides, free)
                places.take(webhook, due)
                found += due
        self._tenants = places.tenants
        orders = (self._composer.order(connection, one, now) for one in found)
        return [order for order in orders if order is not None]

    def _ended(self, key: Key, _task: asyncio.Task[None]) -> None:
        del self._running[key]
        self.freed.set()

    # -- one -----------------------------------------------------------------------------

    async def _guarded(self, order: Order) -> None:
        """An attempt that has broken is made again, later; nothing else depends on it."""
        try:
            await self._attempt(order)
        except Exception:
            log.exception("webhook_attempt", webhook_id=order.delivery.webhook_id)
            await asyncio.sleep(AFTER_FAULT)

    async def _attempt(self, order: Order) -> None:
        delivery, began = order.delivery, self._clock.monotonic()
        self._failpoints.reach(Failpoint.BEFORE_WEBHOOK)
        answer = await self._answer(order)
        self._failpoints.reach(Failpoint.WEBHOOK_SENT)
        attempt = Attempt(
            webhook_id=delivery.webhook_id,
            position=delivery.position,
            number=delivery.attempts + 1,
            at=order.at,
            seconds=self._clock.monotonic() - began,
            status=answer.status,
            error=answer.error,
        )
        after = self._after(delivery, answer, final=order.final)
        await self._notes.note(after, attempt, order.message.url if order.message else None)
        self._failpoints.reach(Failpoint.WEBHOOK_NOTED)

    async def _answer(self, order: Order) -> Answer:
        """What becomes of the message, within the trace of its job."""
        message, delivery = order.message, order.delivery
        if message is None:
            return Answer(None, order.why_not)
        said: dict[str, Value] = {"countermand.job_id": delivery.job_id}
        said |= {"countermand.webhook_id": delivery.webhook_id, "http.request.method": "POST"}
        with (
            bound_contextvars(job_id=delivery.job_id, webhook_id=delivery.webhook_id),
            self._tracing.span("webhook", Kind.CLIENT, parent=order.traceparent, said=said) as span,
        ):
            present = self._tracing.traceparent() if order.traceparent else ""
            more = {TRACEPARENT: present} if present else {}
            answer = await self._post(replace(message, headers={**message.headers, **more}))
            if answer.status is not None:
                span.tell("http.response.status_code", answer.status)
            if not answer.taken:
                span.failed()
        return answer

    def _after(self, delivery: Delivery, answer: Answer, *, final: bool) -> Delivery:
        """The delivery as it is after an attempt."""
        now, tries = self._clock.now().timestamp(), delivery.tries + 1
        if answer.taken:
            state = DeliveryState.DELIVERED.value
            return replace(delivery, state=state, tries=tries, ended_at=now)
        pause = None if final else pause_before(tries + 1, self._draw, answer.after)
        if pause is None:
            return replace(delivery, state=DeliveryState.DEAD.value, tries=tries, ended_at=now)
        return replace(delivery, tries=tries, due=now + pause)

    def _clean(self, connection: Connection) -> int:
        now = self._clock.now().timestamp()
        removed = deliveries.clean(
            connection, delivered=now - KEPT, dead=now - DEAD_KEPT, limit=CLEANED_AT_ONCE
        )
        # What was being queued while one was deleted is there by then.
        for webhook_id in store.deleted(connection, now - CLEAN_EVERY, 10):
            left = deliveries.clear(connection, webhook_id, CLEANED_AT_ONCE)
            removed += left
            if not left:
                store.forget(connection, webhook_id)
        return removed
