"""What another process does meanwhile: its transactions, and the outcomes of its chunks."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Connection

from domain.outcomes import Done
from streams.stores import ledger as ledgers
from streams.stores import outcomes
from streams.stores.chunks import Claimed
from streams.stores.database import Database
from streams.stores.outcomes import OutcomeRow


def outcome(claimed: Claimed) -> OutcomeRow:
    """Of a chunk all of whose items are done."""
    ledger = ledgers.encode_results(claimed.items, [Done()] * len(claimed.items), duration_ms=1.0)
    closed = outcomes.summary_of(claimed.chunk, ledger, duration_ms=1.0)
    return OutcomeRow(claimed.job_id, closed, ledger, claimed.attempt, 1)


def beside(database: Database, work: Callable[[Connection], object]) -> threading.Thread:
    """Run a transaction of another process, which meets the one that this test is in."""

    def other() -> None:
        with Database(database.url) as own:
            own.write_now(work)

    thread = threading.Thread(target=other)
    thread.start()
    return thread
