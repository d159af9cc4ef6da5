"""Items: where each item of a job stands, page by page or all of them in one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from api import rows
from api.answers import answer
from api.bodies import JSON
from api.documents import error_document, item_document
from api.edge import caller, edge
from api.negotiation import preferred
from api.parameters import Parameters
from domain.commands import MAX_ITEMS
from domain.outcomes import ItemStatus
from streams.queries import ItemView

_NDJSON = "application/x-ndjson"
_CSV = "text/csv"
_FORMATS = {"json": JSON, "ndjson": _NDJSON, "csv": _CSV}
_STATUSES = tuple(status.value for status in ItemStatus)


async def items(request: web.Request) -> web.StreamResponse:
    """A JSON page, or every item as NDJSON or CSV, by ``?format=`` or by ``Accept``.

    ``?status=`` keeps those of one status; ``?include=item`` adds what was sent.
    """
    query = Parameters(request, ("status", "format", "include", "cursor", "limit"))
    chosen = query.choice("format", _FORMATS)
    kind = _FORMATS[chosen] if chosen else preferred(request, (JSON, _NDJSON, _CSV))
    payload = query.choice("include", ("item",)) is not None
    status = query.choice("status", _STATUSES)
    wanted = None if status is None else ItemStatus(status)
    if kind == JSON:
        return await _page(request, query, wanted, payload=payload)
    views = _views(request, query, wanted, query.integer("limit", 1, MAX_ITEMS))
    if kind == _CSV:
        head, line = rows.csv_head(payload=payload), rows.csv_line(payload=payload)
        return await _send(request, "text/csv; charset=utf-8", rows.blocks(views, line, head))
    return await _send(request, _NDJSON, rows.blocks(views, rows.json_line(payload=payload)))


async def errors(request: web.Request) -> web.Response:
    """The failed items, grouped by code and by how their messages look."""
    Parameters(request, ())
    own, job_id = edge(request), request.match_info["job_id"]
    groups = await own.queries.errors(caller(request).tenant, job_id)
    return answer({"items": [error_document(group) for group in groups]})


async def _page(
    request: web.Request, query: Parameters, status: ItemStatus | None, *, payload: bool
) -> web.Response:
    limits = edge(request).limits
    limit = query.integer("limit", 1, limits.max_page) or limits.page
    async with aclosing(_views(request, query, status, limit + 1)) as views:
        found = [view async for view in views]
    shown = [item_document(view, payload=payload) for view in found[:limit]]
    following = str(found[limit - 1].position) if len(found) > limit else None
    return answer({"items": shown, "next_cursor": following})


def _views(
    request: web.Request, query: Parameters, status: ItemStatus | None, limit: int | None
) -> AsyncGenerator[ItemView, None]:
    """The items behind the cursor, which is the position of the last one seen."""
    cursor = query.integer("cursor", 0, MAX_ITEMS)
    return edge(request).queries.items(
        caller(request).tenant,
        request.match_info["job_id"],
        status=status,
        after=-1 if cursor is None else cursor,
        limit=limit,
    )


async def _send(
    request: web.Request, content_type: str, blocks: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Stream blocks to a client that reads them; one that does not is cut off."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    async with aclosing(blocks):
        first = await anext(blocks)  # an unknown job must be told before the answer begins
        await response.prepare(request)
        await _write(request, response, first)
        async for block in blocks:
            await _write(request, response, block)
    return response


async def _write(request: web.Request, response: web.StreamResponse, block: bytes) -> None:
    async with asyncio.timeout(edge(request).limits.write_wait):
        await response.write(block)
