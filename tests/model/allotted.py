"""What must hold of limits that jobs share: read from the events of all jobs in their order.

Nothing begins above a limit that holds then, and what is noted of each job is what it has: of
one that has ended, nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from domain.events import Cause, ChunksClosed, ChunksPlanned, PlannedChunk
from domain.options import NO_CAPS, Caps
from tests.model.buckets import BUCKETS, SharedRow
from tests.model.loading import MAPPER
from tests.model.tables import JobTables, Store

_CLOSE = 1e-5


@dataclass(slots=True)
class _Limit:
    """A bucket as it should be."""

    caps: Caps = NO_CAPS
    tokens: float = 0.0
    at: datetime | None = None

    def change(self, caps: Caps, at: datetime) -> None:
        """It begins anew with another rate."""
        if caps.rate != self.caps.rate:
            self.tokens, self.at = 0.0, at
        self.caps = caps

    def take(self, begun: list[PlannedChunk], at: datetime) -> None:
        """No more begins than there are tokens, but for the rest of what may not be cut."""
        if self.caps.rate is None:
            return
        assert self.at is not None
        passed = (at - self.at).total_seconds()
        level = min(self.tokens + self.caps.rate * passed, max(self.caps.rate, 1.0))
        items = sum(len(chunk.items) for chunk in begun)
        assert items - _uncut(begun) <= level + _CLOSE, f"{items} begin, with {level} tokens"
        self.tokens, self.at = level - items, at


@dataclass(slots=True)
class Allotted:
    """Hears each transaction once; ``_open`` are the items of chunks that count, by job.

    ``full`` counts the plans that have left nothing.
    """

    store: Store
    _heard: int = 0
    _changes: int = 0
    _limits: dict[str, _Limit] = field(default_factory=lambda: {n: _Limit() for n in BUCKETS})
    _open: dict[str, dict[int, int]] = field(default_factory=dict)
    full: int = 0

    def check(self) -> None:
        """Take in what is new, and compare it with what is noted."""
        for number in range(self._heard, len(self.store.commits)):
            self._change(number)
            for job_id, stored in self.store.commits[number]:
                event = MAPPER.to_domain_event(stored)
                if isinstance(event, ChunksPlanned):
                    self._begin(self.store.jobs[job_id], event)
                elif isinstance(event, ChunksClosed):
                    for chunk in event.chunks:
                        self._open[job_id].pop(chunk.chunk, None)
        self._heard = len(self.store.commits)
        self._change(self._heard)
        for tables in self.store.jobs.values():
            for name in tables.draws:
                self._check_noted(tables, self.store.shared[name])

    def _change(self, commits: int) -> None:
        """The limits that were set until then."""
        while self._changes < len(self.store.limited):
            before, at, name, caps = self.store.limited[self._changes]
            if before > commits:
                return
            self._limits[name].change(caps, at)
            self._changes += 1

    def _begin(self, tables: JobTables, event: ChunksPlanned) -> None:
        begun = [c for c in event.chunks if not c.cause.undoing and c.cause is not Cause.COMMIT]
        opened = self._open.setdefault(tables.job_id, {})
        opened |= {chunk.chunk: len(chunk.items) for chunk in begun}
        if not begun:
            return
        for name in tables.draws:
            limit = self._limits[name]
            limit.take(begun, event.at)
            most, calls = limit.caps.concurrency, self._calls(name)
            spare = _uncut(begun) if tables.slow else 0
            assert most is None or calls - spare <= most, f"{calls} calls of {most} at once"
            self.full += calls == most or (limit.caps.rate is not None and limit.tokens < 1)

    def _calls(self, name: str) -> int:
        jobs = [tables for tables in self.store.jobs.values() if name in tables.draws]
        return sum(map(self._calls_of, jobs))

    def _calls_of(self, tables: JobTables) -> int:
        """Items of slow work, chunks of any other."""
        opened = self._open.get(tables.job_id, {})
        return sum(opened.values()) if tables.slow else len(opened)

    def _check_noted(self, tables: JobTables, row: SharedRow) -> None:
        use = row.uses.get(tables.job_id)
        calls = self._calls_of(tables)
        assert (use.calls if use is not None else 0) == calls, "it is not what was noted"
        if tables.status is not None and tables.status.terminal:
            assert use is None, "what has ended holds back what others could have"


def _uncut(begun: list[PlannedChunk]) -> int:
    """How many items more than allowed may begin: a part of a killer is not cut again."""
    last = begun[-1]
    return len(last.items) - 1 if last.cause is Cause.BISECT else 0
