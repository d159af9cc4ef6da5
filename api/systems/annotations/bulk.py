"""Bulk: many annotations at once, as jobs of the engine, under numbers of the platform's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from api import bodies, events
from api.answers import answer
from api.conditions import if_version
from api.edge import Edge, caller, edge
from api.jobs import Cancel
from api.live import sent
from api.models import checked
from api.parameters import MAX_ID, Parameters
from api.submissions import streamed
from api.submit import idempotency_key
from api.systems.annotations import operation_documents as documents
from api.systems.annotations.asked import number, paging, words
from api.systems.annotations.bulk_bodies import Understand, Wanted, turned_back
from api.systems.annotations.operation_stream import OperationStream
from domain.errors import InvalidCommand, VersionMismatch
from domain.events import JobStatus
from domain.permissions import Permission
from domain.systems.annotations import outlets
from domain.systems.annotations.intakes import INTAKES
from domain.systems.annotations.kinds import ANNOTATIONS, BOXES
from domain.systems.annotations.roles import ProjectRole
from streams.callers import Caller
from streams.saying import More
from streams.stores.decisions import Decision
from streams.systems.annotations.numbers import FILTERS, Numbered
from streams.systems.annotations.readings import Reading

MAX_HISTORY: Final = 1000
LOG_INTERVAL: Final = 10
MAX_INTERVAL: Final = 86_400
_IMPORTS: Final = tuple(each.operation for each in INTAKES.values())
KINDS: Final = (
    *(each.kind for each in (*ANNOTATIONS.operations, *BOXES.operations, *_IMPORTS)),
    *outlets.KINDS,
)

_WORKS: Final = frozenset({Permission.VIEW, Permission.SUBMIT, Permission.UNDO})
_STATUSES: Final = tuple(status.value for status in JobStatus)


def submit(understand: Understand, needed: ProjectRole) -> Handler:
    """The handler of one bulk operation, which takes a role in the project."""

    async def handle(request: web.Request) -> web.Response:
        own, who, key = edge(request), caller(request), idempotency_key(request)
        Parameters(request, ())
        read = partial(understand, depth=own.limits.json_depth)
        wanted: Wanted
        async with bodies.taken(request, own.limits, own.limits.json_body, read) as wanted:
            seat = await own.annotations.seat(who, wanted.project_id)
            seat.demand(needed, f"to run {wanted.spec.operation}")
            decision = await submitted(own, allowed(who), wanted, key)
        kind = wanted.spec.operation
        found = await own.annotations.number(who, wanted.project_id, kind, decision.job_id)
        return await accepted(own, found, decision, who)

    return handle


async def status(request: web.Request) -> web.Response:
    """How an operation is, with what the workers use."""
    own, who = edge(request), caller(request)
    Parameters(request, ())
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    load = await own.annotations.load.lately(own.situation.workers)
    reading = await own.annotations.files.reading(found, who.tenant)
    if reading is not None:
        return answer(documents.reading_document(found, reading, load))
    job = await own.queries.job(who.tenant, found.job_id)
    document = documents.status_document(found, job, own.clock.now(), load)
    return answer(document, version=job.version)


async def index(request: web.Request) -> web.Response:
    """The operations in projects that the caller may see, the latest first."""
    own, query = edge(request), Parameters(request, (*FILTERS, "limit", "offset"))
    limit, offset = paging(query)
    after, before = query.moment("created_after"), query.moment("created_before")
    said: dict[str, Any] = {
        "status": query.choice("status", _STATUSES),
        "type": query.choice("type", KINDS),
        "project_id": query.integer("project_id", 1, MAX_ID),
        "created_by": words(query, "created_by"),
        "created_after": None if after is None else after.timestamp(),
        "created_before": None if before is None else before.timestamp(),
    }
    wanted = {name: value for name, value in said.items() if value is not None}
    who = caller(request)
    rows = await own.annotations.operations(who, wanted, limit=limit, offset=offset)
    fresh = [row["number"] for row in rows.items if row["document"] is None]
    read = await own.annotations.files.readings(fresh, who.tenant)
    items = [
        documents.listed(row["number"], row["document"], read.get(row["number"].job_id))
        for row in rows.items
    ]
    return answer({"items": items, "total": rows.total, "limit": limit, "offset": offset})


async def cancel(request: web.Request) -> web.Response:
    """Nothing more of it is done, or read; with ``roll_back`` what was done is put back."""
    own, who = edge(request), caller(request)
    Parameters(request, ())
    body = checked(Cancel, await bodies.read_optional(request, own.limits), own.limits.json_depth)
    found, seat = await own.annotations.operation(who, number(request, "operation_id"))
    version, mine = if_version(request), found.created_by == who.actor
    seat.demand(ProjectRole.ANNOTATOR if mine else ProjectRole.MANAGER, "to cancel an operation")
    if version is not None and await own.annotations.files.reading(found, who.tenant):
        raise VersionMismatch(
            "the file of the operation is being read, and has no version; leave If-Match out"
        )
    stopped = await own.annotations.files.cancel(found, who, body.reason)
    if stopped is not None:
        return being_read(own, found, stopped)
    decision = await own.gateway.command(
        allowed(who),
        found.job_id,
        "cancel",
        body.reason,
        key=idempotency_key(request),
        more=More(roll_back=body.roll_back, graceful=body.graceful, if_version=version),
    )
    return await accepted(own, found, decision, who)


async def history(request: web.Request) -> web.Response:
    """How an operation went: snapshots of its progress, from what is stored of it."""
    own, who = edge(request), caller(request)
    query = Parameters(request, ("max_history_size", "db_log_interval"))
    most = query.integer("max_history_size", 2, MAX_HISTORY) or MAX_HISTORY
    said = query.integer("db_log_interval", 0, MAX_INTERVAL)
    interval = LOG_INTERVAL if said is None else said
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    reading = await own.annotations.files.reading(found, who.tenant)
    course = () if reading else await own.queries.course(who.tenant, found.job_id, most)
    items = documents.snapshots(course, interval)
    times = {shot["at"]: datetime.fromisoformat(shot["at"]).timestamp() for shot in items}
    used = await own.annotations.used_at(times.values())
    return answer(
        {
            "operation_id": found.operation_id,
            "db_log_interval": interval,
            "items": [
                {**shot, **documents.used_figures(used.get(times[shot["at"]]))} for shot in items
            ],
        }
    )


async def live(request: web.Request) -> web.StreamResponse:
    """How an operation goes, as ``text/event-stream``; or its job's events, in pages of JSON."""
    own, who = edge(request), caller(request)
    events.check_query(request)
    found, _ = await own.annotations.operation(who, number(request, "operation_id"))
    stream = OperationStream(own, who, found)
    reading = await own.annotations.files.reading(found, who.tenant)
    if reading is not None and events.is_streamed(request):
        return await sent(request, stream.from_reading(request, reading))
    job = await own.queries.job(who.tenant, found.job_id)
    return await events.events_of(request, found.job_id, stream.telling(job))


