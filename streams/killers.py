"""Killers: chunks that were started again and again, and each time their worker died.

Called by the coordinator's sweep. What a slow chunk has finished stays finished; of the
rest, halves are planned anew until the item at fault is alone, which then fails.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from domain.events import Cause
from domain.outcomes import Closing, Failed, ItemStatus, Result
from domain.ranges import Ranges
from streams.stores import ledger as ledgers
from streams.stores import outcomes
from streams.stores.ledger import Ledger
from streams.stores.outcomes import OutcomeRow
from streams.stores.overdue import Overdue, waiting_behind
from streams.stores.targets import targets_of


def close_killer(connection: Connection, killer: Overdue, sequence: int) -> None:
    """Store the outcome of a chunk that is not started again as it is."""
    items, target = outcomes.planned_items(connection, killer.job_id, killer.chunk)
    finished: dict[int, Result] = {}
    if target is not None:
        items = targets_of(connection, killer.job_id, [target])[target].standing(items)
    else:
        done = outcomes.item_results_of(connection, killer.job_id, killer.chunk)
        finished = {result.item: result.result for result in done}
    rest = items - Ranges.of(finished)
    # What is committed as a whole cannot be halved: each of its items may be the one at fault.
    final = len(rest) <= 1 or killer.cause is Cause.COMMIT
    blamed = {position: _died(killer) for position in rest} if final else {}
    ledger = _ledger(killer, finished, blamed)
    closed = outcomes.summary_of(
        killer.chunk,
        ledger,
        duration_ms=0.0,
        closing=Closing.DONE if final else Closing.DIED,
        returned=Ranges() if final else rest,
    )
    behind: list[OutcomeRow] = []
    if killer.cause.undoing and closed.returned:
        behind = _give_way(connection, killer, sequence)
        sequence += len(behind)
    row = OutcomeRow(killer.job_id, closed, ledger, killer.attempt, sequence)
    outcomes.insert_outcomes(connection, [*behind, row])
    outcomes.drop_item_results(connection, killer.job_id, killer.chunk)


def _give_way(connection: Connection, killer: Overdue, sequence: int) -> list[OutcomeRow]:
    """Revoke the undos behind a killer, the last one first: its parts go before them.

    What is returned goes to the head of the queue, so that the last to be recorded is the
    first to be worked again.
    """
    waiting = waiting_behind(connection, killer)
    targets = targets_of(connection, killer.job_id, [chunk.target for chunk in waiting])
    rows: list[OutcomeRow] = []
    for number, chunk in enumerate(reversed(waiting)):
        returned = targets[chunk.target].standing(chunk.items)
        ledger = ledgers.encode_undo({}, restored=ItemStatus.ROLLED_BACK, duration_ms=0.0)
        closed = outcomes.summary_of(
            chunk.chunk, ledger, duration_ms=0.0, closing=Closing.REVOKED, returned=returned
        )
        rows.append(OutcomeRow(killer.job_id, closed, ledger, chunk.attempt, sequence + number))
    return rows


def _died(killer: Overdue) -> Failed:
    times = "once" if killer.starts == 1 else f"{killer.starts} times"
    doing = "committed the job" if killer.cause is Cause.COMMIT else "worked this item"
    again = "undo again" if killer.cause.undoing else "retry"
    return Failed(
        "worker_died",
        f"the worker died {times} while it {doing}; its log says of what: mend that, then {again}",
    )


def _ledger(
    killer: Overdue, finished: Mapping[int, Result], blamed: Mapping[int, Failed]
) -> Ledger:
    if killer.cause.undoing:
        return ledgers.encode_undo(blamed, restored=ItemStatus.ROLLED_BACK, duration_ms=0.0)
    results = {**finished, **blamed}
    positions = Ranges.of(results)
    return ledgers.encode_results(
        positions, [results[position] for position in positions], duration_ms=0.0
    )
