"""Tickets of live streams: each lets one request in, once and soon. Digests are what is stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, select

from streams.stores.schema_callers import stream_tickets as tickets
from streams.stores.statements import fixed, insertion

_COLUMNS = [column.name for column in tickets.columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRow:
    """A ticket and whose it is; times are seconds since the epoch, permissions by spaces.

    ``key_id`` and ``key_digest`` are those of the API key that it was asked for with.
    """

    ticket: bytes = field(repr=False)
    job_id: str
    tenant: str
    actor: str
    permissions: str
    ends: float
    proof_ends: float | None = None
    key_id: str = ""
    key_digest: bytes = field(default=b"", repr=False)


_INSERT = insertion(tickets, *_COLUMNS)
_TAKE = fixed(
    delete(tickets)
    .where(
        tickets.c.ticket == bindparam("ticket"),
        tickets.c.job_id == bindparam("job_id"),
        tickets.c.ends > bindparam("now"),
    )
    .returning(*tickets.columns)
)
_OVER = select(tickets.c.ticket).where(tickets.c.ends <= bindparam("now"))
_REMOVE = fixed(delete(tickets).where(tickets.c.ticket.in_(_OVER.limit(bindparam("most")))))


def insert(connection: Connection, row: TicketRow) -> None:
    """Store a new ticket."""
    _INSERT.run(connection, **{name: getattr(row, name) for name in _COLUMNS})


def take(connection: Connection, ticket: bytes, job_id: str, now: float) -> TicketRow | None:
    """The ticket, which is used up by that; None for one that is none, is over, or was used."""
    found = _TAKE.run(connection, ticket=ticket, job_id=job_id, now=now).first()
    if found is None:
        return None
    row = dict(zip(_COLUMNS, found, strict=True))
    for name in ("ticket", "key_digest"):
        row[name] = bytes(row[name])
    return TicketRow(**row)


def remove_over(connection: Connection, now: float, *, most: int = 1000) -> int:
    """Forget tickets that nobody has used in time, a number of them; returns how many."""
    return _REMOVE.run(connection, now=now, most=most).count
