"""Webhooks as they are stored: their secrets sealed, the deleted ones until they are empty."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import structlog
from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from domain.errors import DataDirectoryUnusable
from domain.webhooks import Disabled, Filter
from streams.stores import sealing
from streams.stores.schema import events
from streams.stores.schema_webhooks import webhooks as table
from streams.stores.statements import fixed

log = structlog.get_logger(__name__)

_SECRETS = ("secret", "previous", "algorithm", "previous_algorithm")
_SHOWN = [column for column in table.columns if column.name not in _SECRETS]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """A webhook; times are seconds since the epoch, ``since`` is a place in the log."""

    webhook_id: str
    tenant: str
    url: str
    description: str
    filter: Filter
    since: int
    created_at: float
    created_by: str
    changed_at: float | None = None
    rotated_at: float | None = None
    previous_until: float | None = None
    failing_since: float | None = None
    disabled: Disabled | None = None
    disabled_at: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes, and the secrets that sign it: the newest first."""

    row: WebhookRow
    secrets: tuple[bytes, ...] = field(repr=False)


def create(connection: Connection, row: WebhookRow, secret: bytes) -> WebhookRow:
    """Store a new webhook, which gets what is stored from now on; returns it as it is."""
    algorithm, sealed = sealing.sealed_secret(connection, _place(row.webhook_id), secret)
    since = connection.scalar(select(func.max(events.c.id))) or 0
    made = replace(row, since=since)
    values = {column.name: getattr(made, column.name, None) for column in table.columns}
    stored = {"filter": _written(row.filter), "algorithm": algorithm, "secret": sealed}
    connection.execute(insert(table).values(values | stored))
    return made


def count(connection: Connection, tenant: str) -> int:
    """How many webhooks a tenant has."""
    return connection.scalar(select(func.count()).where(_lives(), table.c.tenant == tenant)) or 0


def find(
    connection: Connection, tenant: str, webhook_id: str, *, held: bool = False
) -> WebhookRow | None:
    """A webhook of the tenant; ``held``: nobody else changes it in this transaction."""
    mine = (table.c.webhook_id == webhook_id, table.c.tenant == tenant)
    return _first(connection, _lives(), *mine, held=held)


def page(connection: Connection, tenant: str, after: str, limit: int) -> list[WebhookRow]:
    """A tenant's webhooks behind an id, the oldest first."""
    found = connection.execute(
        select(*_SHOWN)
        .where(_lives(), table.c.tenant == tenant, table.c.webhook_id > after)
        .order_by(table.c.webhook_id)
        .limit(limit)
    )
    return [_row(one) for one in found.mappings()]


def change(connection: Connection, webhook_id: str, values: Mapping[str, Any]) -> None:
    """Other values for columns of a webhook."""
    written = dict(values)
    if "filter" in written:
        written["filter"] = _written(written["filter"])
    connection.execute(update(table).where(table.c.webhook_id == webhook_id).values(written))


def rotate(
    connection: Connection, row: WebhookRow, secret: bytes, now: float, until: float
) -> None:
    """Another secret, which signs first; the one of before signs as well until then."""
    algorithm, sealed = sealing.sealed_secret(connection, _place(row.webhook_id), secret)
    connection.execute(
        update(table)
        .where(table.c.webhook_id == row.webhook_id)
        .values(
            previous=table.c.secret,
            previous_algorithm=table.c.algorithm,
            previous_until=until,
            secret=sealed,
            algorithm=algorithm,
            rotated_at=now,
        )
    )


def target(connection: Connection, webhook_id: str, now: float) -> Target | None:
    """Where the messages of a webhook go now, if it is enabled.

    Raises DataDirectoryUnusable when its secret cannot be opened. The one before is left out
    then: who has rotated a secret that was lost need not wait until its overlap is over.
    """
    found = connection.execute(
        select(table).where(_sends(), table.c.webhook_id == webhook_id)
    ).mappings()
    stored = found.first()
    if stored is None:
        return None
    secrets = [_opened(connection, webhook_id, stored["algorithm"], stored["secret"])]
    if stored["previous"] is not None and (stored["previous_until"] or 0.0) > now:
        former = stored["previous_algorithm"], stored["previous"]
        try:
            secrets.append(_opened(connection, webhook_id, *former))
        except DataDirectoryUnusable as fault:
            log.warning("webhook_former_secret", webhook_id=webhook_id, reason=fault.message)
    return Target(_row(stored), tuple(secrets))


