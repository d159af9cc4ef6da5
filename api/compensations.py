"""Compensations: which effects outside of the database an undo has taken back, and which not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from api.answers import answer
from api.edge import caller, edge
from api.parameters import Parameters
from domain.compensation import Stage
from domain.options import MAX_ITEMS
from domain.outcomes import Conflicted, Failed
from streams.stores.compensations import CompensationView

_STAGES = tuple(stage.value for stage in Stage)


async def index(request: web.Request) -> web.Response:
    """A page of the items whose compensation was begun, by position; ``?stage=`` keeps some.

    The cursor is the position of the last one seen.
    """
    own = edge(request)
    query = Parameters(request, ("cursor", "limit"), repeated=("stage",))
    stages = [Stage(text) for text in query.choices("stage", _STAGES)] or list(Stage)
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    cursor = query.integer("cursor", 0, MAX_ITEMS)
    found = await own.queries.compensations(
        caller(request).tenant,
        request.match_info["job_id"],
        stages,
        after=-1 if cursor is None else cursor,
        limit=limit + 1,
    )
    following = str(found[limit - 1].tried.position) if len(found) > limit else None
    return answer({"items": [*map(_document, found[:limit])], "next_cursor": following})


def _document(view: CompensationView) -> dict[str, Any]:
    tried = view.tried
    return {
        "position": tried.position,
        "stage": tried.stage.value,
        "generation": tried.generation,
        "attempts": tried.attempts,
        "error": _error(tried.result),
        "at": datetime.fromtimestamp(view.at, UTC).isoformat(),
    }


def _error(result: object) -> dict[str, Any] | None:
    match result:
        case Failed():
            return _fault(result.code, result.message, result.pointer, result.retryable)
        case Conflicted(record, by, reason):
            message = f"{record} was {reason}" + (f" by {by}" if by else "")
            return _fault("conflict", message, record, False)
        case _:
            return None


def _fault(code: str, message: str, pointer: str, retryable: bool) -> dict[str, Any]:
    return {"code": code, "message": message, "pointer": pointer, "retryable": retryable}
