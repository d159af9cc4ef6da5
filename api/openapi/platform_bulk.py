"""Platform bulk: what is said of the routes that work on many annotations at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from api import sse
from api.jobs import Cancel
from api.openapi.common import COMMAND, IF_MATCH, INSISTING, KEY
from api.openapi.moments import BEGIN, JOB
from api.openapi.platform_records import PAGING
from api.openapi.telling import (
    MOMENT,
    Answer,
    Body,
    Schema,
    Told,
    one_of,
    query,
    whole,
)
from api.openapi.watching import EVENTS_OF_JOB, NOT_SHOWN, SHOWN_OF_JOB
from api.parameters import MAX_ID
from api.systems.annotations.alerts import MemoryAlert
from api.systems.annotations.asked import MAX_WORDS
from api.systems.annotations.bulk import KINDS, LOG_INTERVAL, MAX_HISTORY, MAX_INTERVAL
from api.systems.annotations.bulk_bodies import (
    BoxDeletes,
    BoxUpdates,
    Bulk,
    Creates,
    Deletes,
    Updates,
)
from api.systems.annotations.operation_documents import OPERATIONS, SOCKET, links
from domain.events import JobStatus
from domain.values import Value

TAG: Final = "Bulk operations"
_BATCH: Final = "/api/v1/batch/annotations"
_BOXES: Final = "/api/v1/batch/boxes"
ONE: Final = f"{OPERATIONS}/{{operation_id}}"
_EACH = Field(description="Each as its operation wants it (GET /api/v1/operations).")


class NewAnnotations(Creates):
    """Annotations to create."""

    annotations: Annotated[tuple[Any, ...], _EACH]


class ChangedAnnotations(Updates):
    """Annotations to change: ``updates`` of each, or ``set`` for all that the filter matches."""

    updates: Annotated[tuple[Any, ...] | None, _EACH] = None


class NewBoxes(Bulk):
    """Boxes to create."""

    boxes: Annotated[tuple[Any, ...], _EACH]


class ChangedBoxes(BoxUpdates):
    """Boxes to change: ``updates`` of each, or ``set`` for all that the filter matches."""

    updates: Annotated[tuple[Any, ...] | None, _EACH] = None


class Figures(Value):
    """How many items there are in all, and how many of them are how."""

    total: int
    processed: int
    succeeded: int
    failed: int
    skipped: int
    rolled_back: int
    conflict: int


class ReadFault(Value):
    """Why nothing came of a file."""

    code: str
    message: str


class ReadFile(Value):
    """How far the file of an import is read, and what of it was taken and rejected so far."""

    file: str
    bytes_read: int
    bytes_total: int
    accepted: int
    rejected: int
    error: ReadFault | None


class ListedOperation(Figures):
    """A bulk operation in a list, which may lag a little behind."""

    operation_id: int
    job_id: str
    project_id: int
    type: str
    name: str
    status: JobStatus
    current_step: str
    progress_percentage: float | None
    items_per_second: float | None
    eta_seconds: float | None
    created_by: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    dry_run: bool
    reading: ReadFile | None
    links: dict[str, str]


class BulkOperation(ListedOperation):
    """A bulk operation as it is now; of the workers in all, 100 % of a processor is one."""

    items_per_second_mean: float | None
    elapsed_seconds: float | None
    reason: str
    workers: int | None
    cpu_percent: float | None
    memory_bytes: int | None


class BulkOperations(Value):
    """A page of bulk operations."""

    items: tuple[ListedOperation, ...]
    total: int
    limit: int
    offset: int


class Snapshot(Figures):
    """How far an operation was at a moment."""

    at: datetime
    status: JobStatus
    current_step: str
    progress_percentage: float | None
    items_per_second: float | None
    items_per_second_mean: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None
    workers: float | None
    cpu_percent: float | None
    memory_bytes: int | None


class ProgressHistory(Value):
    """Snapshots of an operation, first to last."""

    operation_id: int
    db_log_interval: int
    items: tuple[Snapshot, ...]


class OperationUpdate(Figures):
    """How an operation is after an event of its job, as a live stream says it."""

    operation_id: int
    job_id: str
    version: int
    event: str
    actor: str
    status: JobStatus
    current_step: str
    progress_percentage: float | None
    items_per_second: float | None
    items_per_second_mean: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None
    workers: int | None
    cpu_percent: float | None
    memory_bytes: int | None
    reading: ReadFile | None
    at: datetime


SHOWN_OF_OPERATION: Final = {
    **SHOWN_OF_JOB,
    200: replace(
        SHOWN_OF_JOB[200],
        about="How it goes (`text/event-stream`, unless JSON is rather wanted): "
        "`progress_update` until it has come to rest, then `operation_completed` or "
        "`operation_failed`, and `memory_alert` when a worker has passed its memory budget "
        "meanwhile; or a page of the events of its job.",
        others={
            sse.MEDIA_TYPE: 'event: progress_update\nid: 3\ndata: {"operation_id": 1, '
            '"progress_percentage": 40.0, "processed": 8, "total": 20}\n\n'
        },
        live=(OperationUpdate, MemoryAlert),
    ),
}
"""How an operation goes; its id is the version of its job."""


def platform_bulk() -> Iterator[BaseModel]:
    """An answer of each kind."""
    figures: dict[str, Any] = {"total": 2, "processed": 0, "succeeded": 0, "failed": 0}
    figures |= {"skipped": 0, "rolled_back": 0, "conflict": 0}
    rates: dict[str, Any] = {"items_per_second": None, "eta_seconds": None}
    known: dict[str, Any] = {
        **figures,
        **rates,
        "operation_id": 1,
        "job_id": JOB,
        "project_id": 1,
        "type": KINDS[0],
        "name": "",
        "status": JobStatus.PENDING,
        "current_step": "waiting",
        "progress_percentage": 0.0,
        "created_by": "ada",
        "created_at": BEGIN,
        "started_at": None,
        "finished_at": None,
        "dry_run": False,
        "reading": None,
        "links": links(1),
    }
    used: dict[str, Any] = {"workers": 1, "cpu_percent": 12.5, "memory_bytes": 150_000_000}
    listed = ListedOperation(**known)
    yield listed
    yield BulkOperation(
        **known,
        items_per_second_mean=None,
        elapsed_seconds=None,
        reason="",
        **used,
    )
    yield BulkOperations(items=(listed,), total=1, limit=100, offset=0)
    begun: dict[str, Any] = {"at": BEGIN, "status": JobStatus.PENDING, "current_step": "waiting"}
    begun |= {"progress_percentage": 0.0, "items_per_second_mean": None, "elapsed_seconds": None}
    shot = Snapshot(**figures, **rates, **used, **begun)
    yield MemoryAlert(
        operation_id=1,
        worker="far-0123",
        host="far",
        memory_bytes=900_000_000,
        threshold_bytes=800_000_000,
        at=BEGIN,
    )
    told: dict[str, Any] = {"operation_id": 1, "job_id": JOB, "version": 1, "actor": "ada"}
    told |= {"reading": None}
    yield OperationUpdate(**figures, **rates, **used, **begun, **told, event="job.submitted")
    yield ProgressHistory(operation_id=1, db_log_interval=LOG_INTERVAL, items=(shot,))


LATER = {
    name: {"operation_id": "$response.body#/operation_id"}
    for name in ("showOperation", "showOperationHistory", "cancelOperation")
}
ACCEPTED = Answer(
    about="The operation; its job goes on by itself.",
    model=BulkOperation,
    located=True,
    links=LATER,
)
SUBMITTED: Final = (
    *COMMAND,
    "record_not_found",
    "role_lacking",
    "quota_exceeded",
    "unknown_operation",
    "selection_unconfirmed",
    "records_overtaken",
    "record_refused",
    "job_not_found",
)
_WORDS: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_WORDS,
    "pattern": "^[^\\x00]*$",
}


def _submit(name: str, about: str, model: type[BaseModel], examples: Mapping[str, Any]) -> Told:
    return Told(
        name=name,
        tag=TAG,
        about=about,
        parameters=(KEY,),
        body=Body(model=model, required=True, examples=examples),
        answers={202: ACCEPTED},
        problems=SUBMITTED,
    )


PLATFORM_BULK: Final[Mapping[tuple[str, str], Told]] = {
    ("POST", f"{_BATCH}/create"): _submit(
        "createAnnotations",
        "New annotations on the texts of a project.\n\nTakes the role `annotator`.",
        NewAnnotations,
        {
            "one": {
                "project_id": 1,
                "annotations": [{"text_id": 1, "label_id": 1, "start_char": 0, "end_char": 3}],
                "validate_before_create": True,
                "rollback_on_error": True,
            }
        },
    ),
    ("PUT", f"{_BATCH}/update"): _submit(
        "updateAnnotations",
        "Other values for annotations, each by its id, or all that a filter matches now.\n\n"
        "Takes the role `annotator`.",
        ChangedAnnotations,
        {
            "each": {"project_id": 1, "updates": [{"id": 1, "confidence_score": 0.5}]},
            "all that match": {
                "project_id": 1,
                "filter": {"label_id": 1, "confidence_max": 0.3},
                "set": {"label_id": 2},
            },
        },
    ),
    ("DELETE", f"{_BATCH}/delete"): _submit(
        "deleteAnnotations",
        "Delete annotations by their ids, or all that a filter matches now.\n\n"
        "Takes the role `manager`.",
        Deletes,
        {
            "these": {"project_id": 1, "ids": [1, 2]},
            "all that match": {"project_id": 1, "filter": {"created_by": "model-7"}},
        },
    ),
    ("POST", f"{_BOXES}/create"): _submit(
        "createBoxes",
        "New boxes on the images of a project.\n\nTakes the role `annotator`.",
        NewBoxes,
        {
            "one": {
                "project_id": 1,
                "boxes": [{"image_id": 1, "label_id": 1, "bbox": [10, 20, 30, 40]}],
            }
        },
    ),
    ("PUT", f"{_BOXES}/update"): _submit(
        "updateBoxes",
        "Other values for boxes, each by its id, or all that a filter matches now.\n\n"
        "Takes the role `annotator`.",
        ChangedBoxes,
        {
            "each": {"project_id": 1, "updates": [{"id": 1, "bbox": [10, 20, 31, 40]}]},
            "all that match": {
                "project_id": 1,
                "filter": {"image_id": 1, "confidence_max": 0.3},
                "set": {"label_id": 2},
            },
        },
    ),
    ("DELETE", f"{_BOXES}/delete"): _submit(
        "deleteBoxes",
        "Delete boxes by their ids, or all that a filter matches now.\n\nTakes the role `manager`.",
        BoxDeletes,
        {
            "these": {"project_id": 1, "ids": [1, 2]},
            "all that match": {"project_id": 1, "filter": {"created_by": "model-7"}},
        },
    ),
    ("GET", OPERATIONS): Told(
        name="listOperationsOfPlatform",
        tag=TAG,
        parameters=(
            query("status", "Those in this status.", one_of(*(each.value for each in JobStatus))),
            query("type", "Those of this kind.", one_of(*KINDS)),
            query("project_id", "Those of this project.", whole(1, MAX_ID)),
            query("created_by", "Those that this one has started.", _WORDS),
            query("created_after", "Started then or later.", MOMENT),
            query("created_before", "Started before.", MOMENT),
            *PAGING,
        ),
        answers={200: Answer(about="A page.", model=BulkOperations)},
    ),
    ("GET", f"{ONE}/status"): Told(
        name="showOperation",
        tag=TAG,
        answers={200: Answer(about="The operation.", model=BulkOperation)},
        problems=("record_not_found", "job_not_found"),
    ),
    ("GET", f"{ONE}/history"): Told(
        name="showOperationHistory",
        tag=TAG,
        parameters=(
            query(
                "max_history_size",
                "So many snapshots at most, spread over the whole course.",
                whole(2, MAX_HISTORY, MAX_HISTORY),
            ),
            query(
                "db_log_interval",
                "Seconds between two of them at least, but for the last.",
                whole(0, MAX_INTERVAL, LOG_INTERVAL),
            ),
        ),
        answers={200: Answer(about="The snapshots.", model=ProgressHistory)},
        problems=("record_not_found", "job_not_found"),
    ),
    ("GET", f"{ONE}/events"): Told(
        name="readOperationEvents",
        tag=TAG,
        parameters=EVENTS_OF_JOB,
        answers=SHOWN_OF_OPERATION,
        problems=("record_not_found", "job_not_found", *NOT_SHOWN),
    ),
    ("DELETE", f"{ONE}/cancel"): Told(
        name="cancelOperation",
        tag=TAG,
        about="Nothing more of it is done; with `roll_back` what was done is put back.\n\n"
        "Takes the role `manager` for what somebody else has started.",
        parameters=(KEY, IF_MATCH),
        body=Body(model=Cancel, examples={"put back": {"roll_back": True}, "only stop": {}}),
        answers={202: ACCEPTED},
        problems=(
            *COMMAND,
            *INSISTING,
            "record_not_found",
            "job_not_found",
            "role_lacking",
            "not_reversible",
        ),
    ),
    ("GET", SOCKET): Told(
        name="openOperationsWebSocket",
        tag=TAG,
        answers={
            101: Answer(
                about="The connection; what it carries is in docs/annotations.md. Who shows "
                "neither token nor ticket says first who it is."
            )
        },
        problems=("upgrade_required", "quota_exceeded", "too_many_streams"),
        ticket=True,
    ),
}
