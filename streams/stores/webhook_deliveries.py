"""Deliveries: which events are on the way to which webhooks, and what has become of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, text, update

from domain.webhooks import DeliveryState
from streams.stores.decisions import insert_ignore
from streams.stores.schema import events
from streams.stores.schema_webhooks import webhook_attempts as tried
from streams.stores.schema_webhooks import webhook_deliveries as table
from streams.stores.schema_webhooks import webhooks
from streams.stores.statements import fixed

# In the words of the partial index, which a parameter would not match.
_WAITING = text("webhook_deliveries.state = 'waiting'")
_DEAD = table.c.state == DeliveryState.DEAD.value
_LAST = fixed(select(func.max(events.c.id)))


@dataclass(frozen=True, slots=True)
class Stored:
    """An event of the log, as far as it stands beside its contents."""

    position: int
    job_id: str
    version: int
    event: str
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on the way to a webhook; times are seconds since the epoch.

    ``attempts`` were made in all, ``tries`` since it was queued or replayed.
    """

    webhook_id: str
    position: int
    job_id: str
    version: int
    event: str
    state: str = DeliveryState.WAITING.value
    attempts: int = 0
    tries: int = 0
    due: float
    queued_at: float
    ended_at: float | None = None
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt: the status of an answer, or why there is none."""

    attempt: int = 0
    webhook_id: str
    position: int
    number: int
    at: float
    seconds: float
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A webhook for which something is due; ``failing`` says that its attempts do."""

    webhook_id: str
    tenant: str
    failing: bool


# -- queued --------------------------------------------------------------------------------


def last(connection: Connection) -> int:
    """The place of the last event in the log."""
    return _LAST.run(connection).scalar() or 0


def stored_after(connection: Connection, position: int, limit: int) -> list[Stored]:
    """Events behind a place in the log, in order."""
    columns = (events.c.id, events.c.job_id, events.c.version, events.c.alias, events.c.tenant)
    rows = connection.execute(
        select(*columns).where(events.c.id > position).order_by(events.c.id).limit(limit)
    )
    return [Stored(*row) for row in rows]


def queue(connection: Connection, found: Sequence[Delivery]) -> None:
    """Have events delivered; those that are queued already are left as they are."""
    if found:
        connection.execute(insert_ignore(connection, table), [asdict(one) for one in found])


def waiting(connection: Connection, webhook_id: str, most: int) -> int:
    """How many deliveries wait for a webhook, counted up to ``most``."""
    some = select(table.c.position).where(table.c.webhook_id == webhook_id, _WAITING).limit(most)
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0


# -- sent -----------------------------------------------------------------------------------


def with_due(connection: Connection, now: float) -> list[Waiting]:
    """The webhooks for which something is due."""
    something = (
        select(table.c.position)
        .where(table.c.webhook_id == webhooks.c.webhook_id, _WAITING, table.c.due <= now)
        .exists()
    )
    rows = connection.execute(
        select(webhooks.c.webhook_id, webhooks.c.tenant, webhooks.c.failing_since)
        .where(webhooks.c.deleted_at.is_(None), webhooks.c.disabled.is_(None), something)
        .order_by(webhooks.c.webhook_id)
    )
    return [Waiting(webhook_id, tenant, since is not None) for webhook_id, tenant, since in rows]


def due(
    connection: Connection, webhook_id: str, now: float, besides: Collection[int], limit: int
) -> list[Delivery]:
    """What is due for a webhook, that which waits longest first, without some of it.

    In the order of the index and no other: what was replayed is due all at once, and would be
    sorted for each few that are sent.
    """
    rows = connection.execute(
        select(table)
        .where(
            table.c.webhook_id == webhook_id,
            _WAITING,
            table.c.due <= now,
            table.c.position.not_in(besides),
        )
        .order_by(table.c.due)
        .limit(limit)
    )
    return [Delivery(**row) for row in rows.mappings()]


def note(connection: Connection, delivery: Delivery, attempt: Attempt) -> bool:
    """What has become of an attempt; false when somebody else has made it as well."""
    seen = (table.c.attempts == attempt.number - 1, _WAITING, _is(delivery))
    done = connection.execute(
        update(table)
        .where(*seen)
        .values(
            state=delivery.state,
            attempts=attempt.number,
            tries=delivery.tries,
            due=delivery.due,
            ended_at=delivery.ended_at,
            status=attempt.status,
            error=attempt.error,
        )
    )
    if done.rowcount != 1:
        return False
    values = asdict(attempt)
    del values["attempt"]
    connection.execute(insert(tried).values(values))
    return True


