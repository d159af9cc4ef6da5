"""Exporting: texts of a project become a file, and what its format drops of them is said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from api import bodies
from api.answers import answer
from api.bodies import malformed, parse
from api.downloads import download
from api.edge import Edge, caller, edge
from api.models import checked, invalid
from api.parameters import Parameters
from api.submissions import item_blocks
from api.submit import idempotency_key
from api.systems.annotations.asked import number
from api.systems.annotations.bulk import accepted, allowed, submitted
from api.systems.annotations.bulk_bodies import Actor, Bulk, Filter, Wanted, spec_of
from api.systems.annotations.export_report import report_of
from domain.commands import JobSpec
from domain.errors import InvalidCommand, RecordNotFound
from domain.job import Job
from domain.record_filter import Equals, RecordSelection
from domain.systems.annotations.export_reading import ExportFilter, Validity
from domain.systems.annotations.export_terms import refusal, written
from domain.systems.annotations.formats.contract import Subject
from domain.systems.annotations.kinds import IMAGES, TEXTS, Kind
from domain.systems.annotations.models import Id, MappingName
from domain.systems.annotations.outlets import KINDS, OUTLETS
from domain.systems.annotations.roles import ProjectRole
from streams.items import ALL
from streams.systems.annotations.numbers import Numbered

EXPORT: Final = "/api/v1/batch/export"
MAX_IDS: Final = 100_000

Word = Annotated[str, Field(min_length=1, max_length=100)]

_CONDITIONS: Final = (
    *("confidence_min", "confidence_max", "created_by", "created_after", "created_before"),
    "validity",
)


_ABOUT: Final[Mapping[Subject, Kind]] = {Subject.TEXT: TEXTS, Subject.IMAGE: IMAGES}
_OTHERS: Final = {
    TEXTS.one: ("image_id", "image_ids"),
    IMAGES.one: ("text_id", "text_ids", "validity"),
}
"""Filters that are about the others; no rules say which boxes are valid."""


class ExportFilters(Filter):
    """Annotations or boxes that meet all of this, of the texts or images with these ids or of all.

    They were made at ``created_after`` or later, and before ``created_before``; ``valid`` are those
    that the rules of the project let pass.
    """

    text_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_IDS)] | None = None
    image_id: Id | None = None
    image_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_IDS)] | None = None
    label_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1_000)] | None = None
    created_by: Actor | None = None
    validity: Validity | None = None


class Exports(Bulk):
    """Texts of a project with annotations, or images with boxes, as a file of a format.

    ``field_mapping`` says for each field of the file where it comes from, or names a mapping of
    the project that does; ``scheme`` is that of tags, or of rows. With ``empty_texts`` off, texts
    and images are left out of which no annotation is exported. Where there is none at all,
    ``confirm`` says that a file without any is meant.
    """

    format: Word
    filters: ExportFilters = ExportFilters()
    field_mapping: dict[str, Any] | MappingName = Field(default_factory=dict)
    scheme: Word | None = None
    empty_texts: bool = True
    confirm: Literal["none"] | None = None


async def submit(request: web.Request) -> web.Response:
    """Export texts or images with what is marked on them, as a job whose result is a file."""
    own, who, key = edge(request), caller(request), idempotency_key(request)
    Parameters(request, ())
    body: Exports = await bodies.read(request, own.limits, own.limits.json_body, _understood(own))
    seat = await own.annotations.seat(who, body.project_id)
    seat.demand(ProjectRole.MANAGER, "to export")
    mapping = await own.annotations.mapping(who, body.project_id, body.field_mapping)
    wanted = await asyncio.to_thread(_wanted, body, mapping, own.limits.json_depth)
    try:
        decision = await submitted(own, allowed(who), wanted, key)
    except InvalidCommand as error:
        if error.pointer.startswith("/filter"):
            error.pointer = "/filters"
        raise
    kind = wanted.spec.operation
    found = await own.annotations.number(who, body.project_id, kind, decision.job_id)
    return await accepted(own, found, decision, who)


async def report(request: web.Request) -> web.Response:
    """What an export has read, and what the format of its file drops of it."""
    Parameters(request, ())
    own = edge(request)
    found, job = await _asked(request, own)
    items = own.queries.items(job.tenant, job.id, ALL, payload=False)
    file = await own.annotations.exports.known(job)
    return answer(await report_of(found, job, items, file))


async def file(request: web.Request) -> web.StreamResponse:
    """The file of a finished export. ``Range`` is heeded."""
    Parameters(request, ())
    own = edge(request)
    made = await own.annotations.exports.file(*await _asked(request, own))
    return await download(request, made, own.annotations.files.piece, partial(_asked, request, own))


async def _asked(request: web.Request, own: Edge) -> tuple[Numbered, Job]:
    """The export that a path names; raises RecordNotFound for another operation."""
    who = caller(request)
    found, seat = await own.annotations.operation(who, number(request, "operation_id"))
    if found.kind not in KINDS:
        raise RecordNotFound(
            f"operation {found.operation_id} is no export, but {found.kind}; check the id"
        )
    seat.demand(ProjectRole.MANAGER, "to read what was exported")
    return found, await own.queries.job(who.tenant, found.job_id)


def _understood(own: Edge) -> Any:
    """Reads the body."""

    def understand(text: bytes) -> Exports:
        fields = parse(text)
        if not isinstance(fields, dict):
            raise malformed("it must be an object with project_id and format")
        return checked(Exports, fields, own.limits.json_depth)

    return understand


def _wanted(body: Exports, mapping: Mapping[str, Any], depth: int) -> Wanted:
    """The job of an export; raises RequestRefused for what no file can be."""
    wrong = refusal(body.format, body.scheme, mapping)
    if wrong is not None:
        raise invalid(*wrong)
    kind = _ABOUT[written(body.format).subject]
    spec, ids = _spec(body, mapping), _chosen(body.filters, kind)
    if ids is not None:
        items = [{"id": each} for each in ids]
        return Wanted(body.project_id, spec, item_blocks(items, depth, f"/filters/{kind.one}_ids"))
    selection = RecordSelection(
        table=kind.name,
        where=Equals(op="equals", column="project_id", value=body.project_id),
        confirm=body.confirm or "all",
    )
    return Wanted(body.project_id, spec.model_copy(update={"select": selection}), None)


def _spec(body: Exports, mapping: Mapping[str, Any]) -> JobSpec:
    said = body.filters
    filters = {name: getattr(said, name) for name in _CONDITIONS}
    labels = _either(said.label_id, said.label_ids, "label_id")
    outlet = OUTLETS[written(body.format).subject]
    params = outlet.params(
        project_id=body.project_id,
        format=body.format,
        filters=ExportFilter(**filters, label_ids=labels),
        field_mapping=dict(mapping),
        scheme=body.scheme,
        empty=body.empty_texts,
    )
    fields = params.model_dump(mode="json", exclude_defaults=True)
    return spec_of(body, outlet.operation.kind, **fields)


def _chosen(said: ExportFilters, kind: Kind) -> tuple[int, ...] | None:
    """The ids of the wanted texts or images, each once, in order; None for all."""
    for name in _OTHERS[kind.one]:
        if getattr(said, name) is not None:
            raise invalid(f"the format holds {kind.name}; leave {name} out", f"/filters/{name}")
    one = f"{kind.one}_id"
    ids = _either(getattr(said, one), getattr(said, f"{one}s"), one)
    return None if ids is None else tuple(sorted(set(ids)))


def _either(one: int | None, several: tuple[int, ...] | None, name: str) -> tuple[int, ...] | None:
    """What is said in one of two ways."""
    if one is not None and several is not None:
        raise invalid(f"say either {name} or {name}s", f"/filters/{name}")
    return several if one is None else (one,)
