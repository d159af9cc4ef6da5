"""Subscriptions: a tenant's webhooks, for those who administer it.

A secret is made here and shown once, when it is made or rotated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from domain.errors import InvalidCommand, QuotaExceeded, WebhookNotFound, WrongState
from domain.ports import Clock, Ids
from domain.webhooks import MAX_WAITING, DeliveryState, Filter, Subscription, WebhookChange
from streams.callers import Caller
from streams.stores import webhook_deliveries as deliveries
from streams.stores import webhooks as store
from streams.stores.database import Database
from streams.stores.webhook_deliveries import Attempt, Delivery
from streams.stores.webhooks import WebhookRow
from streams.webhooks import signing
from streams.webhooks.addresses import Addresses

MAX_WEBHOOKS: Final = 100
"""Of a tenant."""
MAX_OVERLAP: Final = 30 * 86400.0
LEFT_FREE: Final = 10
"""A replay leaves one place of so many to what happens next: one event more than may wait would
have all of it given up again."""

Draw = Callable[[int], bytes]
"""So many random bytes."""


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook and its secret, which is never shown again."""

    row: WebhookRow
    secret: str


class Webhooks:
    """Each call sees one tenant's webhooks, and raises WebhookNotFound for any other."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        draw: Draw,
        addresses: Addresses,
        most_waiting: int = MAX_WAITING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._draw = draw
        self._addresses = addresses
        self._replayed = most_waiting - most_waiting // LEFT_FREE

    async def create(self, caller: Caller, wanted: Subscription) -> NewWebhook:
        """A webhook that gets what happens from now on."""
        self._addresses.check(wanted.url)
        secret = self._draw(signing.SECRET_BYTES)
        row = WebhookRow(
            webhook_id=self._ids.new().replace("-", ""),
            tenant=caller.tenant,
            url=wanted.url,
            description=wanted.description,
            filter=wanted,
            since=0,
            created_at=self._now(),
            created_by=caller.actor,
        )

        def created(connection: Connection) -> WebhookRow:
            if store.count(connection, caller.tenant) >= MAX_WEBHOOKS:
                raise QuotaExceeded(
                    f"a tenant may have {MAX_WEBHOOKS} webhooks; delete one that nobody needs"
                )
            return store.create(connection, row, secret)

        return NewWebhook(await self._database.write(created), signing.shown(secret))

    async def page(self, tenant: str, after: str, limit: int) -> list[WebhookRow]:
        """At most ``limit`` webhooks behind the one with the id ``after``."""
        return await self._database.read(lambda found: store.page(found, tenant, after, limit))

    async def webhook(self, tenant: str, webhook_id: str) -> WebhookRow:
        """One webhook."""
        return await self._database.read(lambda found: _known(found, tenant, webhook_id))

    async def change(self, caller: Caller, webhook_id: str, wanted: WebhookChange) -> WebhookRow:
        """Another address, other events; enabled again, it gets what happens from then on."""
        if wanted.url is not None:
            self._addresses.check(wanted.url)
        now = self._now()

        def changed(connection: Connection) -> WebhookRow:
            # What is said of a filter is merged into what is there: held, or of two at once one
            # would be lost.
            row = _known(connection, caller.tenant, webhook_id, held=True)
            store.change(connection, webhook_id, _values(connection, row, wanted, now))
            if wanted.enabled is (row.disabled is not None):
                # Off, or on again: what was being queued as it went off came after that.
                deliveries.give_up(connection, webhook_id, "the webhook was disabled", now)
            return _known(connection, caller.tenant, webhook_id)

        return await self._database.write(changed)

    async def rotate(self, caller: Caller, webhook_id: str, overlap: float) -> NewWebhook:
        """Another secret; the one of now signs as well for ``overlap`` seconds."""
        if not 0 <= overlap <= MAX_OVERLAP:
            raise InvalidCommand(
                f"the old secret can go on for 0 to {MAX_OVERLAP:.0f} seconds", pointer="/overlap"
            )
        now, secret = self._now(), self._draw(signing.SECRET_BYTES)

        def rotated(connection: Connection) -> WebhookRow:
            row = _known(connection, caller.tenant, webhook_id)
            store.rotate(connection, row, secret, now, now + overlap)
            return _known(connection, caller.tenant, webhook_id)

        return NewWebhook(await self._database.write(rotated), signing.shown(secret))

    async def delete(self, caller: Caller, webhook_id: str) -> WebhookRow:
        """Nothing is sent to it any more, and what was is forgotten."""

        def deleted(connection: Connection) -> WebhookRow:
            row = _known(connection, caller.tenant, webhook_id)
            store.delete(connection, webhook_id, self._now())
            return row

        return await self._database.write(deleted)

    async def deliveries(
        self,
        tenant: str,
        webhook_id: str,
        states: Collection[DeliveryState],
        *,
        before: int | None,
        limit: int,
    ) -> list[Delivery]:
        """Deliveries in some of the states, the latest first, before a place in the log."""

        def found(connection: Connection) -> list[Delivery]:
            _known(connection, tenant, webhook_id)
            return deliveries.page(connection, webhook_id, states, before, limit)

        return await self._database.read(found)

    async def attempts(
        self, tenant: str, webhook_id: str, *, before: int | None, limit: int
    ) -> list[Attempt]:
        """Attempts, the latest first, before the one of that number."""

        def found(connection: Connection) -> list[Attempt]:
            _known(connection, tenant, webhook_id)
            return deliveries.attempts(connection, webhook_id, before, limit)

        return await self._database.read(found)

    async def replay(
        self, caller: Caller, webhook_id: str, positions: Collection[int] | None
    ) -> int:
        """Have dead deliveries made again, all of them or those named; returns how many.

        Those for which there is room, the oldest first; for the rest it is asked again, once
        some of these were delivered.
        """

        def replayed(connection: Connection) -> int:
            row = _known(connection, caller.tenant, webhook_id)
            if row.disabled is not None:
                raise WrongState("the webhook is disabled; enable it first, then replay")
            most = self._replayed
            return deliveries.replay(connection, webhook_id, positions, self._now(), most)

        return await self._database.write(replayed)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _known(
    connection: Connection, tenant: str, webhook_id: str, *, held: bool = False
) -> WebhookRow:
    row = store.find(connection, tenant, webhook_id, held=held)
    if row is None:
        raise WebhookNotFound(
            f"there is no webhook {webhook_id}; `countermand webhook list` lists them"
        )
    return row


def _values(
    connection: Connection, row: WebhookRow, wanted: WebhookChange, now: float
) -> dict[str, Any]:
    """The columns that a change gives other values."""
    values: dict[str, Any] = {"changed_at": now}
    said = {name: value for name, value in wanted.model_dump().items() if value is not None}
    values |= {name: said[name] for name in ("url", "description") if name in said}
    filters = {name: said[name] for name in Filter.model_fields if name in said}
    if values.get("url", row.url) != row.url:
        # What failed was the address of before.
        values["failing_since"] = None
    if filters:
        values["filter"] = row.filter.model_copy(update=filters)
    if wanted.enabled is False and row.disabled is None:
        values |= {"disabled": "by_request", "disabled_at": now}
    if wanted.enabled and row.disabled is not None:
        since = deliveries.last(connection)
        values |= {"disabled": None, "disabled_at": None, "failing_since": None, "since": since}
    return values
