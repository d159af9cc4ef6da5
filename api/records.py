"""Records: what happened to one, and who wrote what it has now."""

from __future__ import annotations

from aiohttp import web

from api.answers import answer
from api.edge import caller, edge
from api.parameters import MAX_ID, MAX_VERSION, Parameters
from api.problems import refused
from api.record_documents import standing_document, version_document

PAGE = 20
MAX_PAGE = 100


async def history(request: web.Request) -> web.Response:
    """The versions of a record, the latest first; ``?include=values`` adds what each has left."""
    query = Parameters(request, ("include", "cursor", "limit"))
    whole = query.choice("include", ("values",)) is not None
    cursor = query.integer("cursor", 1, MAX_VERSION)
    limit = query.integer("limit", 1, MAX_PAGE) or PAGE
    table, record_id = _record(request)
    versions, following = await edge(request).queries.history(
        caller(request).tenant, table, record_id, cursor=cursor, limit=limit
    )
    items = [version_document(version, values=whole) for version in versions]
    return answer({"items": items, "next_cursor": None if following is None else str(following)})


async def blame(request: web.Request) -> web.Response:
    """Who wrote the present value of each column of a record."""
    Parameters(request, ())
    table, record_id = _record(request)
    found = await edge(request).queries.blame(caller(request).tenant, table, record_id)
    return answer({"table": table, "id": record_id, **standing_document(found)})


def _record(request: web.Request) -> tuple[str, int]:
    """Table and id of the path; no record has an id of more than 64 bits."""
    table, text = request.match_info["table"], request.match_info["record_id"]
    if int(text) > MAX_ID:
        raise refused(404, "record_not_found", f"no record has the id {text}; check it")
    return table, int(text)
