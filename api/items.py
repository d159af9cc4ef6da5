"""Items: where each item of a job stands, page by page or all of them in one stream."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import orjson
from aiohttp import web

from api import item_pages, rows
from api.answers import answer
from api.bodies import JSON
from api.documents import error_document, item_document
from api.edge import caller, edge
from api.fields import FIELDS, OF_ITEM, only, wanted_fields
from api.negotiation import preferred
from api.parameters import MAX_ID, Parameters, chosen, wrong
from api.streaming import CSV, NDJSON, send
from domain.issue_summary import IssueSummary
from domain.options import MAX_ITEMS
from domain.outcomes import ItemStatus
from streams.items import ItemView, Wanted
from streams.stores.survey import RecordName

_FORMATS = {"json": JSON, "ndjson": NDJSON, "csv": CSV, "items": NDJSON}
_UNATTEMPTED = "unattempted"
STATUSES = (*(status.value for status in ItemStatus), _UNATTEMPTED)
_RECORD = re.compile(r"(?P<table>[^/]{1,100})/(?P<id>[0-9]{1,19})")


async def items(request: web.Request) -> web.StreamResponse:
    """A JSON page, or every item as NDJSON or CSV, by ``?format=`` or by ``Accept``.

    ``?status=``, ``?code=``, ``?record=`` and ``?key=`` keep those that meet each of them;
    ``?fields=`` tells only these of each, ``?include=item`` adds what was sent, and
    ``?format=items`` is that alone, as it was sent.
    """
    query = Parameters(
        request,
        ("code", "record", "key", "format", "include", "cursor", "limit", FIELDS),
        repeated=("status",),
    )
    form = query.choice("format", _FORMATS)
    kind = _FORMATS[form] if form else preferred(request, (JSON, NDJSON, CSV))
    payload = query.choice("include", ("item",)) is not None
    cursor = query.integer("cursor", 0, MAX_ITEMS)
    fields = wanted_fields(query, OF_ITEM)
    if fields is not None and (kind == CSV or form == "items"):
        raise wrong("fields are for JSON and NDJSON; leave them out", FIELDS)
    wanted = await _wanted(request, query)
    if kind == JSON:
        limits = edge(request).limits
        limit = query.integer("limit", 1, limits.max_page) or limits.page
        views = _views(request, wanted, cursor, limit + 1, payload=payload)
        return await page(views, limit, fields, payload=payload)
    bare = form == "items"
    limit_of_all = query.integer("limit", 1, MAX_ITEMS)
    views = _views(request, wanted, cursor, limit_of_all, payload=payload or bare)
    if kind == CSV:
        head, line = rows.csv_head(payload=payload), rows.csv_line(payload=payload)
        blocks = rows.blocks(views, line, head, size=rows.sent_size)
        return await send(request, "text/csv; charset=utf-8", blocks)
    if bare:
        return await send(request, NDJSON, rows.sent_blocks(views))
    line = rows.json_line(fields, payload=payload)
    return await send(request, NDJSON, rows.blocks(views, line, size=rows.sent_size))


async def _wanted(request: web.Request, query: Parameters) -> Wanted:
    """The filters; those that no item can meet are refused, with what is possible."""
    statuses = query.choices("status", STATUSES)
    code = query.text("code")
    if code is not None:
        own, job_id = edge(request), request.match_info["job_id"]
        chosen("code", code, await own.queries.codes(caller(request).tenant, job_id))
    return Wanted(
        statuses=frozenset(ItemStatus(status) for status in statuses if status != _UNATTEMPTED),
        unattempted=_UNATTEMPTED in statuses,
        code=code,
        record=_record(request, query),
        key=query.given("key"),
    )


def _record(request: web.Request, query: Parameters) -> RecordName | None:
    text = query.text("record")
    if text is None:
        return None
    found = _RECORD.fullmatch(text)
    if found is None or int(found["id"]) > MAX_ID:
        raise wrong("record must be a table and an id, as annotations/17", "record")
    tables = edge(request).registry.tables
    if found["table"] not in tables:
        names = ", ".join(sorted(tables)) or "none"
        raise wrong(f"there is no table of records {found['table']!r}; possible: {names}", "record")
    return RecordName(found["table"], int(found["id"]))


async def errors(request: web.Request) -> web.Response:
    """The failed items, grouped by code and by how their messages look."""
    Parameters(request, ())
    own, job_id = edge(request), request.match_info["job_id"]
    groups = await own.queries.errors(caller(request).tenant, job_id)
    return answer({"items": [error_document(group) for group in groups]})


async def issues(request: web.Request) -> web.Response:
    """What an operation that validates has said of the items, by rule and severity."""
    Parameters(request, ())
    summary = IssueSummary()
    async with aclosing(_views(request, Wanted(), None, None, payload=False)) as views:
        async for view in views:
            if view.status is not ItemStatus.PENDING:
                summary.add(view.result, view.score)
    return answer(summary.document())


def _writing(fields: frozenset[str] | None, *, payload: bool) -> Callable[[ItemView], bytes]:
    """How a view becomes an item of a page."""
    return lambda view: orjson.dumps(only(item_document(view, payload=payload), fields))


async def page(
    found: AsyncGenerator[ItemView, None],
    limit: int,
    fields: frozenset[str] | None,
    *,
    payload: bool,
) -> web.Response:
    """The items that are found, one more of them than the page holds."""
    document = await item_pages.page(
        found, limit, _writing(fields, payload=payload), size=rows.sent_size
    )
    return answer(document)


def _views(
    request: web.Request, wanted: Wanted, cursor: int | None, limit: int | None, *, payload: bool
) -> AsyncGenerator[ItemView, None]:
    """The items behind the cursor, which is the position of the last one seen."""
    return edge(request).queries.items(
        caller(request).tenant,
        request.match_info["job_id"],
        wanted,
        after=-1 if cursor is None else cursor,
        limit=limit,
        payload=payload,
    )
