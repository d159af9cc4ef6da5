"""Buckets: limits that all jobs share which call one provider, or work in one queue. Pure.

A bucket has a rate, a concurrency, or both, as the caps of a job have; what it lets through is
shared among the jobs that wait for it: equally between tenants but for their weights, and
equally among the jobs of each. What a job does not take at once stays for the others, so
nobody waits for one that is gone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from domain.caps import (
    AHEAD_SECONDS,
    BURST_SECONDS,
    NO_END,
    TICK,
    Allowance,
    Bucket,
    wanted_tokens,
)
from domain.commands import Cap
from domain.errors import InvalidCommand
from domain.operation import Operation
from domain.options import Caps, Concurrency, Rate
from domain.values import Value

MAX_LIFTED = 10
LOOKS = 8
"""So many jobs that wait for a bucket look at it in each tick; of more, each does less often."""
PLENTY = 0.75
"""With that part of all tokens left, some of those that wait do not take theirs."""
LONGEST = 3.0
"""Seconds after which a job looks again at the latest, as the shares may be others by then."""
_EPSILON = 1e-6


BucketName = Annotated[
    str,
    Field(
        pattern=r"^(provider:[A-Za-z0-9][A-Za-z0-9_.-]{0,79}|queue:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})$"
    ),
]
"""Of a provider, or of a system; whatever a queue's name has had before is taken as well."""


class Scope(StrEnum):
    """What a bucket is for."""

    PROVIDER = "provider"
    QUEUE = "queue"


class SharedLimit(Value):
    """A change of a bucket: what it says from now on, and which limits are lifted."""

    rate: Rate | None = None
    concurrency: Concurrency | None = None
    lift: Annotated[tuple[Cap, ...], Field(max_length=MAX_LIFTED)] = ()


def names_of(operation: Operation) -> tuple[str, ...]:
    """The buckets that an operation draws from, if they are limited."""
    queue = f"{Scope.QUEUE}:{operation.system}"
    return (f"{Scope.PROVIDER}:{operation.provider}", queue) if operation.provider else (queue,)


def changed(caps: Caps, wanted: SharedLimit) -> Caps:
    """The limits of a bucket after a change; raises InvalidCommand for one that says nothing."""
    said = {Cap.RATE: wanted.rate, Cap.CONCURRENCY: wanted.concurrency}
    for name in wanted.lift:
        if said[name] is not None:
            raise InvalidCommand(
                f"{name} is set and lifted at once; say one of them", pointer="/lift"
            )
    if not wanted.lift and not any(said.values()):
        raise InvalidCommand("nothing is to be changed; say rate, concurrency or lift")
    fresh = {cap.value: value for cap, value in said.items() if value or cap in wanted.lift}
    return caps.model_copy(update=fresh)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a job has of a bucket, as one of the ``jobs`` that want something of it.

    ``share`` is its part of what is let through, ``bucket`` its part of the tokens. It is its
    ``turn`` when none of the others was served longer ago.
    """

    share: float = 1.0
    bucket: Bucket = field(default_factory=Bucket)
    calls: int = 0
    turn: bool = True
    jobs: int = 1

    def without(self, rate: float, now: datetime, items: int) -> Bucket:
        """Its part of the tokens after so many items have begun."""
        left = self.bucket.level(rate * self.share, now) - items
        return Bucket(tokens=max(left, 0.0), at=now)


@dataclass(frozen=True, slots=True)
class Shared:
    """A bucket as it stands: its tokens, the calls under way, and those of fast work ahead."""

    name: str
    caps: Caps
    bucket: Bucket
    calls: int = 0
    ahead: int = 0

    def allows(self, now: datetime, claim: Claim, *, waiting: int, slow: bool) -> Allowance:
        """What a job may have of it now that has so many items ``waiting``."""
        items, chunks = NO_END, NO_END
        rate, concurrency = self.caps.rate, self.caps.concurrency
        if rate is not None:
            items = self._tokens(now, rate, claim, waiting)
            if not slow:
                items = min(items, max(math.ceil(rate * AHEAD_SECONDS), 2) - self.ahead)
        if concurrency is not None:
            free = self._free(concurrency, claim)
            items, chunks = (min(items, free), chunks) if slow else (items, free)
        return Allowance(max(items, 0), max(chunks, 0))

    def _tokens(self, now: datetime, rate: float, claim: Claim, waiting: int) -> int:
        """The job's own part of the tokens; of all, when others leave theirs and that is more.

        Of many jobs each may have less than a token of all that there are, for ever: the part
        that it has saved is what brings it on.
        """
        level = self.bucket.level(rate, now)
        own_rate = rate * claim.share
        mine = min(level, claim.bucket.level(own_rate, now))
        if level >= PLENTY * max(rate * BURST_SECONDS, 1.0):
            mine = max(mine, level * claim.share)
        wanted = wanted_tokens(own_rate, waiting)
        return math.floor(max(mine, 1.0) + _EPSILON) if mine + _EPSILON >= wanted else 0

    def _free(self, concurrency: int, claim: Claim) -> int:
        """The calls that a job may begin: those that are free, or as many as it is due."""
        free = max(concurrency - self.calls, 0)
        if claim.share == 1.0:
            return free
        due = math.ceil(concurrency * claim.share) - claim.calls
        return min(free, max(due, 1)) if claim.turn else min(max(free - 1, 0), max(due, 0))

    def look_at(self, now: datetime, claim: Claim, *, waiting: int) -> datetime:
        """When a job looks again to which it leaves nothing more now."""
        tick = timedelta(seconds=TICK * max(claim.jobs / LOOKS, 1.0))
        if self.caps.rate is None:
            return now + tick
        own_rate = self.caps.rate * claim.share
        wanted = wanted_tokens(own_rate, waiting)
        ready = claim.bucket.ready_at(own_rate, wanted) or now
        common = self.bucket.ready_at(self.caps.rate, min(wanted, 1.0)) or now
        return max(now + tick, common, min(ready, now + timedelta(seconds=LONGEST)))

    def holds(self, now: datetime) -> str:
        """In words, what it holds jobs to at the moment; empty when it does not."""
        rate, concurrency = self.caps.rate, self.caps.concurrency
        who = self.name.replace(":", " ")
        if concurrency is not None and self.calls >= concurrency:
            return f"{who} has {self.calls} of {concurrency} calls at once, over all jobs"
        if rate is not None and self.bucket.level(rate, now) < max(rate * BURST_SECONDS, 1.0):
            return f"{who} is held to {rate:g} items a second, over all jobs"
        return ""


def share_of(tenant: str, others: Sequence[str], weights: Mapping[str, float]) -> float:
    """The share of a job in what a bucket lets through.

    ``others`` are the tenants of those jobs that wait for it as well.
    """
    jobs = Counter([tenant, *others])
    total = sum(weights.get(name, 1.0) for name in jobs)
    return weights.get(tenant, 1.0) / total / jobs[tenant]


def possible(operations: Collection[Operation]) -> list[str]:
    """The names of all buckets that there can be."""
    return sorted({name for operation in operations for name in names_of(operation)})
