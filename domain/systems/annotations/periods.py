"""Periods that reports are about: whole buckets, not too many of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.errors import InvalidCommand

HOUR: Final = 3600
DAY: Final = 24 * HOUR
MAX_DAYS: Final = 366
MAX_HOURS: Final = 31 * 24
EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9990, 1, 1, tzinfo=UTC)
USUAL: Final = timedelta(days=7)
"""How long a period is of which only the end is said."""
SHORT: Final = 2 * DAY
"""Up to so many seconds are told by the hour, unless something else is asked for."""


class Bucket(StrEnum):
    """How long a part of a period is; days are those of UTC."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Its length."""
        return HOUR if self is Bucket.HOUR else DAY


@dataclass(frozen=True, slots=True)
class Period:
    """From the beginning of a bucket to the end of one, in seconds since the epoch."""

    start: int
    end: int
    bucket: Bucket

    @property
    def hours(self) -> tuple[int, int]:
        """The first hour since the epoch that is in it, and the one after the last."""
        return self.start // HOUR, self.end // HOUR

    def buckets(self) -> Iterator[int]:
        """The beginning of each bucket."""
        return iter(range(self.start, self.end, self.bucket.seconds))


def period_of(
    since: datetime | None, until: datetime | None, bucket: Bucket | None, now: datetime
) -> Period:
    """The whole buckets that what is asked for touches; raises InvalidCommand for too many."""
    end = until or now
    if not EARLIEST <= end <= LATEST:
        raise InvalidCommand(
            "to must be after 1970-01-01, and 9990-01-01 at the latest", pointer="/to"
        )
    start = since or end - USUAL
    if not EARLIEST <= start < end:
        raise InvalidCommand("from must be after 1970-01-01 and before to", pointer="/from")
    seconds = (end - start).total_seconds()
    chosen = bucket or (Bucket.HOUR if seconds <= SHORT else Bucket.DAY)
    size = chosen.seconds
    first, last = int(start.timestamp()), end.timestamp()
    found = Period(first // size * size, -int(-last // size) * size, chosen)
    most = MAX_HOURS if chosen is Bucket.HOUR else MAX_DAYS
    if (found.end - found.start) // size > most:
        raise InvalidCommand(
            f"a report has {MAX_DAYS} days, or {MAX_HOURS} hours, at most; "
            "ask for a shorter period or for longer buckets",
            pointer="/from",
        )
    return found