def allowed(who: Caller) -> Caller:
    """The caller with what a role in the project has allowed them to have the engine do."""
    held = who.permissions | _WORKS | {Permission.RUN_DESTRUCTIVE}
    return replace(who, permissions=held)


async def submitted(own: Edge, who: Caller, wanted: Wanted, key: str | None) -> Decision:
    """What was decided of a job; what is refused points into our body."""
    try:
        if wanted.blocks is None:
            return await own.gateway.submit_selected(who, wanted.spec, key=key)
        return await own.gateway.submit(who, wanted.spec, streamed(wanted.blocks), key=key)
    except InvalidCommand as error:
        error.pointer = turned_back(error.pointer)
        raise


def being_read(
    own: Edge,
    found: Numbered,
    reading: Reading,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> web.Response:
    """202: an operation whose file is read, or no longer, and what ``more`` is to be said."""
    document = {**documents.reading_document(found, reading), **more}
    return answer(document, status=202, headers=_where(own, document))


async def accepted(
    own: Edge,
    found: Numbered,
    decision: Decision,
    who: Caller,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> web.Response:
    """202: the operation after the command, where it is, and what ``more`` is to be said."""
    job = decision.job or await own.queries.job(who.tenant, found.job_id)
    document = {**documents.status_document(found, job, own.clock.now()), **more}
    return answer(document, status=202, headers=_where(own, document), version=job.version)


def _where(own: Edge, document: Mapping[str, Any]) -> dict[str, str]:
    """Where to look, and when."""
    return {"Location": document["links"]["status"], "Retry-After": str(own.limits.retry_after)}
