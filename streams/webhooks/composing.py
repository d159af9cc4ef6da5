"""Composing: the signed message of a delivery, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import structlog
from eventsourcing.persistence import Mapper
from sqlalchemy import Connection

from domain.errors import DataDirectoryUnusable, MessageUnreadable, UnsupportedVersion
from domain.events import JobEvent, JobOpened, JobSubmitted, StepsSubmitted
from domain.jobs import stored_event
from streams.envelope import encode_event
from streams.stores import webhooks as store
from streams.stores.events import EventRecorder
from streams.stores.webhook_deliveries import Delivery
from streams.stores.webhooks import Target
from streams.webhooks import signing
from streams.webhooks.sending import Message

log = structlog.get_logger(__name__)

_BEGUN = (JobSubmitted, JobOpened, StepsSubmitted)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent, and within which trace; else why not, and ``final`` when it never will.

    ``at`` is when it was signed.
    """

    delivery: Delivery
    at: float
    message: Message | None
    why_not: str = ""
    final: bool = False
    traceparent: str = ""


class Composer:
    """Makes messages of what is stored; ``traced``: in the traces of their jobs."""

    def __init__(self, recorder: EventRecorder, mapper: Mapper[str], *, traced: bool) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._traced = traced

    def order(self, connection: Connection, delivery: Delivery, at: float) -> Order | None:
        """The order; None when the webhook was disabled or deleted meanwhile."""
        try:
            target = store.target(connection, delivery.webhook_id, at)
            if target is None:
                return None
            event = self._event(connection, delivery.job_id, delivery.version)
        except DataDirectoryUnusable as fault:
            log.error("webhook_secret", webhook_id=delivery.webhook_id, reason=fault.message)
            return Order(delivery, at, None, "its secret cannot be opened; rotate it")
        except UnsupportedVersion:
            return Order(delivery, at, None, "the event is of a later release")
        except MessageUnreadable:
            return Order(delivery, at, None, "the stored event is damaged", final=True)
        message = _message(delivery, target, event, at)
        return Order(delivery, at, message, traceparent=self._trace(connection, delivery.job_id))

    def _trace(self, connection: Connection, job_id: str) -> str:
        if not self._traced:
            return ""
        try:
            first = self._event(connection, job_id, 1)
        except (MessageUnreadable, UnsupportedVersion):
            return ""
        return first.traceparent if isinstance(first, _BEGUN) else ""

    def _event(self, connection: Connection, job_id: str, version: int) -> JobEvent:
        found = self._recorder.select_events(
            job_id, gt=version - 1, lte=version, limit=1, connection=connection
        )
        event = stored_event(self._mapper, found[0]) if found else None
        if not isinstance(event, JobEvent):
            raise MessageUnreadable("there is no such event")
        return event


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
