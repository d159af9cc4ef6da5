"""Courier: delivers what is queued, at least once each, some of every webhook at a time.

What has become of an attempt is stored after it, so that a death repeats the attempt under the
same message id. A receiver that hangs or fails holds places of its own and nobody else's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import orjson
import structlog
from eventsourcing.persistence import Mapper
from sqlalchemy import Connection
from structlog.contextvars import bound_contextvars

from domain.errors import DataDirectoryUnusable, MessageUnreadable, Unavailable, UnsupportedVersion
from domain.events import JobEvent, JobOpened, JobSubmitted, StepsSubmitted
from domain.jobs import stored_event
from domain.ports import Clock
from domain.retrying import Draw
from domain.webhooks import DISABLED_AFTER, GONE, DeliveryState, Disabled, pause_before
from streams.envelope import encode_event
from streams.loops import at_news, every, until_done
from streams.stores import webhook_deliveries as deliveries
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.events import EventRecorder
from streams.stores.webhook_deliveries import Attempt, Delivery
from streams.stores.webhooks import Target
from streams.tracing import OFF, TRACEPARENT, Kind, Tracing, Value
from streams.webhooks import signing
from streams.webhooks.places import Key, Places
from streams.webhooks.queueing import Queueing
from streams.webhooks.sending import Answer, Message, Post

log = structlog.get_logger(__name__)

PAUSE: Final = 0.1
"""Seconds by which a message may come later, so that not every commit is looked at by itself."""
BATCHES: Final = 10
"""Of events that are queued before it is seen what is due."""
KEPT: Final = 7 * 86400.0
DEAD_KEPT: Final = 30 * 86400.0
CLEANED_AT_ONCE: Final = 500
CLEAN_EVERY: Final = 60.0

_BEGUN = (JobSubmitted, JobOpened, StepsSubmitted)


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
class _Order:
    """A message that can be sent, or why it cannot: ``final`` when it never will."""

    message: Message | None
    why_not: str = ""
    final: bool = False
    traceparent: str = ""


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
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._database = database
        self._recorder = recorder
        self._mapper = mapper
        self._clock = clock
        self._draw = draw
        self._post = post
        self._delivered = delivered
        self._news = news
        self._queueing = Queueing(database=database, recorder=recorder, mapper=mapper, clock=clock)
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._tenants: dict[str, str] = {}
        """Of the webhooks that something is on its way to."""

    async def run(self) -> None:
        """Queue and deliver for as long as this process is the one that does."""
        cleaning = asyncio.ensure_future(every(CLEAN_EVERY, self.clean))
        try:
            await at_news(self._news, self.look, pause=PAUSE)
        finally:
            cleaning.cancel()
            tasks = [cleaning, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Queue what is new, and begin with what is due, as far as there are places."""
        for _ in range(BATCHES):
            if not await self._queueing.step():
                break
        else:
            self._news.set()
        for delivery in await self._database.read(partial(self._due, [*self._running])):
            key = delivery.webhook_id, delivery.position
            task = asyncio.create_task(self._guarded(delivery))
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

    def _due(self, running: list[Key], connection: Connection) -> list[Delivery]:
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
        return found

    def _ended(self, key: Key, _task: asyncio.Task[None]) -> None:
        del self._running[key]
        self._news.set()

    # -- one -----------------------------------------------------------------------------

    async def _guarded(self, delivery: Delivery) -> None:
        """An attempt that could not be noted is made again; nothing else depends on it."""
        try:
            await self._attempt(delivery)
        except Unavailable as error:
            log.warning("waiting", reason=error.message)
        except Exception:
            log.exception("webhook_attempt", webhook_id=delivery.webhook_id)

    async def _attempt(self, delivery: Delivery) -> None:
        at, began = self._clock.now().timestamp(), self._clock.monotonic()
        order = await self._database.read(partial(self._order, delivery, at))
        if order is None:
            return
        answer = await self._answer(delivery, order)
        attempt = Attempt(
            webhook_id=delivery.webhook_id,
            position=delivery.position,
            number=delivery.attempts + 1,
            at=at,
            seconds=self._clock.monotonic() - began,
            status=answer.status,
            error=answer.error,
        )
        now = self._clock.now().timestamp()
        after = self._after(delivery, answer, now, final=order.final)
        disabled = await self._database.write(partial(self._note, after, attempt), lasting=False)
        self._count(after, disabled)

    async def _answer(self, delivery: Delivery, order: _Order) -> Answer:
        """What becomes of the message, within the trace of its job."""
        message = order.message
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

    def _order(self, delivery: Delivery, at: float, connection: Connection) -> _Order | None:
        """The signed message; None when the webhook was disabled or deleted meanwhile."""
        try:
            target = store.target(connection, delivery.webhook_id, at)
            if target is None:
                return None
            event = self._event(connection, delivery, delivery.version)
            first = event if not self._tracing.is_on else self._event(connection, delivery, 1)
        except DataDirectoryUnusable as fault:
            log.error("webhook_secret", webhook_id=delivery.webhook_id, reason=fault.message)
            return _Order(None, "its secret cannot be opened; rotate it")
        except UnsupportedVersion:
            return _Order(None, "the event is of a later release")
        except MessageUnreadable:
            return _Order(None, "the stored event is damaged", final=True)
        traceparent = first.traceparent if isinstance(first, _BEGUN) else ""
        return _Order(_message(delivery, target, event, at), traceparent=traceparent)

    def _event(self, connection: Connection, delivery: Delivery, version: int) -> JobEvent:
        found = self._recorder.select_events(
            delivery.job_id, gt=version - 1, lte=version, limit=1, connection=connection
        )
        event = stored_event(self._mapper, found[0]) if found else None
        if not isinstance(event, JobEvent):
            raise MessageUnreadable("there is no such event")
        return event

    def _after(self, delivery: Delivery, answer: Answer, now: float, *, final: bool) -> Delivery:
        """The delivery as it is after an attempt."""
        tries = delivery.tries + 1
        if answer.taken:
            state = DeliveryState.DELIVERED.value
            return replace(delivery, state=state, tries=tries, ended_at=now)
        pause = None if final else pause_before(tries + 1, self._draw, answer.after)
        if pause is None:
            return replace(delivery, state=DeliveryState.DEAD.value, tries=tries, ended_at=now)
        return replace(delivery, tries=tries, due=now + pause)

    def _note(
        self, delivery: Delivery, attempt: Attempt, connection: Connection
    ) -> Disabled | None:
        """Store what has become of it; returns why the webhook is disabled by that."""
        if not deliveries.note(connection, delivery, attempt):
            return None
        webhook_id, now = delivery.webhook_id, self._clock.now().timestamp()
        if delivery.state == DeliveryState.DELIVERED.value:
            store.delivered(connection, webhook_id)
            return None
        since = store.failed(connection, webhook_id, now)
        why: Disabled | None = None
        if attempt.status == GONE:
            why = "gone"
        elif now - since >= DISABLED_AFTER:
            why = "failing"
        if why is None or not store.disable(connection, webhook_id, why, now):
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


def message_id(webhook_id: str, position: int) -> str:
    """What a receiver knows a message by, whenever and however often it comes."""
    return f"msg_{webhook_id}_{position}"


def _message(delivery: Delivery, target: Target, event: JobEvent, at: float) -> Message:
    head = {"type": event.alias, "timestamp": event.at.isoformat()}
    data = encode_event(delivery.position, event)
    body = orjson.dumps(head)[:-1] + b',"data":' + data + b"}"
    name = message_id(delivery.webhook_id, delivery.position)
    return Message(
        url=target.row.url,
        headers=signing.headers(name, at, body, target.secrets),
        body=body,
    )
