"""Updates: what an event of a job says of the operation that it is, on every live connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from api.systems.annotations.operation_documents import current_step, figures, load_figures
from api.systems.annotations.pace import Pace
from domain.events import JobStatus
from streams.live import LiveEvent
from streams.systems.annotations.load import Figures

UpdateType = Literal["progress_update", "operation_completed", "operation_failed"]

_WELL: Final = frozenset({JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS})


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
        "at": told["at"],
    }
