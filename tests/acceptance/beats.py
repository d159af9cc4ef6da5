"""Beats: what the handlers of the metronome have noted down, and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.client import Client

LATE = 30.0


@dataclass(frozen=True)
class Beat:
    """What a handler has noted down."""

    at: float
    what: str
    n: int


def beats_of(folder: Path) -> list[Beat]:
    journal = folder / "beats"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [Beat(float(at), what, int(n)) for at, what, n in map(str.split, lines)]


def watched(folder: Path, since: float, until: float) -> list[Beat]:
    """The beats of a time, once it is over."""
    late = time.monotonic() + LATE
    while time.time() < until + 0.2:
        assert time.monotonic() < late
        time.sleep(0.05)
    return [beat for beat in beats_of(folder) if since <= beat.at < until]


def begun(client: Client, folder: Path, operation: str, ms: float, items: int = 6000) -> str:
    """A job whose handler has been called a few times, and would be for long."""
    things = [{"n": n, "ms": ms} for n in range(items)]
    key = f"{folder}-{operation}"
    job_id = client.submit(key, operation, things, params={"folder": str(folder)})
    late = time.monotonic() + LATE
    while len(beats_of(folder)) < 100:
        assert time.monotonic() < late, "it does not begin"
        time.sleep(0.02)
    return job_id


def most_at_once(beats: Sequence[Beat], since: float) -> int:
    """The most calls at once after a moment; beats are in the order of their writing."""
    running, most = 0, 0
    for beat in beats:
        running += 1 if beat.what == "begin" else -1
        if beat.at >= since:
            most = max(most, running)
    return most
