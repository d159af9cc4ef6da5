"""Me: who the server takes the caller for."""

from __future__ import annotations

from aiohttp import web

from api.answers import answer
from api.edge import IDENTITY, edge
from api.moments import shown
from api.parameters import Parameters
from streams.callers import Caller


async def show(request: web.Request) -> web.Response:
    """Tenant, actor and permissions, and how the server knows who calls."""
    Parameters(request, ())
    identity = request[IDENTITY]
    caller = identity.caller
    return answer(
        {
            "mode": edge(request).callers.mode,
            "tenant": caller.tenant,
            "actor": caller.actor,
            "permissions": sorted(permission.value for permission in caller.permissions),
            "projects": _projects(caller),
            "expires_at": shown(identity.expires_at),
        }
    )


def _projects(caller: Caller) -> dict[str, list[str]]:
    """What is allowed besides, by the project for whose jobs it is."""
    found: dict[str, list[str]] = {}
    for project, permission in sorted(caller.in_projects):
        found.setdefault(project, []).append(permission.value)
    return found
