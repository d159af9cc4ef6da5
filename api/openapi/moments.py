"""Moments: the names and times that all examples have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

JOB: Final = "0192f7a1-5c1e-7a44-9d2b-0f4d1c1a9b11"
BEGIN: Final = datetime(2026, 11, 25, 1, tzinfo=UTC)
KEY: Final = "f3a1c9d07b5e4c21a6d8e0b4937f12c5"
