"""Updates: what an event of a job says of the operation that it is, on every live connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from api.systems.annotations.operation_documents import (
    current_step,
    figures,
    load_figures,
    reading_document,
    reading_status,
)
from api.systems.annotations.pace import Pace
from domain.events import JobStatus
from streams.live import LiveEvent
from streams.systems.annotations.load import Figures
from streams.systems.annotations.numbers import Numbered
from streams.systems.annotations.readings import Reading

UpdateType = Literal["progress_update", "operation_completed", "operation_failed"]

_OF_READING: Final = (
    *("operation_id", "job_id", "progress_percentage", "status", "current_step"),
    *("items_per_second", "items_per_second_mean", "eta_seconds", "elapsed_seconds"),
    *("workers", "cpu_percent", "memory_bytes", "reading"),
)
_WELL: Final = frozenset({JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS})


LOOK_SECONDS: Final = 0.4
"""So often it is looked how far a file is read, by whoever is told of it."""


def type_of(status: JobStatus) -> UpdateType:
    """What a message about an operation in this status is called."""
    if not status.terminal:
        return "progress_update"
    return "operation_completed" if status in _WELL else "operation_failed"


def update(event: LiveEvent, operation_id: int, load: Figures | None, pace: Pace) -> dict[str, Any]:
    """What is told of an operation after an event of its job, and what the workers use meanwhile.

    ``event`` is what the engine calls that, and ``version`` that of the job.
    """
    told = event.data
    status, counts = JobStatus(told["status"]), figures(told["counts"])
    at = datetime.fromisoformat(told["at"])
    return {
        "operation_id": operation_id,
        "job_id": event.job_id,
        "version": told["version"],
        "event": event.name,
        "actor": told["actor"],
        "progress_percentage": told["percent"],
        "status": status.value,
        "current_step": current_step(status),
        **counts,
        **pace.told(status, at, counts["processed"]),
        "items_per_second_mean": told["items_per_second"],
        "eta_seconds": told["eta_seconds"],
        **load_figures(load),
        "reading": None,
        "at": told["at"],
    }


def update_of_reading(
    number: Numbered, reading: Reading, load: Figures | None
) -> tuple[UpdateType, dict[str, Any]]:
    """What is told of an operation whose file is read: what that is called, and what it says."""
    status = reading_status(reading)
    shown = reading_document(number, reading, load)
    told = {
        **{name: shown[name] for name in _OF_READING},
        **figures({}),
        "version": 0,
        "event": "file.read" if reading.fault is None else "file.given_up",
        "actor": number.created_by,
        "at": reading.seen_at.isoformat(),
    }
    return type_of(status), told
