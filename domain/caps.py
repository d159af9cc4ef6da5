"""Caps: how many items of a job may begin now, and when the next ones may. Pure.

A cap of the rate is a bucket of tokens that the aggregate keeps: each planned item takes
one, so whoever decides on the job next, in whichever process, knows what is left. What is
held back is not planned, takes up no place, and is held for attempts after the first one
as well. An undo is not held back.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel

from domain.commands import Adjustment, Cap, Moment
from domain.errors import InvalidCommand
from domain.options import NO_CAPS, Caps
from domain.schedule import MAX_AHEAD

TICK = 0.25
"""Seconds that a job with a cap of its rate waits for more tokens before it plans again."""
BURST_SECONDS = 1.0
"""Tokens of so many seconds are kept for a job that is late; those of longer waits are lost."""
AHEAD_SECONDS = 2.0
"""Items of so many seconds may be with workers; if more were, they would all begin at once when
workers come back. Slow ones take longer than that, and are not counted."""
_EPSILON = 1e-6
NO_END = 1 << 62


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much more of a job may be planned now."""

    items: int = NO_END
    chunks: int = NO_END

    def __bool__(self) -> bool:
        return self.items > 0 and self.chunks > 0

    def within(self, other: Allowance) -> Allowance:
        """The less of both, each."""
        return Allowance(min(self.items, other.items), min(self.chunks, other.chunks))


UNLIMITED = Allowance()


@dataclass(frozen=True, slots=True)
class Calls:
    """How much of a job is with workers."""

    items: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Ration:
    """What a job may have of limits that it shares with others: ``now``, and for how it is cut."""

    now: Allowance = UNLIMITED
    caps: Caps = NO_CAPS


FREE = Ration()


class Bucket(BaseModel):
    """Tokens that were left at a moment; below zero where an entry could not be cut."""

    tokens: float = 0.0
    at: datetime | None = None

    def level(self, rate: float, now: datetime) -> float:
        """The tokens at ``now``; a bucket that nobody has used has those of a tick.

        So has one that was used later than now: the clock was set back, and what is left in it
        would not grow before that moment comes again.
        """
        if self.at is None or (self.at - now).total_seconds() > BURST_SECONDS:
            return least(rate)
        passed = max((now - self.at).total_seconds(), 0.0)
        return min(self.tokens + rate * passed, max(rate * BURST_SECONDS, 1.0))

    def without(self, rate: float, now: datetime, items: int) -> Bucket:
        """The bucket after ``items`` have begun."""
        return Bucket(tokens=self.level(rate, now) - items, at=now)

    def ready_at(self, rate: float, wanted: float) -> datetime | None:
        """When it has so many tokens, or in years; None when it always had."""
        if self.at is None:
            return None
        # A rate may be so small that no calendar has the moment.
        seconds = max(wanted - self.tokens, 0.0) / rate
        return self.at + timedelta(seconds=min(seconds, MAX_AHEAD.total_seconds()))


def least(rate: float) -> float:
    """The tokens for which a plan is worth while."""
    return max(rate * TICK, 1.0)


def wanted_tokens(rate: float, waiting: int) -> float:
    """The tokens with which a job plans that has so many items left to begin."""
    return min(least(rate), max(float(waiting), 1.0))


def allowance(
    caps: Caps,
    bucket: Bucket,
    now: datetime,
    *,
    waiting: int,
    in_flight: Collection[int],
    slow: bool,
) -> Allowance:
    """What the caps allow now; ``in_flight`` has the items of each chunk that is."""
    items, chunks = NO_END, NO_END
    if caps.rate is not None:
        level = bucket.level(caps.rate, now) + _EPSILON
        items = math.floor(level) if level >= wanted_tokens(caps.rate, waiting) else 0
        if not slow:
            items = min(items, max(math.ceil(caps.rate * AHEAD_SECONDS), 2) - sum(in_flight))
    if caps.concurrency is not None and slow:
        items = min(items, caps.concurrency - sum(in_flight))
    elif caps.concurrency is not None:
        chunks = caps.concurrency - len(in_flight)
    return Allowance(max(items, 0), max(chunks, 0))


def adjusted(caps: Caps, command: Adjustment) -> Caps:
    """The caps after a command; raises InvalidCommand for one that says nothing, or both."""
    said = {Cap.RATE: command.rate, Cap.CONCURRENCY: command.concurrency}
    moments = {Moment.START_AT: command.start_at, Moment.DEADLINE: command.deadline}
    for name in command.lift:
        if (said | moments)[name] is not None:
            raise InvalidCommand(
                f"{name} is set and lifted at once; say one of them", pointer="/lift"
            )
    named = any(said.values()) or any(moments.values()) or command.priority is not None
    if not command.lift and not named:
        raise InvalidCommand(
            "nothing is to be changed; say rate, concurrency, start_at, deadline, lift or priority"
        )
    changed = {cap.value: value for cap, value in said.items() if value or cap in command.lift}
    return caps.model_copy(update=changed)
