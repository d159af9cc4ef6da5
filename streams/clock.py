"""The real clock and the real ids."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """Wall and monotonic time of this machine."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class TimeOrderedIds:
    """UUIDs of version 7 (RFC 9562): milliseconds, then random bits."""

    def new(self) -> str:
        """A fresh one."""
        value = (time.time_ns() // 1_000_000) << 80
        value |= int.from_bytes(os.urandom(10), "big")
        value = value & ~(0xF << 76) | (0x7 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        return str(uuid.UUID(int=value))
