"""Jobs: look at them, and tell them what to do."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ConfigDict, Field

from api import bodies
from api.answers import answer
from api.conditions import if_version
from api.documents import job_document, links, progress_document
from api.edge import caller, edge
from api.fields import FIELDS, OF_JOB, OF_LISTED, only, wanted_fields
from api.models import checked, understood
from api.parameters import MAX_VERSION, Parameters, wrong
from api.ports import Verb
from api.projects import scope
from api.rules import demand
from api.submit import accepted, idempotency_key
from domain.commands import MAX_REASON, Adjustment, BatchUndo, Editing, Selection, UndoSelection
from domain.contradictions import check_named
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.permissions import Permission
from domain.values import Value
from streams.saying import NOTHING_MORE, More
from streams.stores.read_model import MAX_PAGE

MAX_POINTS = 1000

_FILTERS = (
    "operation",
    "system",
    "tag",
    "q",
    "created_after",
    "created_before",
    "sort",
    "cursor",
    "limit",
    FIELDS,
)
_SELECTED = set(UndoSelection.model_fields)
_NAMING: tuple[Verb, ...] = ("retry", "undo")
"""Verbs that may name items, one by one."""
_STATUSES = tuple(status.value for status in JobStatus)


class Reason(Value):
    """The body of a command."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


def _naming(schema: dict[str, Any]) -> None:
    """Have the document say what ``check_named`` refuses; what is left out is no empty list."""
    for said in schema["properties"].values():
        if said.get("type") == "array":
            said["minItems"] = 1
            said.pop("default", None)


class Retry(Selection):
    """The body of a retry: which items, and why."""

    model_config = ConfigDict(json_schema_extra=_naming)

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""

    @property
    def select(self) -> Selection:
        """The items alone."""
        return Selection.model_validate(self.model_dump(exclude={"reason"}))


class Undo(BatchUndo, UndoSelection):
    """The body of an undo: of what, why, and whether over what others wrote since."""

    model_config = ConfigDict(json_schema_extra=_naming)

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""
    force: bool = False

    @property
    def select(self) -> UndoSelection:
        """The part alone."""
        return UndoSelection.model_validate(self.model_dump(include=_SELECTED))

    @property
    def batch(self) -> BatchUndo:
        """The part of a batch alone."""
        return BatchUndo(to=self.to, branch=self.branch)


class Cancel(Reason):
    """The body of a cancel: why, whether what was done is put back, what is in flight ends."""

    roll_back: bool = False
    graceful: bool = False


async def index(request: web.Request) -> web.Response:
    """A page of the list of jobs, which may lag behind what happens."""
    own = edge(request)
    query = Parameters(request, _FILTERS, repeated=("status",))
    filters: dict[str, Any] = {
        "operation": query.text("operation"),
        "system": query.text("system"),
        "tag": query.text("tag"),
        # An empty one is in every name.
        "q": query.given("q") or None,
        "created_after": query.moment("created_after"),
        "created_before": query.moment("created_before"),
        "sort": query.text("sort"),
        "cursor": query.text("cursor"),
        "limit": query.integer("limit", 1, MAX_PAGE),
        "within": scope(request) or None,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    fields = wanted_fields(query, OF_LISTED)
    statuses = [JobStatus(status) for status in query.choices("status", _STATUSES)]
    try:
        page = await own.queries.jobs(caller(request).tenant, status=statuses, **given)
    except InvalidCommand as error:
        raise wrong(error.message, error.pointer.removeprefix("/")) from None
    shown = ({**item, "links": links(item["job_id"], ())} for item in page.items)
    items = [only(item, fields) for item in shown]
    return answer({"items": items, "next_cursor": page.next_cursor})


async def show(request: web.Request) -> web.Response:
    """A job as it is, or with ``?at=VERSION`` as it was."""
    own = edge(request)
    query = Parameters(request, ("at", FIELDS))
    version, fields = query.integer("at", 1, MAX_VERSION), wanted_fields(query, OF_JOB)
    job = await own.queries.job(caller(request).tenant, request.match_info["job_id"], version)
    waiting = await own.situation.waiting(job) if version is None else None
    document = job_document(job, own.clock.now(), waiting)
    return answer(only(document, fields), version=job.version)


async def progress(request: web.Request) -> web.Response:
    """How the job went over time: its status and counts at moments spread over its past."""
    own = edge(request)
    points = Parameters(request, ("points",)).integer("points", 2, MAX_POINTS)
    tenant, job_id = caller(request).tenant, request.match_info["job_id"]
    events = await own.queries.course(tenant, job_id, points or MAX_POINTS)
    return answer({"items": [progress_document(event) for event in events]})


async def adjust(request: web.Request) -> web.Response:
    """Other caps, another priority; what the body does not name stays as it is."""
    own = edge(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    wanted = checked(Adjustment, body, own.limits.json_depth)
    job_id, key = request.match_info["job_id"], idempotency_key(request)
    version = if_version(request)
    decision = await own.gateway.adjust(
        caller(request), job_id, wanted, key=key, if_version=version
    )
    return await accepted(request, decision)


async def edit(request: web.Request) -> web.Response:
    """Other bodies for items of a draft; items that are not to be worked."""
    own = edge(request)
    Parameters(request, ())
    read = partial(understood, Editing, depth=own.limits.json_depth)
    wanted: Editing = await bodies.read(request, own.limits, own.limits.named_body, read)
    job_id, key = request.match_info["job_id"], idempotency_key(request)
    version = if_version(request)
    decision = await own.gateway.edit(caller(request), job_id, wanted, key=key, if_version=version)
    return await accepted(request, decision)


def command(verb: Verb) -> Handler:
    """The handler of one command."""

    async def handle(request: web.Request) -> web.Response:
        own = edge(request)
        Parameters(request, ())
        size = own.limits.named_body if verb in _NAMING else own.limits.small_body
        read = partial(_said, verb, depth=own.limits.json_depth)
        reason, more = await bodies.read(request, own.limits, size, read)
        job_id, key = request.match_info["job_id"], idempotency_key(request)
        more = more.model_copy(update={"if_version": if_version(request)})
        if more.roll_back:
            demand(request, Permission.UNDO)
        decision = await own.gateway.command(
            caller(request), job_id, verb, reason, key=key, more=more
        )
        return await accepted(request, decision)

    return handle


def _said(verb: Verb, text: bytes, depth: int) -> tuple[str, More]:
    """The reason in a body, and what else the verb takes."""
    body = bodies.parse_optional(text)
    match verb:
        case "retry":
            retry = checked(Retry, body, depth)
            check_named(retry)
            return retry.reason, More(retry=retry.select)
        case "undo":
            undo = checked(Undo, body, depth)
            check_named(undo)
            return undo.reason, More(undo=undo.select, batch=undo.batch, force=undo.force)
        case "cancel":
            cancel = checked(Cancel, body, depth)
            return cancel.reason, More(roll_back=cancel.roll_back, graceful=cancel.graceful)
        case _:
            return checked(Reason, body, depth).reason, NOTHING_MORE
