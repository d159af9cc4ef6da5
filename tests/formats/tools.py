"""Environments of reference tools, too heavy for the lock: made on demand, kept in build/tools."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / "build" / "tools"
_MADE = "complete"


def environment(name: str) -> Path:
    """The Python of an environment that has what is listed in ``NAME.txt``.

    It is made at first use, which takes minutes, and again when the list has changed.
    """
    wanted = HERE / f"{name}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    folder = KEPT / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / _MADE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        run(uv, "venv", "--python", sys.executable, folder, limit=120)
        run(uv, "pip", "install", "--python", python, "-r", wanted, limit=3000)
        (folder / _MADE).touch()
    return python


def run(*command: object, limit: float = 1200, environ: dict[str, str] | None = None) -> str:
    """What a command prints; fails with what it complains of."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        env=environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
