"""Record documents: versions of records as JSON values, whatever their columns hold."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from api.documents import JOBS
from streams.stores.records.past import Standing, Version, Write


def version_document(version: Version, *, values: bool) -> dict[str, Any]:
    """A version; ``values`` adds all that it has left."""
    changed = version.changed
    document = {
        **_write(version.write),
        "changed": None
        if changed is None
        else {
            column: {"before": shown(change.before), "after": shown(change.after)}
            for column, change in changed.items()
        },
    }
    if values:
        document["values"] = None if version.values is None else _all_shown(version.values)
    return document


def standing_document(standing: Standing) -> dict[str, Any]:
    """A record's last write, and who wrote each of its values."""
    return {
        **_write(standing.last),
        "columns": {
            column: {"value": shown(one.value), "certain": one.certain, **_write(one.write)}
            for column, one in standing.columns.items()
        },
    }


def _write(write: Write) -> dict[str, Any]:
    writer = write.writer
    by_job = bool(writer.job_id)
    return {
        "version": write.version,
        "deleted": write.deleted,
        "at": datetime.fromtimestamp(write.at, UTC).isoformat(),
        "by": {
            "actor": writer.actor,
            "job_id": writer.job_id or None,
            "generation": writer.generation if by_job else None,
            "chunk": writer.chunk if by_job else None,
            "cause": None if write.cause is None else write.cause.value,
        },
        "links": {"job": f"{JOBS}/{writer.job_id}"} if by_job else {},
    }


def _all_shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {column: shown(value) for column, value in values.items()}


def shown(value: Any) -> Any:
    """A value of any column as JSON: bytes as base64, what JSON lacks as text."""
    match value:
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return value.name
        case Decimal() | UUID():
            return str(value)
        case Mapping():
            return {str(key): shown(inner) for key, inner in value.items()}
        case list() | tuple():
            return [shown(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
