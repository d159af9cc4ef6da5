"""Verbs: what a caller may ask of a job in each status."""

from __future__ import annotations

from typing import Literal

from domain.events import JobStatus

Verb = Literal[
    "append",
    "seal",
    "pause",
    "resume",
    "cancel",
    "retry",
    "undo",
    "apply",
    "approve",
    "reject",
    "adjust",
    "edit",
]

POSSIBLE: dict[JobStatus, frozenset[Verb]] = {
    JobStatus.DRAFT: frozenset({"append", "seal", "cancel", "adjust", "edit"}),
    JobStatus.PENDING: frozenset({"pause", "cancel", "adjust"}),
    JobStatus.AWAITING_APPROVAL: frozenset({"approve", "reject", "cancel"}),
    JobStatus.RUNNING: frozenset({"pause", "cancel", "adjust"}),
    JobStatus.PAUSED: frozenset({"resume", "cancel", "adjust"}),
    JobStatus.CANCELLING: frozenset({"cancel"}),
    JobStatus.CANCELLED: frozenset({"retry", "undo"}),
    JobStatus.COMPLETED: frozenset({"undo"}),
    JobStatus.COMPLETED_WITH_ERRORS: frozenset({"retry", "undo"}),
    JobStatus.FAILED: frozenset({"retry", "undo"}),
    JobStatus.ROLLING_BACK: frozenset({"adjust"}),
    JobStatus.ROLLED_BACK: frozenset({"undo"}),
    JobStatus.ROLLBACK_INCOMPLETE: frozenset({"undo"}),
    JobStatus.REJECTED: frozenset(),
    JobStatus.ARCHIVED: frozenset(),
}

APPLICABLE: dict[JobStatus, frozenset[Verb]] = {
    JobStatus.COMPLETED: frozenset({"apply"}),
    JobStatus.COMPLETED_WITH_ERRORS: frozenset({"apply"}),
}
"""When another job may do what a dry run has found: it is whole, and some of it is good."""


BATCH: dict[JobStatus, frozenset[Verb]] = {
    status: verbs & {"pause", "resume", "cancel", "undo"} for status, verbs in POSSIBLE.items()
} | {JobStatus.ROLLED_BACK: frozenset()}
"""The same of a batch. What is done to single steps is asked of their jobs; so is an undo again."""


def verbs_of(
    status: JobStatus, *, sealed: bool, dry_run: bool, fed: bool = False, batch: bool = False
) -> frozenset[Verb]:
    """What may be asked of a job; one that is ``fed`` has its items from another job."""
    if batch:
        return BATCH[status]
    verbs = POSSIBLE[status]
    if fed:
        verbs = verbs - {"append", "seal", "edit"}
    if dry_run:
        # What has changed nothing is neither undone nor retried into effect.
        verbs = verbs - {"retry", "undo"} | APPLICABLE.get(status, frozenset())
    if not sealed and status in (JobStatus.RUNNING, JobStatus.PAUSED):
        verbs = verbs | {"append", "seal"}
    return verbs
