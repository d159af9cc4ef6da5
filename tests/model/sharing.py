"""What buckets leave to a job, in a coordinator's transaction: rule 24."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce

from domain.buckets import LONGEST, Claim, Shared, share_of
from domain.caps import FREE, UNLIMITED, Allowance, Ration
from domain.events import Cause, PlannedChunk
from domain.job import Job
from domain.options import NO_CAPS, Caps
from tests.model.buckets import SharedRow, Use
from tests.model.kinds import BEGIN
from tests.model.tables import JobTables, Store


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a job may have, by what it claims of each of its buckets.

    ``open`` are those that leave it something, each by itself.
    """

    ration: Ration = FREE
    claims: Mapping[str, Claim] = field(default_factory=dict)
    open: frozenset[str] = frozenset()


class Sharing:
    """Buckets among the coordinators; whoever plans has those of its job to itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def draw(self, tables: JobTables, job: Job) -> Drawn:
        """What the job may have now."""
        rows = self._rows(tables)
        if not (rows and job.version):
            return Drawn()
        caps = reduce(Caps.within, (row.caps for row in rows), NO_CAPS)
        if not job.rationed:
            return Drawn(Ration(UNLIMITED, caps))
        claims = {row.name: self._claim(row, job) for row in rows}
        found = {row.name: self._allows(tables, job, row, claims[row.name]) for row in rows}
        may = reduce(Allowance.within, found.values(), UNLIMITED)
        return Drawn(Ration(may, caps), claims, frozenset(name for name in found if found[name]))

    def _allows(self, tables: JobTables, job: Job, row: SharedRow, claim: Claim) -> Allowance:
        stands, waiting = self._stands(row, job), job.unplanned
        return stands.allows(self._now(), claim, waiting=waiting, slow=tables.slow)

    def settle(
        self, tables: JobTables, job: Job, drawn: Drawn, planned: Sequence[PlannedChunk]
    ) -> list[str]:
        """Take what was planned, note what the job has; returns the jobs whose turn it is."""
        items = sum(len(chunk.items) for chunk in planned if counts(chunk.cause))
        told: list[str] = []
        for row in self._rows(tables) if job.version else ():
            before = self._own(row, job)
            if items and row.caps.rate is not None:
                self._take(row, row.caps.rate, items)
            use = self._use(tables, job, row, drawn, items)
            self._put(row, use)
            if items or use.calls < before.calls:
                told += self._next(row, job)
        return told

    def _stands(self, row: SharedRow, job: Job) -> Shared:
        """What everybody has of it; ``job`` asks."""
        return row.stands(row.uses.values())

    def _take(self, row: SharedRow, rate: float, items: int) -> None:
        row.bucket = row.bucket.without(rate, self._now(), items)

    def _put(self, row: SharedRow, use: Use) -> None:
        """Nothing is kept of a job that neither has nor wants any."""
        row.uses.pop(use.job_id, None)
        if use.calls or use.waits:
            row.uses[use.job_id] = use

    def _rows(self, tables: JobTables) -> list[SharedRow]:
        return [self._store.shared[name] for name in tables.draws]

    def _own(self, row: SharedRow, job: Job) -> Use:
        return row.uses.get(job.id, Use(job.id))

    def _claim(self, row: SharedRow, job: Job) -> Claim:
        own, others = self._own(row, job), self._others(row, job)
        return Claim(
            share=share_of("local", ["local"] * len(others), {}),
            bucket=own.part,
            calls=own.calls,
            turn=all(own.served <= use.served for use in others),
            jobs=len(others) + 1,
        )

    def _others(self, row: SharedRow, job: Job) -> list[Use]:
        """Other jobs that want something of it, and whose coordinators are there."""
        alive = self._store.now - 2 * LONGEST
        uses = row.uses.values()
        return [u for u in uses if u.waits and u.job_id != job.id and u.looked >= alive]

    def _next(self, row: SharedRow, job: Job) -> list[str]:
        """Whose turn it is, when calls are free."""
        most, others = row.caps.concurrency, self._others(row, job)
        if most is None or not others or row.stands(row.uses.values()).calls >= most:
            return []
        return [min(others, key=lambda use: (use.served, use.job_id)).job_id]

    def _use(self, tables: JobTables, job: Job, row: SharedRow, drawn: Drawn, items: int) -> Use:
        now, slow, claim = self._now(), tables.slow, drawn.claims.get(row.name)
        before = self._own(row, job)
        part, served = before.part, before.served
        if claim is not None and row.caps.rate is not None:
            part = claim.without(row.caps.rate, now, items)
        if items or (claim is not None and claim.turn and row.name in drawn.open):
            # Whose turn it was and did not take it lets the others go first.
            served = self._store.now
        return Use(
            job.id,
            calls=job.calls.items if slow else job.calls.chunks,
            ahead=0 if slow else job.calls.items,
            waits=job.rationed and bool(job.allowed(now, slow=slow)),
            part=part,
            served=served,
            looked=self._store.now,
        )

    def _now(self) -> datetime:
        return BEGIN + timedelta(seconds=self._store.now)


def counts(cause: Cause) -> bool:
    """Whether chunks planned for that are held to limits."""
    return not cause.undoing and cause is not Cause.COMMIT
