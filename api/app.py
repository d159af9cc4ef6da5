"""App: the routes, and what is around them. Nothing happens before ``create_app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry

from api import (
    attempts,
    batches,
    diffs,
    events,
    installation,
    items,
    jobs,
    operations,
    plans,
    previews,
    records,
    submit,
    vitals,
)
from api.admission import Streams
from api.edge import BASICS, EDGE, Basics, Edge, Services
from api.limits import Limits
from api.meters import Meters
from api.middleware import STACK
from api.ports import Vitals
from api.security import add_headers
from api.unmatched import PATTERN, expectation, unmatched
from domain.ports import Clock, Ids

Route: TypeAlias = tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]

_JOB = "/api/v1/jobs/{job_id:[0-9A-Za-z_-]{1,64}}"

_DIFF = f"{_JOB}/diff/{{other:[0-9A-Za-z_-]{{1,64}}}}"
_RECORD = "/api/v1/records/{table}/{record_id:[0-9]{1,19}}"

ROUTES: tuple[Route, ...] = (
    ("POST", "/api/v1/jobs", submit.submit),
    ("GET", "/api/v1/jobs", jobs.index),
    ("GET", _JOB, jobs.show),
    ("POST", f"{_JOB}/items", submit.append),
    ("POST", f"{_JOB}/seal", submit.seal),
    *(("POST", f"{_JOB}/{verb}", jobs.command(verb)) for verb in jobs.VERBS),
    ("GET", f"{_JOB}/plan", plans.show),
    ("POST", f"{_JOB}/apply", plans.apply),
    ("POST", f"{_JOB}/adjust", jobs.adjust),
    ("POST", f"{_JOB}/edit", jobs.edit),
    ("GET", f"{_JOB}/events", events.events),
    ("GET", f"{_JOB}/progress", jobs.progress),
    ("GET", f"{_JOB}/items", items.items),
    ("GET", f"{_JOB}/items/{{position:[0-9]{{1,8}}}}", attempts.show),
    ("GET", f"{_JOB}/errors", items.errors),
    ("GET", _DIFF, diffs.diff),
    ("GET", f"{_DIFF}/summary", diffs.summary),
    ("GET", f"{_RECORD}/history", records.history),
    ("GET", f"{_RECORD}/blame", records.blame),
    ("GET", f"{_JOB}/undo-preview", previews.show),
    ("POST", "/api/v1/batches", batches.submit),
    ("GET", "/api/v1/operations", operations.operations),
    ("GET", "/api/v1/workers", installation.workers),
    ("GET", "/api/v1/tenants", installation.weights),
    ("POST", "/api/v1/tenants/{tenant:[^/]{1,100}}", installation.weigh),
    ("GET", "/health/live", vitals.alive),
    ("GET", "/health/ready", vitals.ready),
    ("GET", "/metrics", vitals.metrics),
    ("*", PATTERN, unmatched),
)


HEALTH_ROUTES = tuple(route for route in ROUTES if route[2].__module__ == vitals.__name__)
"""What every kind of process answers, whether or not it serves jobs."""


def create_app(
    services: Services,
    *,
    clock: Clock,
    ids: Ids,
    metrics: CollectorRegistry,
    limits: Limits | None = None,
    named_actors: bool = False,
) -> web.Application:
    """The HTTP edge over running services; serve it with :func:`api.server.serving`.

    ``metrics`` is what ``/metrics`` shows; it takes one application at most.
    """
    chosen = limits or Limits()
    own = Edge(
        gateway=services.gateway,
        queries=services.queries,
        hub=services.hub,
        situation=services.situation,
        vitals=services.vitals,
        registry=services.registry,
        plans=services.plans,
        named_actors=named_actors,
        clock=clock,
        ids=ids,
        limits=chosen,
        streams=Streams(chosen),
        meters=Meters(metrics),
    )
    app = _routed(own, ROUTES)
    app[EDGE] = own
    return app


def create_health_app(
    process: Vitals,
    *,
    clock: Clock,
    ids: Ids,
    metrics: CollectorRegistry,
    limits: Limits | None = None,
) -> web.Application:
    """What a process without jobs of its own serves: health and metrics."""
    chosen = limits or Limits()
    own = Basics(
        vitals=process,
        clock=clock,
        ids=ids,
        limits=chosen,
        streams=Streams(chosen),
        meters=Meters(metrics),
    )
    return _routed(own, (*HEALTH_ROUTES, ("*", PATTERN, unmatched)))


def _routed(own: Basics, routes: Iterable[Route]) -> web.Application:
    app = web.Application(middlewares=STACK)
    app[BASICS] = own
    for method, path, handler in routes:
        app.router.add_route(method, path, handler, expect_handler=expectation)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    return app


async def _end_streams(app: web.Application) -> None:
    app[BASICS].streams.close()
