"""Importing: a file whose texts become a job, and what of it was rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import Field

from api.answers import answer
from api.bodies import parse
from api.downloads import download
from api.edge import caller, edge
from api.models import checked, invalid
from api.parameters import Parameters
from api.submit import idempotency_key
from api.systems.annotations.asked import number
from api.systems.annotations.bulk import accepted, allowed
from api.systems.annotations.bulk_bodies import Bulk, spec_of
from api.uploads import Upload, uploaded
from domain.errors import InvalidCommand
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.importing import import_texts
from domain.systems.annotations.models import MappingName
from domain.systems.annotations.roles import ProjectRole
from streams.systems.annotations.file_reading import Wanted

IMPORT: Final = "/api/v1/batch/text/import"

Word = Annotated[str, Field(min_length=1, max_length=100)]

_WORDS: Final = frozenset({"format", "encoding", "name"})
"""Fields that are what they say; all others are JSON, or a word."""


class Imports(Bulk):
    """What stands beside the file in the form of an import.

    ``format`` and ``encoding`` are found out where they are not said. With
    ``auto_detect_labels`` the project is given the labels that it lacks.
    """

    format: Word | None = None
    encoding: Word | None = None
    auto_detect_labels: bool = False
    field_mapping: dict[str, Any] | MappingName = Field(default_factory=dict)


async def submit(request: web.Request) -> web.Response:
    """Import the texts of a file, each with its annotations, as a job."""
    own, who, key = edge(request), caller(request), idempotency_key(request)
    Parameters(request, ())
    async with uploaded(request, own.uploads, own.limits) as upload:
        body = checked(Imports, _fields(upload.fields), own.limits.json_depth)
        seat = await own.annotations.seat(who, body.project_id)
        seat.demand(ProjectRole.MANAGER, "to import texts")
        mapping = await own.annotations.mapping(who, body.project_id, body.field_mapping)
        spec = spec_of(body, import_texts.kind)
        try:
            imported = await own.annotations.files.take(
                who,
                body.project_id,
                upload.file,
                _wanted(body, upload, mapping),
                lambda lines: own.gateway.submit(allowed(who), spec, lines, key=key),
            )
        except InvalidCommand as error:
            error.pointer = "/file" if error.pointer.startswith("/items") else error.pointer
            raise
    decision = imported.decision
    found = await own.annotations.number(who, body.project_id, spec.operation, decision.job_id)
    return await accepted(own, found, decision, who, {"file": imported.summary})


async def summary(request: web.Request) -> web.Response:
    """What the file of an import had, and the first of what was rejected, with its lines."""
    Parameters(request, ())
    own, who = edge(request), caller(request)
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    file = await own.annotations.files.rejects(who, found.job_id)
    return answer({"operation_id": found.operation_id, "file": orjson.loads(file.about)})


async def rejects(request: web.Request) -> web.StreamResponse:
    """What an import has rejected, as a file of the same format: correct it and import it.

    ``Range`` is heeded.
    """
    Parameters(request, ())
    own, who = edge(request), caller(request)
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    file = await own.annotations.files.rejects(who, found.job_id)
    return await download(request, file, own.annotations.files.piece)


def _fields(said: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a form as values; what is empty is not said."""
    return {
        name: text if _is_said(name, text) else _value(text)
        for name, text in said.items()
        if text != ""
    }


def _is_said(name: str, text: str) -> bool:
    """Whether a field is what it says: a mapping is, where it is named."""
    return name in _WORDS or (name == "field_mapping" and text[0] not in "{[")


def _value(text: str) -> Any:
    if text[:1] in "{[":
        return parse(text.encode())
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _wanted(body: Imports, upload: Upload, said: Mapping[str, Any]) -> Wanted:
    try:
        mapping = parsed_mapping(said)
    except ValueError as error:
        raise invalid(str(error), "/field_mapping") from None
    return Wanted(
        name=upload.name,
        format=body.format,
        encoding=body.encoding,
        mapping=mapping,
        new_labels=body.auto_detect_labels and not body.dry_run,
    )
