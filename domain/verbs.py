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
    "hold",
    "release",
    "shred",
    "archive",
]

KEPT: frozenset[Verb] = frozenset({"hold", "release", "shred"})
"""What may be asked about what was sent to a job."""
AT_REST: frozenset[Verb] = KEPT | {"archive"}
"""What may be asked about the keeping of a job."""
NEEDS_ITEMS: frozenset[Verb] = frozenset({"retry", "apply"})
"""What nobody can do without what was sent."""

POSSIBLE: dict[JobStatus, frozenset[Verb]] = {
    JobStatus.DRAFT: frozenset({"append", "seal", "cancel", "adjust", "edit"}),
    JobStatus.PENDING: frozenset({"pause", "cancel", "adjust"}),
    JobStatus.AWAITING_APPROVAL: frozenset({"approve", "reject", "cancel"}),
    JobStatus.RUNNING: frozenset({"pause", "cancel", "adjust"}),
    JobStatus.PAUSED: frozenset({"resume", "cancel", "adjust"}),
    JobStatus.CANCELLING: frozenset({"cancel"}),
    JobStatus.CANCELLED: AT_REST | frozenset({"retry", "undo"}),
    JobStatus.COMPLETED: AT_REST | frozenset({"undo"}),
    JobStatus.COMPLETED_WITH_ERRORS: AT_REST | frozenset({"retry", "undo"}),
    JobStatus.FAILED: AT_REST | frozenset({"retry", "undo"}),
    JobStatus.ROLLING_BACK: frozenset({"adjust"}),
    JobStatus.ROLLED_BACK: AT_REST | frozenset({"undo"}),
    JobStatus.ROLLBACK_INCOMPLETE: AT_REST | frozenset({"undo"}),
    JobStatus.REJECTED: AT_REST,
    JobStatus.ARCHIVED: KEPT,
}

APPLICABLE: dict[JobStatus, frozenset[Verb]] = {
    JobStatus.COMPLETED: frozenset({"apply"}),
    JobStatus.COMPLETED_WITH_ERRORS: frozenset({"apply"}),
}
"""When another job may do what a dry run has found: it is whole, and some of it is good."""


BATCH: dict[JobStatus, frozenset[Verb]] = {
    status: verbs & {"pause", "resume", "cancel", "undo", "archive"}
    for status, verbs in POSSIBLE.items()
} | {JobStatus.ROLLED_BACK: frozenset({"archive"})}
"""The same of a batch. What is done to single steps is asked of their jobs; so is an undo again."""


def verbs_of(
    status: JobStatus, *, sealed: bool, dry_run: bool, fed: bool = False, batch: bool = False
) -> frozenset[Verb]:
    """What may be asked of a job; one that is ``fed`` has its items from another job.

    How it is kept may forbid some of it: :func:`kept_verbs`.
    """
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


def kept_verbs(verbs: frozenset[Verb], *, held: bool, shredded: bool) -> frozenset[Verb]:
    """What is left of the verbs for a job that is held, or whose items are shredded."""
    if shredded:
        return verbs - NEEDS_ITEMS - KEPT
    return verbs - {"hold", "shred", "archive"} if held else verbs - {"release"}
