"""Webhooks: where a tenant wants to be told what happens, and what has come of it."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from api import bodies
from api.answers import answer
from api.edge import REQUEST_ID, caller, edge
from api.models import checked
from api.parameters import MAX_ID, Parameters, wrong
from domain.values import Value
from domain.webhooks import DeliveryState, Filter, Subscription, WebhookChange
from streams.stores.webhook_deliveries import Attempt, Delivery
from streams.stores.webhooks import WebhookRow
from streams.webhooks.subscriptions import MAX_OVERLAP, NewWebhook

_log = structlog.get_logger("countermand.api")

WEBHOOKS: Final = "/api/v1/webhooks"
MAX_REPLAYED: Final = 1000
_WEBHOOK_ID = re.compile(r"[0-9a-f]{32}")
_STATES = tuple(state.value for state in DeliveryState)

Position = Annotated[int, Field(ge=1, le=MAX_ID)]
Positions = Annotated[tuple[Position, ...], Field(min_length=1, max_length=MAX_REPLAYED)]
_Body = TypeVar("_Body", bound=BaseModel)


class SecretRotation(Value):
    """The body of a rotation: for how many seconds the old secret signs as well."""

    overlap: Annotated[float, Field(ge=0, le=MAX_OVERLAP, allow_inf_nan=False)] = 86400.0


class Replay(Value):
    """The body of a replay: which dead deliveries, else all."""

    positions: Positions | None = None


async def create(request: web.Request) -> web.Response:
    """A new webhook; the answer is the one place where its secret is shown."""
    wanted = await _body(request, Subscription)
    made = await edge(request).webhooks.create(caller(request), wanted)
    _note(request, "webhook_created", made.row)
    location = {"Location": f"{WEBHOOKS}/{made.row.webhook_id}"}
    return answer(_shown(made), status=201, headers=location)


async def index(request: web.Request) -> web.Response:
    """The tenant's webhooks, the oldest first."""
    own, query = edge(request), Parameters(request, ("cursor", "limit"))
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    after = query.given("cursor")
    if after is not None and not _WEBHOOK_ID.fullmatch(after):
        raise wrong("cursor must be that of the page before", "cursor")
    rows = await own.webhooks.page(caller(request).tenant, after or "", limit + 1)
    following = rows[limit - 1].webhook_id if len(rows) > limit else None
    return answer({"items": [document(row) for row in rows[:limit]], "next_cursor": following})


async def show(request: web.Request) -> web.Response:
    """One webhook."""
    Parameters(request, ())
    row = await edge(request).webhooks.webhook(caller(request).tenant, _id(request))
    return answer(document(row))


async def change(request: web.Request) -> web.Response:
    """What the body names is different from now on."""
    wanted = await _body(request, WebhookChange)
    row = await edge(request).webhooks.change(caller(request), _id(request), wanted)
    _note(request, "webhook_changed", row)
    return answer(document(row))


async def delete(request: web.Request) -> web.Response:
    """Nothing is sent there any more, and what was is forgotten."""
    Parameters(request, ())
    row = await edge(request).webhooks.delete(caller(request), _id(request))
    _note(request, "webhook_deleted", row)
    return answer({"webhook_id": row.webhook_id, "deleted": True})


async def rotate(request: web.Request) -> web.Response:
    """Another secret; the answer is the one place where it is shown."""
    wanted = await _body(request, SecretRotation)
    made = await edge(request).webhooks.rotate(caller(request), _id(request), wanted.overlap)
    _note(request, "webhook_rotated", made.row)
    return answer(_shown(made))


async def deliveries(request: web.Request) -> web.Response:
    """A page of the deliveries, the latest first; ``?state=`` keeps some of them."""
    own, query = edge(request), Parameters(request, ("cursor", "limit"), repeated=("state",))
    states = [DeliveryState(text) for text in query.choices("state", _STATES)]
    limit, before = _place(request, query)
    found = await own.webhooks.deliveries(
        caller(request).tenant,
        _id(request),
        states or list(DeliveryState),
        before=before,
        limit=limit + 1,
    )
    following = str(found[limit - 1].position) if len(found) > limit else None
    return answer({"items": [*map(_delivery, found[:limit])], "next_cursor": following})


async def attempts(request: web.Request) -> web.Response:
    """A page of the attempts, the latest first."""
    own, query = edge(request), Parameters(request, ("cursor", "limit"))
    limit, before = _place(request, query)
    found = await own.webhooks.attempts(
        caller(request).tenant, _id(request), before=before, limit=limit + 1
    )
    following = str(found[limit - 1].attempt) if len(found) > limit else None
    return answer({"items": [*map(_attempt, found[:limit])], "next_cursor": following})


async def replay(request: web.Request) -> web.Response:
    """Have dead deliveries made again."""
    wanted = await _body(request, Replay)
    own, who = edge(request), caller(request)
    replayed = await own.webhooks.replay(who, _id(request), wanted.positions)
    return answer({"replayed": replayed})


def document(row: WebhookRow) -> dict[str, Any]:
    """A webhook as it is listed."""
    return {
        "webhook_id": row.webhook_id,
        "url": row.url,
        "description": row.description,
        **{name: list(getattr(row.filter, name)) for name in Filter.model_fields},
        "enabled": row.disabled is None,
        "disabled": row.disabled,
        "disabled_at": _moment(row.disabled_at),
        "failing_since": _moment(row.failing_since),
        "created_at": _moment(row.created_at),
        "created_by": row.created_by,
        "changed_at": _moment(row.changed_at),
        "rotated_at": _moment(row.rotated_at),
        "previous_until": _moment(row.previous_until),
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    due = one.due if one.state == DeliveryState.WAITING.value else None
    return {
        "position": one.position,
        "job_id": one.job_id,
        "version": one.version,
        "event": one.event,
        "state": one.state,
        "attempts": one.attempts,
        "due": _moment(due),
        "queued_at": _moment(one.queued_at),
        "ended_at": _moment(one.ended_at),
        "status": one.status,
        "error": one.error,
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    shown = asdict(one)
    del shown["attempt"], shown["webhook_id"]
    return {**shown, "at": _moment(one.at)}


def _shown(made: NewWebhook) -> dict[str, Any]:
    return {**document(made.row), "secret": made.secret}


def _note(request: web.Request, event: str, row: WebhookRow) -> None:
    """Where a tenant's events go is changed by these alone, so the log has who did it."""
    _log.info(
        event,
        request_id=request[REQUEST_ID],
        tenant=row.tenant,
        actor=caller(request).actor,
        webhook_id=row.webhook_id,
    )


def _id(request: web.Request) -> str:
    return request.match_info["webhook_id"]


def _place(request: web.Request, query: Parameters) -> tuple[int, int | None]:
    limits = edge(request).limits
    limit = query.integer("limit", 1, limits.max_page) or limits.page
    return limit, query.integer("cursor", 1, MAX_ID)


async def _body(request: web.Request, model: type[_Body]) -> _Body:
    Parameters(request, ())
    limits = edge(request).limits
    return checked(model, await bodies.read_optional(request, limits), limits.json_depth)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
