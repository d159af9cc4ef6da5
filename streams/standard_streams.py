"""Standard streams: what is said by a process must not decide how it ends."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TextIO


@cache
def end_in_silence() -> None:
    """Have this process end with its own exit code though its output could not be written.

    The interpreter would try once more at its end, and then end with 120, whatever had happened.
    """
    atexit.register(_let_go)


def _let_go() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                lead_nowhere(stream)


def lead_nowhere(stream: TextIO) -> None:
    """Have a standard stream lead nowhere from now on, with what it could not write yet."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
