"""Webhooks: what is said of the routes that say where a tenant is told what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from api.openapi.answers import Cursor
from api.openapi.common import LIMIT, numbered, repeated
from api.openapi.moments import BEGIN, JOB, KEY
from api.openapi.telling import Answer, Body, Told, one_of, query
from api.webhooks import WEBHOOKS, Replay, SecretRotation
from domain.values import Value
from domain.webhooks import DeliveryState, Disabled, Subscription, WebhookChange

_ONE = f"{WEBHOOKS}/{{webhook_id}}"
_URL = "https://example.org/hook"


class Webhook(Value):
    """A webhook, without its secret; ``disabled`` says why nothing is sent there."""

    webhook_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    url: str
    description: str
    events: tuple[str, ...]
    operations: tuple[str, ...]
    tags: tuple[str, ...]
    jobs: tuple[str, ...]
    enabled: bool
    disabled: Disabled | None
    disabled_at: datetime | None
    failing_since: datetime | None
    created_at: datetime
    created_by: str
    changed_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None


class ShownWebhook(Webhook):
    """A webhook with its secret, which is shown this once."""

    secret: str


class Webhooks(Value):
    """A page of webhooks."""

    items: tuple[Webhook, ...]
    next_cursor: Cursor


class DeletedWebhook(Value):
    """A webhook that is no more."""

    webhook_id: str
    deleted: bool


class Delivery(Value):
    """An event on its way; ``due`` is when it is tried next."""

    position: int
    job_id: str
    version: int
    event: str
    state: DeliveryState
    attempts: int
    due: datetime | None
    queued_at: datetime
    ended_at: datetime | None
    status: int | None
    error: str | None


class Deliveries(Value):
    """A page of deliveries."""

    items: tuple[Delivery, ...]
    next_cursor: Cursor


class Attempt(Value):
    """One try: the status of the answer, or why there is none."""

    position: int
    number: int
    at: datetime
    seconds: float
    status: int | None
    error: str | None


class Attempts(Value):
    """A page of attempts."""

    items: tuple[Attempt, ...]
    next_cursor: Cursor


class Replayed(Value):
    """How many deliveries are made again."""

    replayed: int


def sent() -> Iterator[BaseModel]:
    """An answer of each kind."""
    webhook: dict[str, Any] = {
        "webhook_id": KEY,
        "url": _URL,
        "description": "tells the archive",
        "events": ("job.finished",),
        "operations": ("annotations.*",),
        "tags": (),
        "jobs": (),
        "enabled": True,
        "disabled": None,
        "disabled_at": None,
        "failing_since": None,
        "created_at": BEGIN,
        "created_by": "ada",
        "changed_at": None,
        "rotated_at": None,
        "previous_until": None,
    }
    one = Webhook(**webhook)
    yield one
    yield ShownWebhook(**webhook, secret="whsec_c2hvd24gdGhpcyBvbmNl")  # noqa: S106 - an example
    yield Webhooks(items=(one,), next_cursor=None)
    yield DeletedWebhook(webhook_id=KEY, deleted=True)
    delivery = Delivery(
        position=17,
        job_id=JOB,
        version=9,
        event="job.finished",
        state=DeliveryState.DEAD,
        attempts=12,
        due=None,
        queued_at=BEGIN,
        ended_at=BEGIN,
        status=500,
        error=None,
    )
    yield Deliveries(items=(delivery,), next_cursor=None)
    attempt = Attempt(position=17, number=12, at=BEGIN, seconds=0.2, status=500, error=None)
    yield Attempts(items=(attempt,), next_cursor=None)
    yield Replayed(replayed=1)


_LATER = {
    name: {"webhook_id": "$response.body#/webhook_id"}
    for name in ("showWebhook", "changeWebhook", "listDeliveries", "deleteWebhook")
}

SENDING: Final[Mapping[tuple[str, str], Told]] = {
    ("POST", WEBHOOKS): Told(
        name="createWebhook",
        tag="Webhooks",
        body=Body(
            model=Subscription,
            required=True,
            examples={"the ends of jobs": {"url": _URL, "events": ["job.finished"]}},
        ),
        answers={
            201: Answer(
                about="The webhook with its secret, which is shown this once.",
                model=ShownWebhook,
                located=True,
                links=_LATER,
            )
        },
        problems=("quota_exceeded",),
    ),
    ("GET", WEBHOOKS): Told(
        name="listWebhooks",
        tag="Webhooks",
        parameters=(
            query(
                "cursor",
                "The `next_cursor` of the page before.",
                {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            ),
            LIMIT,
        ),
        answers={200: Answer(about="A page.", model=Webhooks)},
    ),
    ("GET", _ONE): Told(
        name="showWebhook",
        tag="Webhooks",
        answers={200: Answer(about="The webhook.", model=Webhook)},
        problems=("webhook_not_found",),
    ),
    ("PATCH", _ONE): Told(
        name="changeWebhook",
        tag="Webhooks",
        body=Body(model=WebhookChange, examples={"stop": {"enabled": False}}),
        answers={200: Answer(about="The webhook from now on.", model=Webhook)},
        problems=("webhook_not_found",),
    ),
    ("DELETE", _ONE): Told(
        name="deleteWebhook",
        tag="Webhooks",
        answers={200: Answer(about="There is no such webhook any more.", model=DeletedWebhook)},
        problems=("webhook_not_found", "invalid", "unsupported_media_type"),
    ),
    ("POST", f"{_ONE}/rotate"): Told(
        name="rotateWebhook",
        tag="Webhooks",
        body=Body(model=SecretRotation, examples={"an hour": {"overlap": 3600}}),
        answers={
            200: Answer(about="The other secret, which is shown this once.", model=ShownWebhook)
        },
        problems=("webhook_not_found",),
    ),
    ("GET", f"{_ONE}/deliveries"): Told(
        name="listDeliveries",
        tag="Webhooks",
        parameters=(
            repeated(
                "state",
                "Deliveries that stand so.",
                one_of(*(state.value for state in DeliveryState)),
            ),
            numbered(),
            LIMIT,
        ),
        answers={200: Answer(about="A page, the latest first.", model=Deliveries)},
        problems=("webhook_not_found",),
    ),
    ("GET", f"{_ONE}/attempts"): Told(
        name="listDeliveryAttempts",
        tag="Webhooks",
        parameters=(numbered(), LIMIT),
        answers={200: Answer(about="A page, the latest first.", model=Attempts)},
        problems=("webhook_not_found",),
    ),
    ("POST", f"{_ONE}/replay"): Told(
        name="replayDeliveries",
        tag="Webhooks",
        body=Body(model=Replay, examples={"one": {"positions": [17]}, "all": {}}),
        answers={
            200: Answer(
                about="How many are made again: the oldest, as far as there is room. Ask again for "
                "the rest.",
                model=Replayed,
            )
        },
        problems=("webhook_not_found", "wrong_state"),
    ),
}
