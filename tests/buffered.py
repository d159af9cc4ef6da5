"""The environment of a process that writes as most do: Python keeps what it could not write."""

from __future__ import annotations

import os


def buffered(**variables: str) -> dict[str, str]:
    """Ours and these, but that its output is buffered."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, **variables}
