"""Keys: how services say who they are, made and taken back by who administers a tenant."""

from __future__ import annotations

import re
from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import AwareDatetime, Field

from api import bodies
from api.answers import answer
from api.edge import REQUEST_ID, caller, edge
from api.models import Nothing, checked
from api.moments import shown
from api.parameters import Parameters, wrong
from api.problems import refused
from domain.values import Value
from streams.identity import ApiKeys, NewKey
from streams.identity.api_keys import MAX_OVERLAP
from streams.stores.api_keys import KeyRow

_log = structlog.get_logger("countermand.api")

KEYS = "/api/v1/keys"
MAX_ROLES = 20
_KEY_ID = re.compile(r"[0-9a-f]{32}")


class WantedKey(Value):
    """The body of a new key."""

    name: Annotated[str, Field(max_length=100)]
    roles: Annotated[tuple[Annotated[str, Field(max_length=150)], ...], Field(max_length=MAX_ROLES)]
    expires_at: AwareDatetime | None = None


class Rotation(Value):
    """The body of a rotation: for how many seconds the old secret goes on."""

    overlap: Annotated[float, Field(ge=0, le=MAX_OVERLAP, allow_inf_nan=False)] = 0.0


async def create(request: web.Request) -> web.Response:
    """A new key; the answer is the one place where it is shown."""
    keys = _keys(request)
    Parameters(request, ())
    limits = edge(request).limits
    wanted = checked(WantedKey, await bodies.read_optional(request, limits), limits.json_depth)
    ends = None if wanted.expires_at is None else wanted.expires_at.timestamp()
    made = await keys.create(caller(request), wanted.name, wanted.roles, ends)
    _note(request, "key_created", made.row)
    return answer(_shown(made), status=201, headers={"Location": f"{KEYS}/{made.row.key_id}"})


async def index(request: web.Request) -> web.Response:
    """The tenant's keys, without their secrets; revoked and expired ones included."""
    keys, limits = _keys(request), edge(request).limits
    query = Parameters(request, ("cursor", "limit"))
    limit, after = query.integer("limit", 1, limits.max_page) or limits.page, query.given("cursor")
    if after is not None and not _KEY_ID.fullmatch(after):
        raise wrong("cursor must be that of the page before", "cursor")
    rows = await keys.page(caller(request).tenant, after or "", limit + 1)
    following = rows[limit - 1].key_id if len(rows) > limit else None
    return answer({"items": [document(row) for row in rows[:limit]], "next_cursor": following})


async def rotate(request: web.Request) -> web.Response:
    """Another secret; the answer is the one place where it is shown."""
    keys = _keys(request)
    Parameters(request, ())
    limits = edge(request).limits
    wanted = checked(Rotation, await bodies.read_optional(request, limits), limits.json_depth)
    made = await keys.rotate(caller(request), request.match_info["key_id"], wanted.overlap)
    _note(request, "key_rotated", made.row)
    return answer(_shown(made))


async def revoke(request: web.Request) -> web.Response:
    """The key is refused from now on."""
    keys = _keys(request)
    Parameters(request, ())
    limits = edge(request).limits
    checked(Nothing, await bodies.read_optional(request, limits), limits.json_depth)
    row = await keys.revoke(caller(request), request.match_info["key_id"])
    _note(request, "key_revoked", row)
    return answer(document(row))


def document(row: KeyRow) -> dict[str, Any]:
    """A key as it is listed."""
    return {
        "key_id": row.key_id,
        "name": row.name,
        "roles": row.roles.split(),
        "created_at": shown(row.created_at),
        "created_by": row.created_by,
        "expires_at": shown(row.expires_at),
        "rotated_at": shown(row.rotated_at),
        "last_used_at": shown(row.last_used_at),
        "revoked_at": shown(row.revoked_at),
    }


def _note(request: web.Request, event: str, row: KeyRow) -> None:
    """Who may do what is changed by these alone, so the log has who did it."""
    _log.info(
        event,
        request_id=request[REQUEST_ID],
        tenant=row.tenant,
        actor=caller(request).actor,
        key_id=row.key_id,
        name=row.name,
        roles=row.roles,
    )


def _shown(made: NewKey) -> dict[str, Any]:
    return {**document(made.row), "key": made.text}


def _keys(request: web.Request) -> ApiKeys:
    keys = edge(request).callers.keys
    if keys is None:
        raise refused(
            409,
            "keys_not_asked_for",
            "this server asks nobody for a key; start it with COUNTERMAND_ACTORS=proven",
        )
    return keys
