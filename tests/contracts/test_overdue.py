"""Overdue chunks: which of them a sweep is told of."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Connection, false, insert, update

from domain.events import Cause
from domain.planning import MAX_STARTS
from streams.stores import overdue as overdue_store
from streams.stores.database import Database
from streams.stores.overdue import FIRST, Overdue, overdue, still_late, waiting_behind
from streams.stores.schema import chunks, job_control, outcomes

KINDS = list(itertools.product(Cause, (None, 0), range(MAX_STARTS + 2)))
"""Why a chunk was planned, of which, and how often it was started."""


def store_job(connection: Connection, job_id: str) -> None:
    connection.execute(
        insert(job_control).values(
            job_id=job_id,
            tenant="local",
            epoch=1,
            version=1,
            open=True,
            operation="stock.create",
            actor="ada",
            params="{}",
        )
    )
    row = {"job_id": job_id, "generation": 0, "items": "[[0, 1]]", "epoch": 1, "attempt": 1}
    row |= {"claim_by": 0.0, "open": True}
    planned = [
        row | {"chunk": number, "cause": cause.value, "parent": parent, "starts": starts}
        for number, (cause, parent, starts) in enumerate(KINDS)
    ]
    connection.execute(insert(chunks), planned)


def test_of_an_operation_that_is_not_installed_there_are_killers_alone(database: Database) -> None:
    database.write_now(lambda connection: store_job(connection, "job"))
    late = database.read_now(lambda connection: overdue(connection, 1.0))
    assert [(one.cause, one.parent, one.starts) for one in late] == KINDS
    for kinds in ([], ["stock.add"]):
        found = database.read_now(lambda c, kinds=kinds: overdue(c, 1.0, kinds))  # type: ignore[misc]
        assert found == [one for one in late if one.is_killer]
    installed = ["stock.add", "stock.create"]
    assert database.read_now(lambda connection: overdue(connection, 1.0, installed)) == late


def test_those_behind_one_are_those_of_the_next_page(database: Database) -> None:
    for job_id in ("b", "a"):
        database.write_now(lambda connection, job_id=job_id: store_job(connection, job_id))  # type: ignore[misc]
    late = database.read_now(lambda connection: overdue(connection, 1.0))
    paged: list[Overdue] = []
    pages = 0
    while len(paged) == 7 * pages:
        after = paged[-1].place if paged else FIRST
        paged += database.read_now(
            lambda connection, after=after: overdue(connection, 1.0, after=after, limit=7)  # type: ignore[misc]
        )
        pages += 1
    assert paged == late
    assert len(late) == 2 * len(KINDS)


def end(connection: Connection, chunk: int) -> None:
    """Somebody works a chunk after all."""
    row = {"job_id": "job", "chunk": chunk, "sequence": 1, "closing": "done", "attempt": 1}
    row |= {"summary": "{}", "failed": 0, "sha256": "", "ledger": b"", "recorded": False}
    connection.execute(insert(outcomes).values(row))


def test_what_has_ended_while_it_was_waited_for_is_not_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that locks sees what was before it waited, so it is asked once more."""
    database.write_now(lambda connection: store_job(connection, "job"))
    late = database.read_now(lambda connection: overdue(connection, 1.0))
    of_another = update(chunks).where(chunks.c.chunk > late[0].chunk).values(target=0)
    database.write_now(lambda connection: connection.execute(of_another))
    undos = database.write_now(lambda connection: waiting_behind(connection, late[0]))
    done = undos[0].chunk
    database.write_now(lambda connection: end(connection, done))
    # As of a moment before that.
    monkeypatch.setattr(overdue_store, "has_outcome", false)
    still = database.write_now(lambda connection: still_late(connection, late, 1.0))
    assert {one.chunk for one in late} - {one.chunk for one in still} == {done}
    waiting = database.write_now(lambda connection: waiting_behind(connection, late[0]))
    assert [one.chunk for one in waiting] == [one.chunk for one in undos[1:]]
