"""Submit: new jobs, whole or in parts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Annotated

from aiohttp import web
from pydantic import Field

from api import bodies, submissions
from api.answers import answer
from api.conditions import if_version
from api.documents import JOBS, job_document
from api.edge import caller, edge
from api.models import checked
from api.parameters import Parameters, wrong
from api.preferences import wait_of, waited
from api.problems import refused
from api.projects import submitting
from api.submissions import Submission
from api.varying import vary
from domain.errors import Unavailable
from domain.job import Job
from domain.options import MAX_ITEMS
from domain.values import Value
from streams.stores.decisions import Decision

_MAX_KEY = 255
_MAX_PARTS = 1_000_000


class Seal(Value):
    """The body of a seal."""

    items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] | None = None


async def submit(request: web.Request) -> web.Response:
    """A job from a JSON body, or from streamed NDJSON with its description in the query.

    ``"draft": true`` instead of ``items`` opens a job whose items follow in parts; ``select``
    makes items of the records that a filter matches.
    """
    is_streamed = bodies.media_type(request) in bodies.NDJSON
    # What was sent is let go of before anybody waits for the job.
    decision = await (_of_lines(request) if is_streamed else _of_document(request))
    return await accepted(request, decision)


async def _of_lines(request: web.Request) -> Decision:
    own, key = edge(request), idempotency_key(request)
    query = Parameters(request, submissions.ONCE, repeated=submissions.REPEATED)
    spec = submissions.from_query(query, own.limits.json_depth)
    who = await submitting(request, spec)
    async with aclosing(bodies.lines(request, own.limits)) as blocks:
        return await own.gateway.submit(who, spec, blocks, key=key)


async def _of_document(request: web.Request) -> Decision:
    own, key = edge(request), idempotency_key(request)
    Parameters(request, ())
    read = partial(submissions.from_body, depth=own.limits.json_depth)
    wanted: Submission
    async with bodies.taken(request, own.limits, own.limits.json_body, read) as wanted:
        who = await submitting(request, wanted.spec)
        if wanted.spec.select is not None:
            return await own.gateway.submit_selected(who, wanted.spec, key=key)
        if wanted.blocks is None:
            return await own.gateway.open(who, wanted.spec, key=key)
        lines = submissions.streamed(wanted.blocks)
        return await own.gateway.submit(who, wanted.spec, lines, key=key)


async def append(request: web.Request) -> web.Response:
    """One part of a draft's items: a JSON list, or NDJSON of any length."""
    own = edge(request)
    query = Parameters(request, ("part",))
    part = query.integer("part", 0, _MAX_PARTS)
    if part is None:
        raise wrong("say which part this is: ?part=0, then 1 and so on", "part")
    job_id = request.match_info["job_id"]
    async with _lines(request) as lines:
        decision = await own.gateway.append(caller(request), job_id, part, lines)
    return answer(
        {"job_id": decision.job_id, "part": part, "version": decision.version},
        status=202,
        headers={"Location": f"{JOBS}/{decision.job_id}"},
    )


async def seal(request: web.Request) -> web.Response:
    """No more parts follow; the job starts."""
    own = edge(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    items = checked(Seal, body, own.limits.json_depth).items
    job_id = request.match_info["job_id"]
    key, version = idempotency_key(request), if_version(request)
    decision = await own.gateway.seal(caller(request), job_id, items, key=key, if_version=version)
    return await accepted(request, decision)


async def accepted(request: web.Request, decision: Decision) -> web.Response:
    """The answer to a command that was accepted: the job after it, and where it is.

    With ``Prefer: wait=N`` it is put off until the job does nothing more by itself: then it is
    200, and 202 when the time was over before.
    """
    own = edge(request)
    location = f"{JOBS}/{decision.job_id}"
    job = await _decided(request, decision, location)
    headers = {"Location": location}
    vary(request, "Prefer")
    wanted = wait_of(request)
    if wanted is not None:
        seconds = min(wanted, own.limits.wait)
        job = await waited(request, job, seconds)
        headers["Preference-Applied"] = f"wait={seconds}"
    done = wanted is not None and job.status.terminal
    if not done:
        headers["Retry-After"] = str(own.limits.retry_after)
    document = job_document(job, own.clock.now())
    return answer(document, status=200 if done else 202, headers=headers, version=job.version)


async def _decided(request: web.Request, decision: Decision, location: str) -> Job:
    """The job after a command that was accepted.

    Raises RequestRefused where it cannot be read, which says that nothing needs to be sent again
    and where to look: without a key, whoever sent it again would have a second job.
    """
    own = edge(request)
    if decision.job is not None:
        return decision.job
    try:
        return await own.queries.just_decided(caller(request).tenant, decision.job_id)
    except Unavailable as error:
        raise refused(
            503,
            error.code,
            f"the command was accepted, as version {decision.version} of job {decision.job_id}, "
            f"which cannot be read now; do not send it again, but look at {location} later",
            headers={"Location": location, "Retry-After": str(own.limits.retry_after)},
        ) from None


@asynccontextmanager
async def _lines(request: web.Request) -> AsyncGenerator[AsyncIterator[bytes], None]:
    limits = edge(request).limits
    if bodies.media_type(request) in bodies.NDJSON:
        async with aclosing(bodies.lines(request, limits)) as lines:
            yield lines
        return
    read = partial(submissions.items_from_body, depth=limits.json_depth)
    async with bodies.taken(request, limits, limits.json_body, read) as blocks:
        yield submissions.streamed(blocks)


def idempotency_key(request: web.Request) -> str | None:
    """What the client calls this request, however often it sends it; None when it does not."""
    said = request.headers.getall("Idempotency-Key", [])
    if not said:
        return None
    key = said[0]
    # Of two, whoever is on the way might go by the other one.
    if len(said) > 1 or not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise refused(
            400,
            "bad_idempotency_key",
            f"Idempotency-Key must be 1 to {_MAX_KEY} printable ASCII characters, and stand once",
        )
    return key