def give_up(connection: Connection, webhook_id: str, why: str, now: float) -> int:
    """What waits for a webhook is dead; returns how much that is."""
    done = connection.execute(
        update(table)
        .where(table.c.webhook_id == webhook_id, _WAITING)
        .values(state=DeliveryState.DEAD.value, ended_at=now, error=why)
    )
    return done.rowcount


def replay(
    connection: Connection,
    webhook_id: str,
    positions: Collection[int] | None,
    now: float,
    most: int,
) -> int:
    """Have dead deliveries wait again, all of them or some; returns how many.

    The oldest come first, and no more than bring what waits to ``most``.
    """
    room = most - waiting(connection, webhook_id, most)
    if room <= 0:
        return 0
    wanted = [table.c.webhook_id == webhook_id, _DEAD]
    if positions is not None:
        wanted.append(table.c.position.in_(positions))
    # Up to a place: a list PostgreSQL would, without statistics, look through for each one.
    dead = select(table.c.position).where(*wanted).order_by(table.c.position)
    end = connection.scalar(dead.offset(room).limit(1))
    if end is not None:
        wanted.append(table.c.position < end)
    done = connection.execute(
        update(table)
        .where(*wanted)
        .values(state=DeliveryState.WAITING.value, tries=0, due=now, ended_at=None)
    )
    return done.rowcount


# -- looked at --------------------------------------------------------------------------------


def page(
    connection: Connection, webhook_id: str, states: Collection[str], before: int | None, limit: int
) -> list[Delivery]:
    """Deliveries in some of the states, the latest first, before a place in the log."""
    wanted = [table.c.webhook_id == webhook_id, table.c.state.in_(states)]
    if before is not None:
        wanted.append(table.c.position < before)
    rows = connection.execute(
        select(table).where(*wanted).order_by(table.c.position.desc()).limit(limit)
    )
    return [Delivery(**row) for row in rows.mappings()]


def attempts(
    connection: Connection, webhook_id: str, before: int | None, limit: int
) -> list[Attempt]:
    """Attempts, the latest first, before the one of that number."""
    wanted = [tried.c.webhook_id == webhook_id]
    if before is not None:
        wanted.append(tried.c.attempt < before)
    rows = connection.execute(
        select(tried).where(*wanted).order_by(tried.c.attempt.desc()).limit(limit)
    )
    return [Attempt(**row) for row in rows.mappings()]


def tried_before(connection: Connection, webhook_id: str) -> float | None:
    """When the attempt before the latest one at a webhook was made."""
    latest = select(tried.c.at).where(tried.c.webhook_id == webhook_id)
    return connection.scalar(latest.order_by(tried.c.attempt.desc()).offset(1).limit(1))


# -- removed ------------------------------------------------------------------------------------


def clean(connection: Connection, *, delivered: float, dead: float, limit: int) -> int:
    """Remove some of what ended before then, and attempts of before that; returns how much."""
    for_state = {DeliveryState.DELIVERED: delivered, DeliveryState.DEAD: dead}
    removed = 0
    for state, until in for_state.items():
        old = (
            select(table.c.webhook_id, table.c.position)
            .where(table.c.state == state.value, table.c.ended_at < until)
            .limit(limit)
        )
        for webhook_id, position in connection.execute(old).all():
            one = (table.c.webhook_id == webhook_id, table.c.position == position)
            removed += connection.execute(delete(table).where(*one)).rowcount
    oldest = select(tried.c.attempt).where(tried.c.at < delivered).limit(limit)
    removed += connection.execute(
        delete(tried).where(tried.c.attempt.in_(oldest.scalar_subquery()))
    ).rowcount
    return removed


def clear(connection: Connection, webhook_id: str, limit: int) -> int:
    """Remove some of what a webhook has; returns how much."""
    some = select(table.c.position).where(table.c.webhook_id == webhook_id).limit(limit)
    mine = table.c.webhook_id == webhook_id
    removed = connection.execute(
        delete(table).where(mine, table.c.position.in_(some.scalar_subquery()))
    ).rowcount
    few = select(tried.c.attempt).where(tried.c.webhook_id == webhook_id).limit(limit)
    removed += connection.execute(
        delete(tried).where(tried.c.attempt.in_(few.scalar_subquery()))
    ).rowcount
    return removed


def _is(delivery: Delivery) -> ColumnElement[bool]:
    one = table.c.webhook_id == delivery.webhook_id
    return one & (table.c.position == delivery.position)
