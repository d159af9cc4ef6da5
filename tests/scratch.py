"""Where tests keep what is gone after them: in memory, if this machine has the room.

A PostgreSQL database is three hundred files, and each of some hundred tests has its own. No test
cuts the power, so none can tell: what a killed process has written is there in either place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import psutil

MEMORY: Final = Path("/dev/shm")
ROOM: Final = 4 << 30
"""Bytes that must be free; all tests together take about a tenth."""


def move_to_memory() -> None:
    """Have temporary files made in memory from now on, also by processes that are started."""
    if "TMPDIR" not in os.environ and _has_room():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # which it has looked for already


def _has_room() -> bool:
    # A container's is often 64 MB.
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        return False
    return int(psutil.virtual_memory().available) >= ROOM
