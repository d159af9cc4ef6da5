"""App: the routes, and what is around them. Nothing happens before ``create_app``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from aiohttp import web
from prometheus_client import CollectorRegistry

from api import (
    attempts,
    audits,
    batches,
    compensations,
    contract,
    diffs,
    events,
    installation,
    items,
    jobs,
    keys,
    me,
    messaging,
    operations,
    pages,
    plans,
    previews,
    records,
    retention,
    shared_limits,
    submit,
    tickets,
    vitals,
    webhooks,
    websocket,
)
from api.admission import Bodies, Streams, Uploads
from api.callers import LocalCallers
from api.connections import Connections
from api.dashboard import serving as dashboard
from api.documents import EVENTS, SOCKET
from api.edge import BASICS, EDGE, Basics, Edge, Services
from api.limits import Limits
from api.meters import Meters
from api.middleware import STACK
from api.ports import Callers, Verb, Vitals
from api.restraint import Restraint
from api.rules import KNOWN, OPEN, RULES, TABLE, Route, Rule, insisting, needs
from api.security import add_headers
from api.systems.annotations.routes import ROUTES as ANNOTATIONS
from api.unmatched import PATTERN, expectation, unmatched
from domain.permissions import Permission
from domain.ports import Clock, Ids
from streams.rates import Rate
from streams.tracing import OFF, Tracing

_JOB = "/api/v1/jobs/{job_id:[0-9A-Za-z_-]{1,64}}"

_LIMITS = "/api/v1/limits"
_RETENTION = "/api/v1/retention"
_RULE = f"{_RETENTION}/{{tenant:[^/]{{1,100}}}}/{{kind:[^/]{{1,200}}}}"
_DIFF = f"{_JOB}/diff/{{other:[0-9A-Za-z_-]{{1,64}}}}"
_KEY = f"{keys.KEYS}/{{key_id:[0-9a-f]{{32}}}}"
_WEBHOOK = f"{webhooks.WEBHOOKS}/{{webhook_id:[0-9a-f]{{32}}}}"
_RECORD = "/api/v1/records/{table}/{record_id:[0-9]{1,19}}"

_VIEW, _SUBMIT = needs(Permission.VIEW), needs(Permission.SUBMIT)
_ADMINISTER, _OPERATE = needs(Permission.ADMINISTER), needs(Permission.OPERATE)
_LATE = replace(_VIEW, late=True)
_RUN = needs(Permission.SUBMIT, Permission.RUN_DESTRUCTIVE)
_READ = needs(Permission.VIEW, Permission.EXPORT)
_LISTED, _TAKEN = replace(_VIEW, narrowed=True), replace(_RUN, narrowed=True)

_VERBS: Mapping[Verb, Rule] = {
    "pause": _SUBMIT,
    "resume": _SUBMIT,
    "cancel": needs(Permission.SUBMIT, Permission.UNDO),
    "retry": _RUN,
    "undo": needs(Permission.UNDO),
    "approve": needs(Permission.APPROVE),
    "reject": needs(Permission.APPROVE),
    "hold": _ADMINISTER,
    "release": _ADMINISTER,
    "shred": _ADMINISTER,
    "archive": _ADMINISTER,
}

ROUTES: tuple[Route, ...] = (
    Route("POST", "/api/v1/jobs", submit.submit, _TAKEN),
    Route("GET", "/api/v1/jobs", jobs.index, _LISTED),
    Route("GET", _JOB, jobs.show, _VIEW),
    Route("POST", f"{_JOB}/items", submit.append, _RUN),
    Route("POST", f"{_JOB}/seal", submit.seal, insisting(_RUN)),
    *(
        Route("POST", f"{_JOB}/{verb}", jobs.command(verb), insisting(rule))
        for verb, rule in _VERBS.items()
    ),
    Route("GET", f"{_JOB}/plan", plans.show, _VIEW),
    Route("POST", f"{_JOB}/apply", plans.apply, _RUN),
    Route("POST", f"{_JOB}/adjust", jobs.adjust, insisting(_SUBMIT)),
    Route("POST", f"{_JOB}/edit", jobs.edit, insisting(_RUN)),
    Route("GET", f"{_JOB}/events", events.events, _VIEW),
    Route("GET", f"{_JOB}/hashes", audits.hashes, _VIEW),
    Route("GET", f"{_JOB}/verification", audits.verify, _VIEW),
    Route("POST", f"{_JOB}/ticket", tickets.issue, _VIEW),
    Route("GET", EVENTS, events.all_events, _LISTED),
    Route("POST", f"{EVENTS}/ticket", tickets.issue_for_all, _LISTED),
    Route("GET", SOCKET, websocket.connect, _LATE),
    Route("GET", "/api/v1/connections", websocket.statistics, _ADMINISTER),
    Route("GET", f"{_JOB}/progress", jobs.progress, _VIEW),
    Route("GET", f"{_JOB}/items", items.items, _READ),
    Route("GET", f"{_JOB}/items/{{position:[0-9]{{1,8}}}}", attempts.show, _VIEW),
    Route("GET", f"{_JOB}/errors", items.errors, _VIEW),
    Route("GET", f"{_JOB}/issues", items.issues, _VIEW),
    Route("GET", _DIFF, diffs.diff, _READ),
    Route("GET", f"{_DIFF}/summary", diffs.summary, _VIEW),
    Route("GET", f"{_RECORD}/history", records.history, _VIEW),
    Route("GET", f"{_RECORD}/blame", records.blame, _VIEW),
    Route("GET", f"{_JOB}/undo-preview", previews.show, _VIEW),
    Route("GET", f"{_JOB}/compensations", compensations.index, _VIEW),
    Route("POST", "/api/v1/batches", batches.submit, _RUN),
    Route("GET", "/api/v1/operations", operations.operations, _LISTED),
    Route("GET", "/api/v1/me", me.show, KNOWN),
    Route("POST", keys.KEYS, keys.create, _ADMINISTER),
    Route("GET", keys.KEYS, keys.index, _ADMINISTER),
    Route("POST", f"{_KEY}/rotate", keys.rotate, _ADMINISTER),
    Route("POST", f"{_KEY}/revoke", keys.revoke, _ADMINISTER),
    Route("POST", webhooks.WEBHOOKS, webhooks.create, _ADMINISTER),
    Route("GET", webhooks.WEBHOOKS, webhooks.index, _ADMINISTER),
    Route("GET", _WEBHOOK, webhooks.show, _ADMINISTER),
    Route("PATCH", _WEBHOOK, webhooks.change, _ADMINISTER),
    Route("DELETE", _WEBHOOK, webhooks.delete, _ADMINISTER),
    Route("POST", f"{_WEBHOOK}/rotate", webhooks.rotate, _ADMINISTER),
    Route("GET", f"{_WEBHOOK}/deliveries", webhooks.deliveries, _ADMINISTER),
    Route("GET", f"{_WEBHOOK}/attempts", webhooks.attempts, _ADMINISTER),
    Route("POST", f"{_WEBHOOK}/replay", webhooks.replay, _ADMINISTER),
    Route("GET", "/api/v1/workers", installation.workers, _OPERATE),
    Route("GET", "/api/v1/tenants", installation.weights, _OPERATE),
    Route("POST", "/api/v1/tenants/{tenant:[^/]{1,100}}", installation.weigh, _OPERATE),
    Route("GET", _RETENTION, retention.rules, _OPERATE),
    Route("GET", f"{_RETENTION}/changes", retention.changes, _OPERATE),
    Route("POST", _RETENTION, retention.set_rule, _OPERATE),
    Route("DELETE", _RULE, retention.remove, _OPERATE),
    Route("GET", _LIMITS, shared_limits.index, _OPERATE),
    Route("POST", f"{_LIMITS}/{{name:[^/]{{1,100}}}}", shared_limits.change, _OPERATE),
    Route("GET", messaging.PARTITIONS, messaging.partitions, _OPERATE),
    Route("GET", messaging.LETTERS, messaging.letters, _OPERATE),
    Route("POST", messaging.REDRIVE, messaging.redrive, _OPERATE),
    *ANNOTATIONS,
    Route("GET", "/api/v1/openapi.json", contract.openapi, OPEN),
    Route("GET", "/", dashboard.page, OPEN),
    Route("GET", dashboard.FILE, dashboard.file, OPEN),
    Route("GET", pages.DOCS, contract.docs, OPEN),
    Route("GET", pages.STYLE, contract.style, OPEN),
    Route("GET", "/problems", contract.problems, OPEN),
    Route("GET", "/health/live", vitals.alive, OPEN),
    Route("GET", "/health/ready", vitals.ready, OPEN),
    Route("GET", "/metrics", vitals.metrics, OPEN),
    Route("*", PATTERN, unmatched, replace(OPEN, form=True)),
)


HEALTH_ROUTES = tuple(route for route in ROUTES if route.handler.__module__ == vitals.__name__)
"""What every kind of process answers, whether or not it serves jobs."""


def create_app(
    services: Services,
    *,
    clock: Clock,
    ids: Ids,
    metrics: CollectorRegistry,
    limits: Limits | None = None,
    callers: Callers | None = None,
    rate: Rate | None = None,
    tracing: Tracing = OFF,
) -> web.Application:
    """The HTTP edge over running services; serve it with :func:`api.server.serving`.

    ``metrics`` is what ``/metrics`` shows; it takes one application at most. Without
    ``callers`` all are the user of this machine, and without ``rate`` they call as they like.
    """
    chosen = limits or Limits()
    own = Edge(
        gateway=services.gateway,
        queries=services.queries,
        hub=services.hub,
        tail=services.tail,
        broadcasts=services.broadcasts,
        situation=services.situation,
        messaging=services.messaging,
        vitals=services.vitals,
        registry=services.registry,
        plans=services.plans,
        trail=services.trail,
        retention=services.retention,
        webhooks=services.webhooks,
        annotations=services.annotations,
        callers=callers or LocalCallers(),
        rate=rate,
        restraint=Restraint(clock),
        clock=clock,
        ids=ids,
        limits=chosen,
        streams=Streams(chosen),
        connections=Connections(chosen),
        uploads=Uploads(chosen),
        bodies=Bodies(chosen),
        meters=Meters(metrics),
        tracing=tracing,
    )
    app = _routed(own, ROUTES)
    app[EDGE] = own
    app.on_cleanup.append(_end_files)
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
        tracing=OFF,
    )
    return _routed(own, (*HEALTH_ROUTES, ROUTES[-1]))


def _routed(own: Basics, routes: tuple[Route, ...]) -> web.Application:
    app = web.Application(middlewares=STACK)
    app[BASICS] = own
    app[TABLE] = routes
    app[RULES] = {
        app.router.add_route(
            route.method, route.path, route.handler, expect_handler=expectation
        ): route.rule
        for route in _with_heads(routes)
    }
    app.on_response_prepare.append(add_headers)
    app.on_response_prepare.append(vitals.close_at_the_end)
    app.on_shutdown.append(_end_streams)
    return app


def _with_heads(routes: Iterable[Route]) -> Iterator[Route]:
    """HEAD is answered wherever GET is (RFC 9110, section 9.3.2); WebSockets are opened by GET."""
    for route in routes:
        yield route
        if route.method == "GET" and not route.rule.late:
            yield route._replace(method="HEAD")


async def _end_files(app: web.Application) -> None:
    """No file is read or put together any more, as long as that can still be written."""
    platform = app[EDGE].annotations
    await platform.files.close()
    await platform.exports.close()


async def _end_streams(app: web.Application) -> None:
    app[BASICS].streams.close()
