"""Tickets: one request, of one job's stream, within half a minute, by whichever process."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from domain.errors import CredentialRefused
from domain.permissions import Permission
from streams.callers import Caller
from streams.identity import Identity, Tickets
from streams.identity.tickets import SECONDS
from streams.stores import tickets as store
from streams.stores.database import Database
from streams.stores.schema_callers import stream_tickets as table

ADA = Identity(
    Caller("acme", "ada", frozenset({Permission.VIEW, Permission.EXPORT})),
    expires_at=1_800_000_600.0,
    key_id="k" * 32,
    digest=b"d" * 32,
)


class Watch:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def tickets(shared_database: Database, watch: Watch) -> Tickets:
    shared_database.write_now(lambda connection: connection.execute(table.delete()))
    return Tickets(shared_database, watch, secrets.token_hex)


async def is_good(tickets: Tickets, text: str, job_id: str = "job-1") -> bool:
    try:
        await tickets.redeem(text, job_id)
    except CredentialRefused:
        return False
    return True


async def test_it_says_whose_it_is_once(tickets: Tickets, shared_database: Database) -> None:
    ticket = await tickets.issue(ADA, "job-1")
    elsewhere = Tickets(shared_database, Watch(), secrets.token_hex)

    assert await elsewhere.redeem(ticket.text, "job-1") == ADA
    assert not await is_good(tickets, ticket.text)


async def test_of_many_at_once_one_is_let_in(tickets: Tickets) -> None:
    ticket = await tickets.issue(ADA, "job-1")
    tried = await asyncio.gather(*(is_good(tickets, ticket.text) for _ in range(8)))
    assert sorted(tried) == [False] * 7 + [True]


async def test_it_is_over_soon(tickets: Tickets, watch: Watch, shared_database: Database) -> None:
    first, second = [await tickets.issue(ADA, "job-1") for _ in range(2)]
    watch.seconds += SECONDS - 1
    assert await is_good(tickets, first.text)
    watch.seconds += 1
    assert not await is_good(tickets, second.text)
    assert SECONDS <= 30

    removed = await shared_database.write(lambda found: store.remove_over(found, watch.seconds))
    left = await shared_database.read(
        lambda found: found.scalar(select(func.count()).select_from(table))
    )
    assert (removed, left) == (1, 0)


async def test_it_is_for_one_stream(tickets: Tickets) -> None:
    ticket = await tickets.issue(ADA, "job-1")
    assert not await is_good(tickets, ticket.text, "job-2")
    assert await is_good(tickets, ticket.text)


@pytest.mark.parametrize("text", ["", "cmt_", "cmt_" + "0" * 64, "cmt_' OR 1=1 --", "x" * 9000])
async def test_nothing_like_one_is_one(tickets: Tickets, text: str) -> None:
    await tickets.issue(ADA, "job-1")
    assert not await is_good(tickets, text)


async def test_what_is_stored_is_none(tickets: Tickets, shared_database: Database) -> None:
    ticket = await tickets.issue(ADA, "job-1")
    rows = shared_database.read_now(lambda connection: connection.execute(select(table)).all())
    assert ticket.text.removeprefix("cmt_") not in repr(rows)
    assert bytes.fromhex(ticket.text.removeprefix("cmt_")) not in [v for row in rows for v in row]
