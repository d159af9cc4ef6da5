"""The process of every kind of server, as the supervisor starts it.

``python -m api.process ROLE LISTENER LOCK READY LIFE``; all that it does is in :mod:`api.serve`.
"""

from __future__ import annotations

import gc
import sys


def main(arguments: list[str]) -> int:
    """Import the engine and run it; returns its exit code."""
    # Importing makes a million objects and hardly any garbage: looking for it again and again
    # takes a fifth of the time, which callers wait for when an engine is replaced.
    gc.disable()
    from api import serve

    gc.enable()
    return serve.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
