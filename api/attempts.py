"""Attempts: one item with all that has become of it, earlier attempts and undos included."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from aiohttp import web

from api.answers import answer
from api.documents import item_document
from api.edge import caller, edge
from api.parameters import Parameters
from api.problems import refused
from streams.attempts import Attempt
from streams.items import ALL, fault_of


async def show(request: web.Request) -> web.Response:
    """An item as it stands, with every word that a chunk has said of it, the first one first.

    ``bodies`` are what was sent and, after it, each edit.
    """
    Parameters(request, ())
    queries, tenant = edge(request).queries, caller(request).tenant
    job_id, position = request.match_info["job_id"], int(request.match_info["position"])
    views = queries.items(tenant, job_id, ALL, after=position - 1, limit=1)
    async with aclosing(views):
        view = await anext(views, None)
    if view is None or view.position != position:
        raise refused(404, "item_not_found", f"job {job_id} has no item {position}")
    past = await queries.item_past(tenant, job_id, position)
    document = item_document(view, payload=True)
    document["bodies"] = past.bodies
    document["attempts"] = [_document(attempt) for attempt in past.attempts]
    return answer(document)


def _document(attempt: Attempt) -> dict[str, Any]:
    entry = attempt.entry
    fault = fault_of(entry)
    return {
        "chunk": attempt.chunk,
        "cause": attempt.cause.value,
        "at": attempt.at.isoformat(),
        "status": None if entry.status is None else entry.status.value,
        "result": entry.result,
        "error": None if fault is None else asdict(fault),
        "duration_ms": entry.duration_ms,
    }
