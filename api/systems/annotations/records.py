"""Records: projects and what belongs to them, one by one."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from api import bodies
from api.answers import answer
from api.conditions import if_version
from api.edge import caller, edge
from api.models import checked, understood
from api.parameters import Parameters
from api.systems.annotations.asked import listed, number
from api.systems.annotations.wire import Deleting, changed_body, new_body, shown, shown_page
from domain.systems.annotations.kinds import PROJECTS, TEXTS, Kind

PROJECTS_PATH = "/api/v1/projects"


async def projects(request: web.Request) -> web.Response:
    """The projects that the caller may see."""
    wanted, limit, offset = listed(request, PROJECTS)
    rows = await edge(request).annotations.projects(
        caller(request), wanted, limit=limit, offset=offset
    )
    return answer(shown_page(PROJECTS, rows, limit=limit, offset=offset))


async def create_project(request: web.Request) -> web.Response:
    """A new project; who makes it administers it."""
    fields = await _fields(request, PROJECTS, new=True)
    row = await edge(request).annotations.create_project(caller(request), fields)
    location = {"Location": f"{PROJECTS_PATH}/{row['id']}"}
    return answer(shown(PROJECTS, row), status=201, headers=location, version=row["version"])


def index(kind: Kind) -> Handler:
    """The handler that lists records of a project."""

    async def handle(request: web.Request) -> web.Response:
        project_id = number(request, "project_id")
        wanted, limit, offset = listed(request, kind)
        rows = await edge(request).annotations.page(
            caller(request), project_id, kind, wanted, limit=limit, offset=offset
        )
        return answer(shown_page(kind, rows, limit=limit, offset=offset))

    return handle


def create(kind: Kind) -> Handler:
    """The handler that makes one."""

    async def handle(request: web.Request) -> web.Response:
        fields = await _fields(request, kind, new=True)
        project_id = number(request, "project_id")
        row = await edge(request).annotations.create(caller(request), project_id, kind, fields)
        location = {"Location": f"{PROJECTS_PATH}/{project_id}/{kind.path}/{row['id']}"}
        return answer(shown(kind, row), status=201, headers=location, version=row["version"])

    return handle


def show(kind: Kind) -> Handler:
    """The handler that shows one."""

    async def handle(request: web.Request) -> web.Response:
        Parameters(request, ())
        row = await edge(request).annotations.record(caller(request), *_place(request, kind))
        return answer(shown(kind, row), version=row["version"])

    return handle


def change(kind: Kind) -> Handler:
    """The handler that changes one."""

    async def handle(request: web.Request) -> web.Response:
        fields = await _fields(request, kind, new=False)
        said = fields.pop("version", None)
        version = if_version(request) or said
        row = await edge(request).annotations.change(
            caller(request), *_place(request, kind), fields, version=version
        )
        return answer(shown(kind, row), version=row["version"])

    return handle


def delete(kind: Kind) -> Handler:
    """The handler that deletes one."""

    async def handle(request: web.Request) -> web.Response:
        Parameters(request, ())
        limits = edge(request).limits
        body = await bodies.read_optional(request, limits)
        said = checked(Deleting, body, limits.json_depth).version
        project_id, _, key = _place(request, kind)
        version = if_version(request) or said
        await edge(request).annotations.delete(
            caller(request), project_id, kind, key, version=version
        )
        return answer({kind.key: key, "deleted": True})

    return handle


def _place(request: web.Request, kind: Kind) -> tuple[int, Kind, int]:
    """Which record the path names."""
    project_id = number(request, "project_id")
    key = project_id if kind is PROJECTS else number(request, f"{kind.one}_id")
    return project_id, kind, key


async def _fields(request: web.Request, kind: Kind, *, new: bool) -> dict[str, Any]:
    """What the body says, field by field; a text may be as large as a job."""
    Parameters(request, ())
    limits = edge(request).limits
    size = limits.json_body if kind is TEXTS else limits.small_body
    model = new_body(kind) if new else changed_body(kind)

    def understand(text: bytes) -> dict[str, Any]:
        return understood(model, text, limits.json_depth).model_dump(exclude_unset=True)

    return await bodies.read(request, limits, size, understand)
