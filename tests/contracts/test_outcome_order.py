"""Outcomes are told in the order of their commits, whatever the clocks of the workers say."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection

from domain.outcomes import ClosedChunk, Closing, Done
from domain.ranges import Ranges
from streams.stores import ledger
from streams.stores.database import Database
from streams.stores.outcomes import (
    OutcomeRow,
    in_turn,
    insert_outcomes,
    summary_of,
    unrecorded,
)

HOUR = 3_600_000_000_000


def outcome(chunk: int, sequence: int) -> OutcomeRow:
    made = ledger.encode_results(Ranges.of([chunk]), [Done()], duration_ms=1.0)
    return OutcomeRow("job", summary_of(chunk, made, duration_ms=1.0), made, 1, sequence)


def store(rows: list[OutcomeRow], connection: Connection) -> None:
    insert_outcomes(connection, rows)


@pytest.mark.service("postgresql")
def test_a_worker_whose_clock_is_slow_does_not_come_before_others(migrated_postgres: str) -> None:
    with Database(migrated_postgres) as database:
        for turn, chunks in enumerate(([7, 3], [9], [1])):
            rows = [outcome(chunk, -turn * HOUR) for chunk in chunks]
            database.write_now(partial(store, rows))
        told = database.read_now(lambda connection: unrecorded(connection, "job"))
    assert [closed.chunk for closed in told] == [7, 3, 9, 1]


def test_what_was_done_in_turn_is_told_by_number_and_what_was_not_stays_in_its_place() -> None:
    """Of what is returned the last to be recorded is the first to be worked again."""
    told = [(5, Closing.REVOKED), (2, Closing.DONE), (4, Closing.REVOKED), (1, Closing.DONE)]
    told += [(3, Closing.DIED), (0, Closing.DONE)]
    closed = [ClosedChunk(chunk=chunk, closing=closing) for chunk, closing in told]
    assert [one.chunk for one in in_turn(closed)] == [5, 0, 4, 1, 3, 2]
