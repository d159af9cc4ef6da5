"""Key files: secrets that an installation makes for itself, once, and only its owner may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def create(path: Path, content: bytes) -> None:
    """All of it or nothing, also after a power failure; the first of two processes wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
