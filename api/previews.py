"""Previews: what an undo of a job would do now."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from api.answers import answer
from api.edge import caller, edge
from api.models import checked
from api.parameters import Parameters, integer
from domain.commands import UndoSelection
from domain.contradictions import check_undo
from domain.options import MAX_ITEMS
from streams.previewing import Page, WantedUndo

_PARTS = ("item", "chunk", "record")


async def show(request: web.Request) -> web.Response:
    """How many items would come back, and a page of those that would not, with the reason.

    Those whose effects outside would be compensated are on the page as well.

    The cursor is the position of the last one seen.
    """
    own = edge(request)
    query = Parameters(request, ("cursor", "limit", "force"), repeated=_PARTS)
    select = checked(UndoSelection, _selection(query), own.limits.json_depth)
    check_undo(select, force=False, reason="")
    wanted = WantedUndo(select=select, force=query.choice("force", ("true", "false")) == "true")
    cursor = query.integer("cursor", 0, MAX_ITEMS)
    page = Page(
        limit=query.integer("limit", 1, own.limits.max_page) or own.limits.page,
        after=-1 if cursor is None else cursor,
    )
    job_id = request.match_info["job_id"]
    tenant = caller(request).tenant
    found = await own.queries.undo_preview(tenant, job_id, page, wanted)
    return answer(
        {
            "job_id": job_id,
            "version": found.version,
            "direction": found.direction.value,
            "exact": found.exact,
            "items": found.items,
            "restored": found.restored,
            "conflict": found.conflict,
            "failed": found.failed,
            "outside": list(found.outside),
            "compensated": found.compensated,
            "compensations": found.compensations,
            "obstructions": [asdict(one) for one in found.obstructions],
            "next_cursor": str(found.notes[-1].position) if found.more else None,
        }
    )


def _selection(query: Parameters) -> dict[str, list[int] | list[str]]:
    """The part that the query names, in the words of an undo's body."""
    return {
        "items": [integer("item", text, 0, MAX_ITEMS) for text in query.texts("item")],
        "chunks": [integer("chunk", text, 0, MAX_ITEMS) for text in query.texts("chunk")],
        "records": query.texts("record"),
    }
