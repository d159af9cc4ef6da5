"""Plans: what a dry run has found, and the job that does it for good."""

from __future__ import annotations

from aiohttp import web

from api import bodies
from api.answers import answer
from api.documents import plan_document
from api.edge import caller, edge
from api.models import checked
from api.parameters import Parameters
from api.submit import accepted, idempotency_key
from domain.options import Digest
from domain.values import Value


class Application(Value):
    """The body of an apply; ``digest`` is that of the plan as the caller has seen it."""

    digest: Digest | None = None


async def show(request: web.Request) -> web.Response:
    """The plan of a finished dry run, with the records that are not the same any more."""
    own = edge(request)
    Parameters(request, ())
    plan = await own.plans.plan(caller(request).tenant, request.match_info["job_id"])
    return answer(plan_document(plan))


async def apply(request: web.Request) -> web.Response:
    """A new job with the plan's items, which refuses when a record has changed since."""
    own, who, key = edge(request), caller(request), idempotency_key(request)
    Parameters(request, ())
    body = await bodies.read_optional(request, own.limits)
    digest = checked(Application, body, own.limits.json_depth).digest
    job_id = request.match_info["job_id"]
    spec = await own.plans.to_apply(who.tenant, job_id, digest)
    decision = await own.gateway.submit(who, spec, own.plans.lines(who.tenant, job_id), key=key)
    return await accepted(request, decision)
