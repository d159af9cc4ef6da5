"""Platform exports: what is said of the routes by which texts and images go out as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

from api.bodies import JSON
from api.openapi.common import IF_NONE_MATCH, KEY
from api.openapi.moments import BEGIN
from api.openapi.platform_bulk import LATER, ONE, SUBMITTED, TAG, BulkOperation, platform_bulk
from api.openapi.platform_files import RANGE
from api.openapi.telling import Answer, Body, Told
from api.systems.annotations.export_report import BESIDE
from api.systems.annotations.exporting import EXPORT, Exports
from api.systems.annotations.operation_documents import links
from domain.events import JobStatus
from domain.systems.annotations.exporting import export
from domain.systems.annotations.formats.registry import FORMATS
from domain.values import Value


class ExportOperation(BulkOperation):
    """An export as it is now."""


class DroppedKind(Value):
    """What the format drops, and of how many documents."""

    code: str
    message: str
    documents: int


class ExportFile(Value):
    """The file of an export, once somebody has asked for it."""

    name: str
    size: int
    sha256: str
    expires_at: datetime


class ExportReport(Value):
    """What an export has read so far, and what its file drops of it.

    ``left_out`` counts texts or images that went meanwhile, or of which no annotation was wanted;
    what ``beside`` names is in no file, whatever its format.
    """

    format: str
    title: str
    media_type: str
    status: JobStatus
    dry_run: bool
    complete: bool
    documents: int
    annotations: int
    left_out: int
    failed: int
    losses: tuple[DroppedKind, ...]
    beside: tuple[str, ...]
    file: ExportFile | None


class ReportOfExport(Value):
    """The report of an export."""

    operation_id: int
    export: ExportReport


def platform_exports() -> Iterator[BaseModel]:
    """An answer of each kind."""
    loss = DroppedKind(code="key", message="the name of the text is dropped", documents=2)
    yield loss
    file = ExportFile(name="letters-1.conll", size=120, sha256="0" * 64, expires_at=BEGIN)
    yield file
    report = ExportReport(
        format="conll",
        title="CoNLL (IOB1, BIO, BIOES)",
        media_type="text/plain",
        status=JobStatus.COMPLETED,
        dry_run=False,
        complete=True,
        documents=2,
        annotations=3,
        left_out=0,
        failed=0,
        losses=(loss,),
        beside=BESIDE,
        file=file,
    )
    yield report
    yield ReportOfExport(operation_id=1, export=report)
    operation = next(each for each in platform_bulk() if type(each) is BulkOperation)
    own: dict[str, Any] = {"type": export.kind, "links": links(1, export.kind)}
    yield ExportOperation(**{**operation.model_dump(), **own})


_FOUND: Final = {"operation_id": "$response.body#/operation_id"}
_READ: Final = ("record_not_found", "role_lacking", "job_not_found")
_FILES: Final = {
    form.media_type: "[]" if form.media_type == JSON else "..."
    for form in FORMATS
    if form.write is not None
}

PLATFORM_EXPORTS: Final[Mapping[tuple[str, str], Told]] = {
    ("POST", EXPORT): Told(
        name="exportTexts",
        tag=TAG,
        about="Export texts with their annotations, or images with their boxes, as the format "
        "holds one or the other; the job's result is a file.\n\n"
        "They are those that are there now; each is read with what is marked on it when its turn "
        "comes. A `dry_run` says what the format would drop. Takes the role `manager`.",
        parameters=(KEY,),
        body=Body(
            model=Exports,
            required=True,
            examples={
                "all": {"project_id": 1, "format": "jsonl"},
                "some": {
                    "project_id": 1,
                    "format": "conll",
                    "scheme": "bioes",
                    "filters": {"label_id": 1, "confidence_min": 0.5},
                    "dry_run": True,
                },
            },
        ),
        answers={
            202: Answer(
                about="The operation; its job goes on by itself.",
                model=ExportOperation,
                located=True,
                links={**LATER, "showExport": _FOUND, "downloadExport": _FOUND},
            )
        },
        problems=(*SUBMITTED, "not_reversible"),
    ),
    ("GET", f"{ONE}/export"): Told(
        name="showExport",
        tag=TAG,
        answers={200: Answer(about="What was read, and what is dropped.", model=ReportOfExport)},
        problems=(*_READ, "archived"),
    ),
    ("GET", f"{ONE}/download"): Told(
        name="downloadExport",
        tag=TAG,
        parameters=(IF_NONE_MATCH, RANGE),
        answers={
            **{
                status: Answer(about=about, others=_FILES)
                for status, about in ((200, "The file."), (206, "The bytes that were asked for."))
            },
            304: Answer(about="The client has it."),
        },
        problems=(*_READ, "file_unfinished", "file_gone", "range_not_satisfiable"),
    ),
}
