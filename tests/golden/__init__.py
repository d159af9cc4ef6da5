"""Golden histories: stored bytes that every later release must still read.

Beside them the shape of each kind and schema: what an older process may meet under a number
that it knows. ``python -m tests.golden`` adds what is missing for new event kinds and schemas; it
never rewrites what is there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
from eventsourcing.persistence import StoredEvent

from domain.events import JobEvent

HISTORIES = Path(__file__).parent / "histories.json"
SHAPES = Path(__file__).parent / "shapes.json"
_WORDS = ("title", "description")


def load() -> list[dict[str, Any]]:
    """Histories: ``name``, ``job_id``, ``events`` (each version, alias, state), ``then``."""
    histories: list[dict[str, Any]] = orjson.loads(HISTORIES.read_bytes())
    return histories


def shape(kind: type[JobEvent]) -> str:
    """A digest of all that an event of this schema may say: fields, theirs, and closed words."""
    schema = _without_words(kind.model_json_schema(mode="serialization"))
    return hashlib.sha256(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def shapes() -> dict[str, str]:
    """The digests of every kind and schema that was ever stored, by ``alias/schema``."""
    found: dict[str, str] = orjson.loads(SHAPES.read_bytes())
    return found


def named(kind: type[JobEvent]) -> str:
    """What its digest is kept under."""
    return f"{kind.alias}/{kind.schema_number}"


def _without_words(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_words(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # A field may have such a name: then it is no text.
    kept = {
        name: each
        for name, each in schema.items()
        if name not in _WORDS or not isinstance(each, str)
    }
    return {name: _without_words(each) for name, each in kept.items()}


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
