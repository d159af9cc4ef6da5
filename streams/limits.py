"""Limits: what the buckets of providers and queues leave to a job, in a coordinator's transaction.

A job to which a bucket leaves nothing more is held for a moment: it wants no places, which
others can use meanwhile, and is looked at again. Jobs of operations that nobody limits cost
nothing but a look at the limits that there are, twice a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from sqlalchemy import Connection

from domain.buckets import LONGEST, Claim, names_of, share_of
from domain.caps import FREE, UNLIMITED, Allowance, Ration
from domain.events import Cause, PlannedChunk
from domain.job import Job
from domain.options import NO_CAPS, Caps
from domain.ports import Clock
from domain.registry import Registry
from streams.stores import buckets, grants
from streams.stores.buckets import BucketRow, Use
from streams.stores.recalled import recall

KNOWN_SECONDS = 0.5
"""How old may be what is known of which buckets there are."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The buckets of a job in one transaction: who has what of them, and what it may have more.

    ``open`` are those that leave it something, each by itself.
    """

    rows: Sequence[BucketRow]
    uses: Sequence[Use]
    own: Mapping[str, Use]
    claims: Mapping[str, Claim] = field(default_factory=dict)
    may: Allowance = UNLIMITED
    open: frozenset[str] = frozenset()


class Limits:
    """The limits of the jobs of one coordinator."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._known: Mapping[str, BucketRow] = {}
        self._looked_at = float("-inf")
        self._held: dict[str, datetime] = {}
        self._drawn: dict[str, _Drawn] = {}

    def caps(self, job: Job) -> Caps:
        """The lowest of each limit that the job shares."""
        return _lowest([self._known[name] for name in self._names(job)])

    def holds(self, job_id: str) -> bool:
        """Whether a bucket has left nothing more to the job a moment ago."""
        until = self._held.get(job_id)
        return until is not None and until > self._clock.now()

    def held_until(self, job_id: str) -> datetime | None:
        """When a job that is held must be looked at again."""
        return self._held.get(job_id)

    def forget(self, job_id: str) -> None:
        """The job is at rest, or driven elsewhere, or what was decided on it was not stored."""
        self._held.pop(job_id, None)
        self._drawn.pop(job_id, None)

    def ration(self, connection: Connection, job: Job) -> Ration:
        """What the job may have now; its buckets are locked until the transaction ends."""
        self._look_up(connection)
        self.forget(job.id)
        names = self._names(job)
        if job.version == 0 or not names:
            return FREE
        rows = buckets.locked(connection, names)
        drawn = self._drawn[job.id] = _drawn(job, rows, buckets.uses(connection, names))
        self._heed(connection, job, drawn)
        if not job.rationed:
            return Ration(UNLIMITED, _lowest(rows))
        drawn = self._drawn[job.id] = self._allowed(connection, job, drawn)
        if not drawn.may:
            self._hold(job, drawn)
        return Ration(drawn.may, _lowest(rows))

    def settle(
        self, connection: Connection, job: Job, planned: Sequence[PlannedChunk]
    ) -> tuple[str, ...]:
        """Take what was planned out of the buckets, and note what the job has of them.

        Returns the jobs whose turn it is then, where this one has left something.
        """
        names = self._names(job)
        if job.version == 0 or not names:
            return ()
        drawn = self._drawn.pop(job.id, None)
        if drawn is None:
            # It was changed along with another one, and plans nothing.
            rows = [self._known[name] for name in names]
            drawn = _drawn(job, rows, buckets.uses(connection, names))
        counted = [len(chunk.items) for chunk in planned if _counts(chunk)]
        told: list[str] = []
        for row in drawn.rows:
            if counted and row.rate is not None:
                left = row.shared(()).bucket.without(row.rate, self._clock.now(), sum(counted))
                buckets.take(connection, row.name, left)
            use, before = self._use(job, row, drawn, sum(counted)), drawn.own.get(row.name)
            if before is not None or use.calls or use.waits:
                buckets.put_use(connection, use)
            if counted or (before is not None and use.calls < before.calls):
                told += self._next(row, use, drawn)
        used_up = sum(counted) >= drawn.may.items or len(counted) >= drawn.may.chunks
        if used_up and job.rationed:
            self._hold(job, drawn)
        return tuple(dict.fromkeys(told))

    def _allowed(self, connection: Connection, job: Job, drawn: _Drawn) -> _Drawn:
        now, slow = self._clock.now(), self._slow(job)
        weights = grants.weights(connection)
        may, claims, is_open = UNLIMITED, {}, set()
        for row in drawn.rows:
            own = drawn.own.get(row.name, Use(row.name, job.id, job.tenant))
            others = self._others(drawn, own)
            claim = claims[row.name] = Claim(
                share=share_of(job.tenant, [use.tenant for use in others], weights),
                bucket=own.bucket,
                calls=own.calls,
                turn=all(own.served <= use.served for use in others),
                jobs=len(others) + 1,
            )
            found = row.shared(drawn.uses).allows(now, claim, waiting=job.unplanned, slow=slow)
            may = may.within(found)
            if found:
                is_open.add(row.name)
        return replace(drawn, may=may, claims=claims, open=frozenset(is_open))

    def _others(self, drawn: _Drawn, own: Use) -> list[Use]:
        """Other jobs that want something of a bucket, and whose coordinators are there."""
        alive = self._now() - 2 * LONGEST
        return [
            use
            for use in drawn.uses
            if (use.name, use.waits) == (own.name, True)
            and use.job_id != own.job_id
            and use.looked >= alive
        ]

    def _next(self, row: BucketRow, own: Use, drawn: _Drawn) -> list[str]:
        """Whose turn it is at a bucket, when it has free calls."""
        if row.concurrency is None:
            return []
        others = self._others(drawn, own)
        calls = own.calls + sum(
            use.calls for use in drawn.uses if use.name == row.name and use.job_id != own.job_id
        )
        if calls >= row.concurrency or not others:
            return []
        return [min(others, key=lambda use: (use.served, use.job_id)).job_id]

    def _hold(self, job: Job, drawn: _Drawn) -> None:
        now = self._clock.now()
        looks = [
            row.shared(()).look_at(now, drawn.claims.get(row.name, Claim()), waiting=job.unplanned)
            for row in drawn.rows
            if row.caps
        ]
        if looks:
            self._held[job.id] = max(looks)

    def _use(self, job: Job, row: BucketRow, drawn: _Drawn, items: int) -> Use:
        """What the job has of a bucket now that so many items more were planned."""
        slow, now = self._slow(job), self._clock.now()
        before = drawn.own.get(row.name, Use(row.name, job.id, job.tenant))
        claim = drawn.claims.get(row.name)
        part, served = before.bucket, before.served
        if claim is not None and row.rate is not None:
            part = claim.without(row.rate, now, items)
        if items or (claim is not None and claim.turn and row.name in drawn.open):
            # Whose turn it was and did not take it, as another bucket may hold it back, lets the
            # others go first.
            served = self._now()
        return Use(
            name=row.name,
            job_id=job.id,
            tenant=job.tenant,
            calls=job.calls.items if slow else job.calls.chunks,
            ahead=0 if slow else job.calls.items,
            waits=job.rationed and bool(job.allowed(now, slow=slow)),
            heeded=row.version,
            tokens=part.tokens,
            at=None if part.at is None else part.at.timestamp(),
            served=served,
            looked=self._now(),
        )

    def _heed(self, connection: Connection, job: Job, drawn: _Drawn) -> None:
        """Call back what has not begun, when a limit was lowered since the job was planned."""
        if not self._slow(job) or not job.calls.items:
            return
        heeded = {name: use.heeded for name, use in drawn.own.items()}
        if any(row.lowered > heeded.get(row.name, 0) for row in drawn.rows):
            recall(connection, job.id, before=job.next_chunk)

    def _names(self, job: Job) -> list[str]:
        """Those of the job's buckets that somebody has set."""
        if not self._known or job.spec.operation not in self._registry:
            return []
        operation = self._registry.get(job.spec.operation)
        return [name for name in names_of(operation) if name in self._known]

    def _slow(self, job: Job) -> bool:
        return self._registry.get(job.spec.operation).waits

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _look_up(self, connection: Connection) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at >= KNOWN_SECONDS:
            self._known, self._looked_at = buckets.known(connection), now


def _drawn(job: Job, rows: Sequence[BucketRow], uses: Sequence[Use]) -> _Drawn:
    return _Drawn(rows, uses, {use.name: use for use in uses if use.job_id == job.id})


def _lowest(rows: Sequence[BucketRow]) -> Caps:
    return reduce(Caps.within, (row.caps for row in rows), NO_CAPS)


def _counts(chunk: PlannedChunk) -> bool:
    return not chunk.cause.undoing and chunk.cause is not Cause.COMMIT
