"""Unsettled: chunks of a job that a later undo may still put back.

Where a fault kept an undo from its records, or its turn has not come, they stand only for
now; what is in conflict stands for good.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from domain.outcomes import Failed, UndoResult
from streams.stores.targets import stands


class Unsettled:
    """What became of the chunks of a job, as far as undos that follow need to know.

    Of those at hand it is noted: they may share a transaction, and their outcomes are stored
    at its end. Of all others it is looked up.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], bool] = {}

    def note(self, job_id: str, chunk: int, results: Iterable[UndoResult]) -> None:
        """An undo of all that stood of a chunk has come to these results."""
        self._known[job_id, chunk] = any(isinstance(result, Failed) for result in results)

    def has(self, connection: Connection, job_id: str, chunk: int) -> bool:
        """Whether something of a chunk stands that is in no conflict."""
        key = job_id, chunk
        if key not in self._known:
            self._known[key] = stands(connection, job_id, chunk)
        return self._known[key]
