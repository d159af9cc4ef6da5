"""Audits: the chain of a job's stored events, and whether it is as it was written."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.answers import answer
from api.edge import caller, edge
from api.parameters import MAX_VERSION, Parameters

TOLD: Final = 100
"""Findings that are told; more are counted."""


async def hashes(request: web.Request) -> web.Response:
    """The hash of each stored event, by its version, as the chain has it."""
    query = Parameters(request, ("after", "limit"))
    after = query.integer("after", 0, MAX_VERSION) or 0
    own = edge(request)
    limit = query.integer("limit", 1, own.limits.max_page) or own.limits.page
    job_id = request.match_info["job_id"]
    found = await own.trail.hashes(caller(request).tenant, job_id, after, limit + 1)
    return answer(
        {
            "job_id": job_id,
            "items": [{"version": version, "hash": hashed} for version, hashed in found[:limit]],
            "next_after": found[limit - 1][0] if len(found) > limit else None,
        }
    )


async def verify(request: web.Request) -> web.Response:
    """Look at every stored byte of a job: its events, what was sent, and what came of it."""
    Parameters(request, ())
    job_id = request.match_info["job_id"]
    report, signed = await edge(request).trail.verify(caller(request).tenant, job_id)
    return answer(
        {
            "job_id": job_id,
            "sound": report.sound,
            "signed": signed,
            "events": report.events,
            "parts": report.parts,
            "outcomes": report.outcomes,
            "findings": [
                {"kind": each.kind.value, "message": each.message, "version": each.version}
                for each in report.findings[:TOLD]
            ],
            "more": report.more + len(report.findings[TOLD:]),
        }
    )
