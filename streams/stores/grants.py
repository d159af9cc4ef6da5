"""Grants: which jobs want places for work in flight and which have some, for all coordinators.

A row says what a job's aggregate says, and is written in the transaction that changes it.
Whoever changes one holds the lock of its system, so that what one reads of the others
stands until the commit. The lock comes after control and chunks, on which one may have to
wait for a worker, and before events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Double,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql.expression import ClauseElement

from domain.scheduling import AGEING_SECONDS
from streams.stores.event_order import NOT_FROZEN
from streams.stores.schema import grants, job_control, tenant_weights
from streams.stores.statements import INSERTS, Statement, fixed, run_sql_ahead

_KEYSPACE = 0x67726E74
_LOCK = f"{NOT_FROZEN}, pg_advisory_xact_lock({_KEYSPACE}, hashtext(%s))"


@dataclass(frozen=True, slots=True)
class Grant:
    """A job's places, in dispatches: ``in_flight`` it has, ``most`` more it could use now.

    ``since`` is when it last got one, or began to want. ``offered_at`` is when another
    job's coordinator found room for it; its own takes that back as soon as it looks.
    """

    job_id: str
    system: str
    tenant: str
    priority: int
    since: float
    most: int
    in_flight: int
    offered_at: float | None = None


_COLUMNS = [column.name for column in grants.columns]
_ALL = [grants.c[name] for name in Grant.__slots__]
_SYSTEM: ColumnElement[bool] = grants.c.system == bindparam("of_system")


def _put(dialect: Dialect) -> ClauseElement:
    row = INSERTS[dialect.name](grants).values({name: bindparam(name) for name in _COLUMNS})
    changed = {name: row.excluded[name] for name in _COLUMNS}
    return row.on_conflict_do_update(index_elements=[grants.c.job_id], set_=changed)  # type: ignore[no-any-return]


def _waiting() -> ClauseElement:
    # As a job ages, so do all others: their order stays.
    order = grants.c.since - AGEING_SECONDS * grants.c.priority
    turn = func.row_number().over(partition_by=grants.c.tenant, order_by=(order, grants.c.since))
    fresh = or_(
        grants.c.offered_at.is_(None),
        grants.c.offered_at > bindparam("offered_after", type_=Double),
    )
    ranked = select(*_ALL, turn.label("turn")).where(_SYSTEM, grants.c.most > 0, fresh).subquery()
    return select(*[ranked.c[column.name] for column in _ALL]).where(
        ranked.c.turn <= bindparam("each")
    )


_PUT = Statement(_put)
_FIND = fixed(select(*_ALL).where(grants.c.job_id == bindparam("job")))
_GRANTED = fixed(
    select(*_ALL).where(
        or_(and_(_SYSTEM, grants.c.in_flight > 0), grants.c.job_id == bindparam("job"))
    )
)
_WAITING = fixed(_waiting())
_OFFER = fixed(
    update(grants)
    .where(grants.c.job_id == bindparam("job"))
    .values(offered_at=bindparam("now", type_=Double))
)
_DROP = fixed(delete(grants).where(grants.c.job_id == bindparam("job")))
_SYSTEMS = fixed(select(grants.c.system).distinct().order_by(grants.c.system))
_UNLISTED = fixed(
    select(job_control.c.job_id)
    .where(
        and_(job_control.c.open, job_control.c.job_id > bindparam("after")),
        ~exists().where(grants.c.job_id == job_control.c.job_id),
    )
    .order_by(job_control.c.job_id)
    .limit(bindparam("most"))
)
_WEIGHTS = fixed(select(tenant_weights.c.tenant, tenant_weights.c.weight))


def lock_grants(connection: Connection, system: str) -> None:
    """Have the grants of a system to oneself until the transaction ends.

    A process that is frozen meanwhile loses its session. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        run_sql_ahead(connection, _LOCK, (system,))


def find_grant(connection: Connection, job_id: str) -> Grant | None:
    """A job's row."""
    row = _FIND.ahead(connection, job=job_id).first()
    return None if row is None else Grant(*row)


def granted(connection: Connection, system: str, job_id: str = "") -> list[Grant]:
    """The jobs that have places, and that one if it has a row."""
    return [Grant(*row) for row in _GRANTED.ahead(connection, of_system=system, job=job_id)]


def waiting(
    connection: Connection, system: str, each: int, *, offered_after: float = float("-inf")
) -> list[Grant]:
    """Of each tenant the jobs that come first, ``each`` of them at most.

    Left out are those that were offered a place at ``offered_after`` or before, and whose
    coordinator has not looked.
    """
    rows = _WAITING.ahead(connection, of_system=system, each=each, offered_after=offered_after)
    return [Grant(*row) for row in rows]


def put_grant(connection: Connection, grant: Grant) -> None:
    """Write a job's row."""
    _PUT.send(connection, **asdict(grant))


def offer(connection: Connection, job_ids: Iterable[str], now: float) -> None:
    """Note that there is room for jobs of others."""
    for job_id in job_ids:
        _OFFER.run(connection, job=job_id, now=now)


def drop_grant(connection: Connection, job_id: str) -> None:
    """The job neither wants places nor has any."""
    _DROP.send(connection, job=job_id)


def clear_grants(connection: Connection) -> None:
    """For the only process of an installation, which shares places without the database."""
    connection.execute(delete(grants))


def systems(connection: Connection) -> list[str]:
    """The systems whose jobs want places or have some."""
    return [system for (system,) in _SYSTEMS.run(connection)]


def unlisted(connection: Connection, after: str, most: int) -> list[str]:
    """Jobs that are not at rest and have no row, by id, from behind ``after``.

    Their operation was missing where they were last decided on, or they come from a time
    at which a single process shared the places.
    """
    return [job_id for (job_id,) in _UNLISTED.run(connection, after=after, most=most)]


def weigh(connection: Connection, tenant: str, weight: float) -> None:
    """Give a tenant a share; coordinators go by it within a second."""
    row = INSERTS[connection.dialect.name](tenant_weights).values(tenant=tenant, weight=weight)
    shares = {"weight": row.excluded.weight}
    connection.execute(row.on_conflict_do_update(index_elements=["tenant"], set_=shares))


def weights(connection: Connection) -> dict[str, float]:
    """The shares of tenants that were given one."""
    return dict(_WEIGHTS.run(connection).rows)
