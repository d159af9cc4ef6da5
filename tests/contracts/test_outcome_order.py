"""Outcomes are told in the order of their commits, whatever the clocks of the workers say."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection

from domain.outcomes import Done
from domain.ranges import Ranges
from streams.stores import ledger
from streams.stores.database import Database
from streams.stores.outcomes import OutcomeRow, insert_outcomes, summary_of, unrecorded

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
