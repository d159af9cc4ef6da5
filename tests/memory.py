"""Memory of an engine that works in the process of the tests."""

from __future__ import annotations

from typing import Final

ENOUGH_MIB: Final = 1 << 20
"""Its budget: a process that has run thousands of tests holds more than a worker should."""
