"""Golden histories: stored bytes that every later release must still read.

``python -m tests.golden`` adds what is missing for new event kinds and schemas; it never
rewrites what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from eventsourcing.persistence import StoredEvent

HISTORIES = Path(__file__).parent / "histories.json"


def load() -> list[dict[str, Any]]:
    """Histories: ``name``, ``job_id``, ``events`` (each version, alias, state), ``then``."""
    histories: list[dict[str, Any]] = orjson.loads(HISTORIES.read_bytes())
    return histories


def stored(history: dict[str, Any]) -> list[StoredEvent]:
    """The events of a history as the store would hand them over."""
    return [
        StoredEvent(
            originator_id=history["job_id"],
            originator_version=event["version"],
            topic=event["alias"],
            state=event["state"].encode(),
        )
        for event in history["events"]
    ]
