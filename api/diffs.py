"""Diffs: two runs compared item by item, page by page, in one stream, or counted."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from api import item_pages, rows
from api.answers import answer
from api.bodies import JSON
from api.documents import item_document
from api.edge import caller, edge
from api.negotiation import preferred
from api.parameters import MAX_VERSION, Parameters, wrong
from api.streaming import NDJSON, send
from domain.options import MAX_ITEMS
from streams.diffs import DIFFERENT, Change, Difference, Run
from streams.items import ItemView

_FORMATS = {"json": JSON, "ndjson": NDJSON}
_RUNS = ("at", "generation", "other_at", "other_generation")


async def diff(request: web.Request) -> web.StreamResponse:
    """The items that differ, or those of each ``?change=``; a JSON page, or all as NDJSON."""
    query = Parameters(request, (*_RUNS, "key", "format", "cursor", "limit"), repeated=("change",))
    form = query.choice("format", _FORMATS)
    kind = _FORMATS[form] if form else preferred(request, (JSON, NDJSON))
    chosen = query.choices("change", [change.value for change in Change])
    changes = frozenset(map(Change, chosen)) or DIFFERENT
    cursor = query.integer("cursor", 0, MAX_ITEMS)
    limits = edge(request).limits
    limit = query.integer("limit", 1, limits.max_page if kind == JSON else MAX_ITEMS)
    page = (limit or limits.page) if kind == JSON else None
    found = edge(request).queries.diff(
        caller(request).tenant,
        *_runs(request, query),
        changes,
        key=_key(query),
        after=-1 if cursor is None else cursor,
        limit=limit if page is None else page + 1,
    )
    if page is not None:
        return answer(await item_pages.page(found, page, _written))
    return await send(request, NDJSON, rows.blocks(found, _line))


async def summary(request: web.Request) -> web.Response:
    """How many items differ, and in which way; all of both runs are looked at."""
    query = Parameters(request, (*_RUNS, "key"))
    runs, key = _runs(request, query), _key(query)
    found = await edge(request).queries.diff_summary(caller(request).tenant, *runs, key=key)
    moves = [
        {"this": this.value, "other": other.value, "items": items}
        for (this, other), items in found.moves.most_common()
    ]
    changes = {change.value: found.changes[change] for change in Change}
    return answer({"changes": changes, "moves": moves})


def _runs(request: web.Request, query: Parameters) -> tuple[Run, Run]:
    path = request.match_info
    this, other = (
        Run(
            job_id,
            query.integer(f"{prefix}at", 1, MAX_VERSION),
            query.integer(f"{prefix}generation", 0, MAX_VERSION),
        )
        for job_id, prefix in ((path["job_id"], ""), (path["other"], "other_"))
    )
    return this, other


def _key(query: Parameters) -> str | None:
    key = query.given("key")
    if key is not None and not key.startswith("/"):
        raise wrong("key must be a JSON pointer into the items, as /id", "key")
    return key


def _written(difference: Difference) -> bytes:
    return orjson.dumps(difference_document(difference))


def _line(difference: Difference) -> bytes:
    return rows.line_of(difference_document(difference))


def difference_document(difference: Difference) -> dict[str, Any]:
    """An item of two runs."""
    return {
        "position": difference.position,
        "change": difference.change.value,
        "this": _shown(difference.this),
        "other": _shown(difference.other),
    }


def _shown(view: ItemView | None) -> dict[str, Any] | None:
    return None if view is None else item_document(view, payload=False)
