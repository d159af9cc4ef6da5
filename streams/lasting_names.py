"""Lasting names: that of a file outlives the machine once its directory is on the disk as well."""

from __future__ import annotations

import os
from pathlib import Path


def keep_names(folder: Path) -> None:
    """Return when the names of all files in a directory are on its disk (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
