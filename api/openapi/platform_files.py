"""Platform files: what is said of the routes by which texts and images come in as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from api.bodies import JSON
from api.openapi.common import IF_NONE_MATCH, KEY
from api.openapi.platform_bulk import (
    LATER,
    ONE,
    SUBMITTED,
    TAG,
    BulkOperation,
    platform_bulk,
)
from api.openapi.telling import Answer, Body, Parameter, Told
from api.systems.annotations.importing import IMPORT, IMPORT_IMAGES, Imports
from api.systems.annotations.operation_documents import links
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.formats.registry import FORMATS
from domain.systems.annotations.importing import import_texts
from domain.values import Value


class ImportForm(Imports):
    """A form with a file; its other fields are JSON, or a word."""

    file: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/octet-stream"})]


class RejectedPiece(Value):
    """A piece of a file that is not taken; ``kept`` is whether the file of rejects has it."""

    line: int
    file: str | None
    code: str
    message: str
    kept: bool


class ImportedFile(Value):
    """What a file had: how many texts or images, with so many annotations, and what was rejected.

    ``encoding`` is that of texts; files of images tell it themselves. Of what was rejected
    the first pieces are here.
    """

    subject: Subject
    format: str
    encoding: str | None
    accepted: int
    annotations: int
    rejected: int
    codes: dict[str, int]
    rejects: tuple[RejectedPiece, ...]


class ImportOperation(BulkOperation):
    """An import as it is now, with what its file had, which one in the background cannot tell."""

    file: ImportedFile | None


class ImportReport(Value):
    """What the file of an import had."""

    operation_id: int
    file: ImportedFile


_REJECTED: Final = '{"content": \n'
_FILES: Final = {
    form.media_type: "[]" if form.media_type == JSON else _REJECTED for form in FORMATS
}


def platform_files() -> Iterator[BaseModel]:
    """An answer of each kind."""
    piece = RejectedPiece(
        line=2, file=None, code="not_json", message="no JSON; correct it", kept=True
    )
    yield piece
    file = ImportedFile(
        subject=Subject.TEXT,
        format="jsonl",
        encoding="utf-8",
        accepted=2,
        annotations=3,
        rejected=1,
        codes={"not_json": 1},
        rejects=(piece,),
    )
    yield file
    operation = next(each for each in platform_bulk() if type(each) is BulkOperation)
    own: dict[str, Any] = {"type": import_texts.kind, "links": links(1, import_texts.kind)}
    yield ImportOperation(**{**operation.model_dump(), **own}, file=file)
    yield ImportReport(operation_id=1, file=file)


RANGE: Final = Parameter(
    name="Range",
    about="Some bytes of it, as `bytes=0-999`; with several ranges it is sent whole.",
    schema={"type": "string"},
    place="header",
)
_FOUND: Final = {"operation_id": "$response.body#/operation_id"}
_READ: Final = ("record_not_found", "role_lacking")

_DATA_SET: Final = (
    '{"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}], '
    '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}], '
    '"categories": [{"id": 1, "name": "dog"}]}\n'
)


def _import(name: str, about: str, example: Mapping[str, Any]) -> Told:
    return Told(
        name=name,
        tag=TAG,
        about=f"{about}\n\n"
        "It is answered when the file is read, or `in_background` once it is recognised: what "
        "cannot be taken of it is told by line, and kept as a file of the same format. Takes the "
        "role `manager`, and one of the headers `Authorization` and `Idempotency-Key`.",
        parameters=(KEY,),
        body=Body(model=ImportForm, required=True, form=True, examples={"one": example}),
        answers={
            202: Answer(
                about="The operation; its job goes on by itself.",
                model=ImportOperation,
                located=True,
                links={**LATER, "showImport": _FOUND, "readRejects": _FOUND},
            )
        },
        problems=(*SUBMITTED, "file_refused", "too_many_uploads"),
    )


PLATFORM_FILES: Final[Mapping[tuple[str, str], Told]] = {
    ("POST", IMPORT): _import(
        "importTexts",
        "Import the texts of a file, each with its annotations, as a job; or images with their "
        "boxes, when that is what the file has.",
        {
            "project_id": 1,
            "auto_detect_labels": True,
            "file": '{"content": "Ada wrote to Charles."}\n',
        },
    ),
    ("POST", IMPORT_IMAGES): _import(
        "importImages",
        "Import the images of a file, each with its boxes, as a job. An image of that file name "
        "that the project has already is given the boxes that it lacks.",
        {"project_id": 1, "auto_detect_labels": True, "file": _DATA_SET},
    ),
    ("GET", f"{ONE}/import"): Told(
        name="showImport",
        tag=TAG,
        answers={200: Answer(about="What its file had.", model=ImportReport)},
        problems=_READ,
    ),
    ("GET", f"{ONE}/rejects"): Told(
        name="readRejects",
        tag=TAG,
        parameters=(
            IF_NONE_MATCH,
            RANGE,
        ),
        answers={
            **{
                status: Answer(about=about, others=_FILES)
                for status, about in ((200, "The file."), (206, "The bytes that were asked for."))
            },
            304: Answer(about="The client has it."),
        },
        problems=(*_READ, "range_not_satisfiable"),
    ),
}
