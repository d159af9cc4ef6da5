"""Me: who the server takes the caller for."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from api.answers import answer
from api.edge import IDENTITY, edge
from api.parameters import Parameters


async def show(request: web.Request) -> web.Response:
    """Tenant, actor and permissions, and how the server knows who calls."""
    Parameters(request, ())
    identity = request[IDENTITY]
    caller, ends = identity.caller, identity.expires_at
    return answer(
        {
            "mode": edge(request).callers.mode,
            "tenant": caller.tenant,
            "actor": caller.actor,
            "permissions": sorted(permission.value for permission in caller.permissions),
            "expires_at": None if ends is None else datetime.fromtimestamp(ends, UTC).isoformat(),
        }
    )
