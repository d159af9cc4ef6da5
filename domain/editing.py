"""Editing: new bodies of failed items, before they are worked again. Pure."""

from __future__ import annotations

from typing import Any

from domain.ranges import Ranges
from domain.values import Value


class Edited(Value):
    """Items of a job that got new bodies; the old ones stay beside them.

    ``edition`` counts a job's edits from 1; ``lines``, ``size`` and ``sha256`` are those of
    the stored payload: its first line names the items, each other one is a body.
    """

    edition: int
    items: Ranges
    lines: int
    size: int
    sha256: str


def patched(body: Any, patch: Any) -> Any:
    """A JSON document after a merge patch (RFC 7396): null removes, objects go on inside."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(body) if isinstance(body, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = patched(merged.get(name), value)
    return merged
