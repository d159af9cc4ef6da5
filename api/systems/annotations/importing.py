"""Importing: a file whose texts or images become a job, and what of it was rejected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import Field

from api.answers import answer
from api.bodies import parse
from api.downloads import download
from api.edge import Edge, caller, edge
from api.models import checked, invalid
from api.parameters import Parameters
from api.submit import idempotency_key
from api.systems.annotations.asked import number
from api.systems.annotations.bulk import accepted, allowed, being_read
from api.systems.annotations.bulk_bodies import Bulk, spec_of
from api.uploads import Upload, uploaded
from domain.commands import JobSpec
from domain.errors import InvalidCommand
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.image_importing import Existing, import_images
from domain.systems.annotations.models import MappingName
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.stores.decisions import Decision
from streams.systems.annotations.file_reading import Wanted
from streams.systems.annotations.files import About, Submit

IMPORT: Final = "/api/v1/batch/text/import"
IMPORT_IMAGES: Final = "/api/v1/batch/image/import"

Word = Annotated[str, Field(min_length=1, max_length=100)]

_WORDS: Final = frozenset({"format", "encoding", "scheme", "name"})
"""Fields that are what they say; all others are JSON, or a word."""


class Imports(Bulk):
    """What stands beside the file in the form of an import.

    ``format`` and ``encoding`` are found out where they are not said; ``scheme`` is that of tags
    or of corners, in the formats that have several. With ``auto_detect_labels`` the project is
    given the labels that it lacks. ``existing_images`` says what becomes of an image whose file
    name the project has already: it is given the boxes that it lacks, or its item fails.
    ``in_background`` has it answered once the file is recognised, and read from then on.
    """

    format: Word | None = None
    encoding: Word | None = None
    scheme: Word | None = None
    auto_detect_labels: bool = False
    field_mapping: dict[str, Any] | MappingName = Field(default_factory=dict)
    existing_images: Existing = Existing.ADD
    in_background: bool = False


def submit(subject: Subject | None) -> Handler:
    """The handler of an import, of files of that subject or of any."""

    async def handle(request: web.Request) -> web.Response:
        own, who, key = edge(request), caller(request), idempotency_key(request)
        Parameters(request, ())
        async with AsyncExitStack() as held:
            coming = uploaded(request, who.tenant, own.uploads, own.limits)
            upload = await held.enter_async_context(coming)
            body = checked(Imports, _fields(upload.fields), own.limits.json_depth)
            wanted = _wanted(body, upload, subject, await _mapping(own, who, body))
            about = About(body.project_id, own.ids.new(), body.name, body.dry_run)
            files = own.annotations.files
            begun = await held.enter_async_context(files.begun(who, about, upload.file, wanted))
            send = _sending(own, allowed(who), body, key)
            if body.in_background:
                files.take_later(begun, send, held.pop_all())
                return being_read(own, begun.number, begun.said, {"file": None})
            imported = await files.take(begun, send)
        file = {"file": imported.summary}
        return await accepted(own, imported.number, imported.decision, who, file)

    return handle


async def summary(request: web.Request) -> web.Response:
    """What the file of an import had, and the first of what was rejected, with its lines."""
    Parameters(request, ())
    own, who = edge(request), caller(request)
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    file = await own.annotations.files.rejects(who, found.job_id)
    # What was kept before there were images does not say what it is of.
    about = {"subject": Subject.TEXT.value, **orjson.loads(file.about)}
    return answer({"operation_id": found.operation_id, "file": about})


async def rejects(request: web.Request) -> web.StreamResponse:
    """What an import has rejected, as a file of the same format: correct it and import it.

    ``Range`` is heeded.
    """
    Parameters(request, ())
    own, who = edge(request), caller(request)
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    files = own.annotations.files
    read = partial(files.rejects, who, found.job_id)
    return await download(request, await read(), files.piece, read)


async def _mapping(own: Edge, who: Caller, body: Imports) -> Mapping[str, Any]:
    """The field mapping that is meant; raises RoleLacking for who may not import."""
    seat = await own.annotations.seat(who, body.project_id)
    seat.demand(ProjectRole.MANAGER, "to import a file")
    return await own.annotations.mapping(who, body.project_id, body.field_mapping)


def _sending(own: Edge, who: Caller, body: Imports, key: str | None) -> Submit:
    async def send(kind: str, job_id: str, lines: AsyncIterator[bytes]) -> Decision:
        try:
            return await own.gateway.submit(who, _spec(body, kind), lines, key=key, job_id=job_id)
        except InvalidCommand as error:
            error.pointer = "/file" if error.pointer.startswith("/items") else error.pointer
            raise

    return send


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


def _spec(body: Imports, kind: str) -> JobSpec:
    own = {"existing_images": body.existing_images.value} if kind == import_images.kind else {}
    return spec_of(body, kind, **own)


def _wanted(
    body: Imports, upload: Upload, subject: Subject | None, said: Mapping[str, Any]
) -> Wanted:
    try:
        mapping = parsed_mapping(said)
    except ValueError as error:
        raise invalid(str(error), "/field_mapping") from None
    return Wanted(
        name=upload.name,
        subject=subject,
        format=body.format,
        encoding=body.encoding,
        scheme=body.scheme,
        mapping=mapping,
        new_labels=body.auto_detect_labels and not body.dry_run,
        existing=body.existing_images.value if "existing_images" in body.model_fields_set else None,
    )
