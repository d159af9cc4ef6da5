"""Dependencies: how a job must have ended for those that come after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.events import JobStatus
from domain.options import After, Ending

SUITABLE: Mapping[Ending, frozenset[JobStatus]] = {
    Ending.SUCCEEDED: frozenset({JobStatus.COMPLETED}),
    Ending.PARTLY: frozenset({JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS}),
    Ending.ANY: frozenset(status for status in JobStatus if status.terminal),
}
"""The ends with which those behind may start. What was stopped, rejected or undone has not
run its course, however much of it stands."""

Ends = Mapping[str, JobStatus]
"""How jobs have ended, by id; those that have not are left out."""


def spoiled(awaited: Sequence[After], ends: Ends) -> After | None:
    """The first job that has ended otherwise than it should."""
    for after in awaited:
        if after.job_id in ends and ends[after.job_id] not in SUITABLE[after.end]:
            return after
    return None


def all_ended(awaited: Sequence[After], ends: Ends) -> bool:
    """Whether none of them goes on."""
    return all(after.job_id in ends for after in awaited)


def why_skipped(after: After, ended: JobStatus) -> str:
    """Why nothing is done behind a job that has ended otherwise than it should."""
    wanted = {Ending.SUCCEEDED: "succeed", Ending.PARTLY: "succeed at least in part"}
    return f"job {after.job_id}, which was to {wanted.get(after.end, 'end')} before, is {ended}"
