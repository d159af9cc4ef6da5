"""Preferences: a client that would rather wait for a job than ask again (RFC 7240)."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from api.edge import WAITS, caller, edge, has_gone
from api.problems import RequestRefused
from domain.errors import Unavailable
from domain.events import JobStatus
from domain.job import Job
from streams.live import Overflow

_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,6})"?', re.IGNORECASE)
_MOVING = frozenset(
    {JobStatus.PENDING, JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.ROLLING_BACK}
)
_LOOK = 1.0
"""Seconds after which the job is read again, in case the hub has not told of its end, and it is
looked whether the client is still there."""


def wait_of(request: web.Request) -> int | None:
    """For how many seconds the client would wait at most; None when it would not."""
    for part in ",".join(request.headers.getall("Prefer", [])).split(","):
        found = _WAIT.fullmatch(part.partition(";")[0].strip())
        if found is not None:
            return int(found[1])
    return None


async def waited(request: web.Request, job: Job, seconds: float) -> Job:
    """The job once it does nothing more by itself, or as it is when the time is over.

    One that waits for somebody (a draft, paused, to be approved) is not waited for. Where as
    many clients wait and listen as may, this one is answered at once, and so it is where the job
    cannot be read any more: what was asked for is decided, and must not look as if it were not.
    """
    own, tenant = edge(request), caller(request).tenant
    request[WAITS] = True
    scope = asyncio.timeout(seconds)
    try:
        with own.streams.admitted(scope, tenant), own.hub.subscribe(job.id) as events:
            async with scope:
                while not has_gone(request):
                    job = await own.queries.job(tenant, job.id)
                    if job.status not in _MOVING:
                        break
                    await events.next(_LOOK)
    except (TimeoutError, RequestRefused, Overflow, Unavailable):
        return job
    return job
