"""Limits that jobs share, as they are stored: what each lets through, and who has what of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from domain.buckets import Shared, SharedLimit, changed
from domain.caps import Bucket
from domain.options import NO_CAPS, Caps

BUCKETS = ("provider:bell", "queue:model")
"""Some jobs draw from none, some from the queue, and some from both."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a job has of a bucket: ``calls`` under way, items of fast work ``ahead`` of workers.

    ``waits``: it wants more, and was ``served`` and has ``looked`` for it last at those seconds;
    ``part`` is its part of the tokens.
    """

    job_id: str
    calls: int = 0
    ahead: int = 0
    waits: bool = False
    part: Bucket = field(default_factory=Bucket)
    served: int = 0
    looked: int = 0


@dataclass(slots=True)
class SharedRow:
    """A bucket. Nobody has set it at first."""

    name: str
    caps: Caps = NO_CAPS
    bucket: Bucket = field(default_factory=Bucket)
    uses: dict[str, Use] = field(default_factory=dict)

    def stands(self, uses: Iterable[Use]) -> Shared:
        """As it stands with what those have under way."""
        calls, ahead = 0, 0
        for use in uses:
            calls, ahead = calls + use.calls, ahead + use.ahead
        return Shared(self.name, self.caps, self.bucket, calls, ahead)

    def change(self, wanted: SharedLimit, now: datetime) -> None:
        """Other limits from now on; the tokens of another rate say nothing about this one."""
        caps = changed(self.caps, wanted)
        if caps.rate != self.caps.rate:
            self.bucket = Bucket(tokens=0.0, at=now)
        self.caps = caps
