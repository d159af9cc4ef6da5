"""Runs the model in a process of its own.

Hypothesis draws numbers that it finds in the modules that happen to be imported, so a seed
tells the same story only among the same imports: those of ``python -m tests.model``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]


def alone(module: str, *arguments: str, timeout: float = 110) -> str:
    """The standard output of ``python -m module``; raises AssertionError with its errors."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
