"""Documents: the JSON that the server answers with, as far as the command line reads it."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class CountsDocument(TypedDict):
    """How many items are where; the statuses add up to ``total``."""

    total: int
    pending: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int
    planned: NotRequired[int]


class WaitingDocument(TypedDict):
    """Why a job waits."""

    reason: str
    text: str
    since: str


class DeadlineDocument(TypedDict):
    """A job's deadline; ``in_time`` is None when nothing was measured."""

    at: str
    then: str
    in_time: bool | None
    warning: str | None


class StepDocument(TypedDict):
    """A step of a batch: its job, and how that one is."""

    name: str
    job_id: str
    operation: str
    status: str
    counts: CountsDocument
    after: list[str]
    savepoint: str | None


class WordDocument(TypedDict):
    """Who has decided something about the keeping of a job, when and why."""

    by: str
    at: str
    reason: str


class ArchiveFileDocument(TypedDict):
    """A file that has what an archived job has given up."""

    name: str
    sha256: str
    size: int


class ArchivedDocument(WordDocument):
    """Who has put a job away, and how it had ended."""

    was: str
    file: ArchiveFileDocument | None


class JobDocument(TypedDict):
    """A job; times are ISO 8601, ``percent`` is 0 to 100. Figures are None when unknown."""

    job_id: str
    operation: str
    status: str
    version: int
    name: str
    tags: list[str]
    priority: int
    params: dict[str, Any]
    counts: CountsDocument
    percent: float | None
    items_per_second: float | None
    eta_seconds: float | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    created_by: str
    possible: NotRequired[list[str]]
    reason: NotRequired[str]
    retrying: NotRequired[int]
    prepared: NotRequired[int]
    next_attempt_at: NotRequired[str | None]
    waiting: NotRequired[WaitingDocument | None]
    start_at: NotRequired[str | None]
    deadline: NotRequired[DeadlineDocument | None]
    steps: NotRequired[list[StepDocument]]
    held: NotRequired[WordDocument]
    shredded: NotRequired[WordDocument]
    archived: NotRequired[ArchivedDocument]


class FaultDocument(TypedDict):
    """Why an item is not done; ``pointer`` leads into the item."""

    code: str
    message: str
    pointer: NotRequired[str]


class AttemptDocument(TypedDict):
    """What a chunk has said of an item; no status when it left it as it was."""

    chunk: int
    cause: str
    at: str
    status: str | None
    result: Any
    error: FaultDocument | None


class ItemDocument(TypedDict):
    """Where one item of a job stands; read by itself, with its attempts."""

    position: int
    status: str
    result: Any
    error: FaultDocument | None
    attempts: NotRequired[list[AttemptDocument]]


class ErrorGroupDocument(TypedDict):
    """Failures that look alike, with a few of them."""

    code: str
    signature: str
    count: int
    samples: list[dict[str, Any]]


class ObstructionDocument(TypedDict):
    """An item that an undo would leave as it is."""

    position: int
    record: str
    by: str
    reason: str


class PreviewDocument(TypedDict):
    """What an undo would do."""

    job_id: str
    version: int
    direction: str
    exact: bool
    items: int
    restored: int
    conflict: int
    failed: int
    outside: list[str]
    compensated: int
    compensations: list[int]
    obstructions: list[ObstructionDocument]
    next_cursor: str | None


def went_well(job: JobDocument) -> bool:
    """Whether all of the job was done, and stands."""
    return _ended_as(job) == "completed" and job["counts"]["conflict"] == 0


def was_put_back(job: JobDocument) -> bool:
    """Whether all that the job had done was put back, whoever wanted that."""
    return _ended_as(job) == "rolled_back" and job["counts"]["conflict"] == 0


def undo_went_well(job: JobDocument) -> bool:
    """Whether an undo has put all back, or that of an undo has done all again."""
    return was_put_back(job) or went_well(job)


def rests_well(job: JobDocument) -> bool:
    """Whether nothing is left to look at, for somebody who does not say what was asked for.

    A job that puts itself back has failed items, or some that it never came to: by that it is
    told from one that was undone.
    """
    counts = job["counts"]
    return went_well(job) or (was_put_back(job) and not counts["failed"] + counts["skipped"])


def _ended_as(job: JobDocument) -> str:
    """The job's status; of one that was put away, the one in which it had ended."""
    put_away = job.get("archived") if job["status"] == "archived" else None
    return put_away["was"] if put_away else job["status"]