def any_enabled(connection: Connection) -> bool:
    """Whether anybody wants anything."""
    return _ANY_ENABLED.run(connection).first() is not None


def enabled(connection: Connection, tenants: Collection[str]) -> list[WebhookRow]:
    """The webhooks of some tenants that are sent to."""
    found = connection.execute(select(*_SHOWN).where(_sends(), table.c.tenant.in_(tenants)))
    return [_row(one) for one in found.mappings()]


def delivered(connection: Connection, webhook_id: str, asked: str | None) -> None:
    """A receiver is there: whatever failed before counts no more."""
    connection.execute(
        update(table)
        .where(_goes_to(webhook_id, asked), table.c.failing_since.is_not(None))
        .values(failing_since=None)
    )


def failed(
    connection: Connection, webhook_id: str, asked: str | None, now: float, *, anew: bool
) -> float | None:
    """An attempt has failed; returns since when attempts do, without one that did not.

    With ``anew`` what failed before counts no more. None when it goes elsewhere by now.
    """
    mine = _goes_to(webhook_id, asked)
    begins = mine if anew else mine & table.c.failing_since.is_(None)
    connection.execute(update(table).where(begins).values(failing_since=now))
    return connection.scalar(select(table.c.failing_since).where(mine))


def disable(
    connection: Connection, webhook_id: str, why: Disabled, now: float, asked: str | None = None
) -> bool:
    """Nothing is sent to it any more; false when it is disabled already, or goes elsewhere."""
    done = connection.execute(
        update(table)
        .where(_sends(), _goes_to(webhook_id, asked))
        .values(disabled=why, disabled_at=now)
    )
    return done.rowcount == 1


def delete(connection: Connection, webhook_id: str, now: float) -> None:
    """Nobody sees it any more; its secrets are gone."""
    connection.execute(
        update(table)
        .where(table.c.webhook_id == webhook_id)
        .values(deleted_at=now, secret=b"", previous=None, url="")
    )


def deleted(connection: Connection, before: float, limit: int) -> list[str]:
    """Some of the webhooks that were deleted before then."""
    gone = select(table.c.webhook_id).where(table.c.deleted_at < before).limit(limit)
    return list(connection.scalars(gone))


def forget(connection: Connection, webhook_id: str) -> None:
    """Remove one that was deleted."""
    connection.execute(table.delete().where(table.c.webhook_id == webhook_id))


def _lives() -> ColumnElement[bool]:
    return table.c.deleted_at.is_(None)


def _sends() -> ColumnElement[bool]:
    return _lives() & table.c.disabled.is_(None)


def _goes_to(webhook_id: str, asked: str | None) -> ColumnElement[bool]:
    """The webhook, if its address is still the one that was asked; None when none was."""
    mine = table.c.webhook_id == webhook_id
    return mine if asked is None else mine & (table.c.url == asked)


_ANY_ENABLED = fixed(select(table.c.webhook_id).where(_sends()).limit(1))


def _first(
    connection: Connection, *conditions: ColumnElement[bool], held: bool
) -> WebhookRow | None:
    wanted = select(*_SHOWN).where(*conditions)
    if held:
        wanted = wanted.with_for_update()
    found = connection.execute(wanted).mappings().first()
    return None if found is None else _row(found)


def _row(stored: Mapping[Any, Any]) -> WebhookRow:
    names = WebhookRow.__dataclass_fields__
    row = {name: stored[name] for name in names}
    return WebhookRow(**{**row, "filter": _read(stored["filter"])})


def _written(wanted: Filter) -> str:
    return Filter(**{name: getattr(wanted, name) for name in Filter.model_fields}).model_dump_json()


def _read(text: str) -> Filter:
    """As it was stored: what another release knows, or does not know yet, is no reason to stop."""
    document = orjson.loads(text)
    lists: dict[str, Any] = {name: tuple(document.get(name, ())) for name in Filter.model_fields}
    return Filter.model_construct(None, **lists)


def _opened(connection: Connection, webhook_id: str, algorithm: str, stored: bytes) -> bytes:
    return sealing.opened_secret(connection, _place(webhook_id), algorithm, bytes(stored))


def _place(webhook_id: str) -> str:
    return f"webhook/{webhook_id}"
