"""The child process of every kind of server, on an inherited socket.

The supervisor (:mod:`streams.supervisor`) starts it by :mod:`api.process`, with descriptors that
it hands down.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from api.app import create_app, create_health_app
from api.callers import LocalCallers, NamedCallers, ProvenCallers
from api.edge import Services
from api.limits import LOOPBACK_HOSTS, Limits
from api.ports import Callers
from api.server import serving
from api.unmatched import unmatched
from api.vitals import NOT_READY
from domain.errors import (
    CountermandError,
    DataDirectoryUnusable,
    PluginInvalid,
    SettingsInvalid,
    Unavailable,
)
from streams.bootstrap import Engine, embedded
from streams.bootstrap.pacing import rates_of
from streams.bootstrap.proofs import proofs_of
from streams.bootstrap.sending import webhooks_of
from streams.clock import SystemClock, TimeOrderedIds
from streams.defaults import LOG_LEVEL
from streams.logs import configure
from streams.rates import Rate
from streams.roles import Role
from streams.settings import Settings, check_callers, load, unknown
from streams.supervised import TOLD, Inherited, end_within, run
from streams.supervisor import CHILD_MISCONFIGURED, CHILD_UNAVAILABLE, EXIT_FAILED
from streams.vitals import Vitals

CLOSING_SECONDS = 5.0
"""What there is to do beside the drain when a process ends."""
WAITING_SECONDS = 3.0
"""For who is being answered that the engine waits, when it no longer does."""
YOUNG_OBJECTS = 50_000
"""A chunk of a thousand items makes some ten thousand objects; none of them is in a cycle."""


async def serve(
    role: Role,
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    hurried: asyncio.Event,
) -> None:
    """Run until cancelled; then drain and return."""
    async with (
        _application(role, settings, listener, ready) as (app, vitals),
        serving(app, listener, drain=settings.drain),
    ):
        gc.freeze()
        ready()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as end:
            if role.serves_callers and TOLD in end.args:
                await _leave(vitals, settings.leave, hurried)
            raise
        finally:
            # Callers have one drain, and the handlers another one.
            end_within(2 * settings.drain + CLOSING_SECONDS)


async def _leave(vitals: Vitals, seconds: float, hurried: asyncio.Event) -> None:
    """Say that callers should go elsewhere, and serve them until balancers have seen it.

    Who is sent here a moment after the last look would find nobody, or be broken off. Before it
    was ready nobody is sent here.
    """
    if not vitals.starting:
        vitals.ending = "it was told to end"
        # Not by a timeout within this task, which was cancelled: Python 3.11 takes its end for
        # another cancellation.
        waiting = asyncio.ensure_future(hurried.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()


@contextlib.asynccontextmanager
async def _waiting(
    limits: Limits, listener: socket.socket, ready: Callable[[], None], vitals: Vitals
) -> AsyncIterator[None]:
    """Answer in the place of an embedded engine that cannot start yet: 503, and why.

    Its process counts as one that has started.
    """
    app = _health(vitals, Role.SERVE, limits)
    app.middlewares.append(_not_yet)
    # A descriptor of its own: that is closed in the end, and who waits at the other one stays.
    async with serving(app, listener.dup(), drain=WAITING_SECONDS):
        ready()
        yield


@web.middleware
async def _not_yet(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever an engine that waits does not serve is there later."""
    if request.match_info.handler is unmatched:
        raise Unavailable(NOT_READY)
    return await handler(request)


@contextlib.asynccontextmanager
async def _application(
    role: Role, settings: Settings, listener: socket.socket, ready: Callable[[], None]
) -> AsyncIterator[tuple[web.Application, Vitals]]:
    """What the process serves of its work under way, and how it is."""
    limits = Limits(hosts=LOOPBACK_HOSTS | settings.exposed_names, quotas=settings.quota_table)
    if role is Role.SERVE:
        waiting = partial(_waiting, limits, listener, ready)
        async with embedded(settings, meanwhile=waiting) as engine:
            yield _edge(engine, role, settings, limits), engine.vitals
        return
    from streams.bootstrap import scaled

    match role:
        case Role.API:
            async with scaled.api(settings) as engine:
                yield _edge(engine, role, settings, limits), engine.vitals
        case Role.COORDINATOR:
            async with scaled.coordinator(settings) as vitals:
                yield _health(vitals, role, limits), vitals
        case Role.WORKER:
            async with scaled.worker(settings) as vitals:
                yield _health(vitals, role, limits), vitals


def _edge(engine: Engine, role: Role, settings: Settings, limits: Limits) -> web.Application:
    engine.vitals.metrics.runs_as(role)
    calls, failures = rates_of(settings, engine, role)
    services = Services(
        gateway=engine.gateway,
        queries=engine.queries,
        hub=engine.hub,
        tail=engine.tail,
        broadcasts=engine.broadcasts,
        situation=engine.situation,
        messaging=engine.messaging,
        vitals=engine.vitals,
        registry=engine.registry,
        plans=engine.plans,
        trail=engine.trail,
        retention=engine.retention,
        webhooks=webhooks_of(settings, engine),
        annotations=engine.annotations,
    )
    return create_app(
        services,
        clock=engine.clock,
        ids=TimeOrderedIds(),
        metrics=engine.vitals.metrics.registry,
        limits=limits,
        callers=_callers(settings, engine, failures),
        rate=calls if settings.actors == "proven" else None,
        tracing=engine.tracing,
    )


def _callers(settings: Settings, engine: Engine, failures: Rate | None) -> Callers:
    match settings.actors:
        case "proven":
            return ProvenCallers(proofs_of(settings, engine), failures)
        case "named":
            return NamedCallers()
        case "local":
            return LocalCallers()


def _health(vitals: Vitals, role: Role, limits: Limits) -> web.Application:
    vitals.metrics.runs_as(role)
    return create_health_app(
        vitals,
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        metrics=vitals.metrics.registry,
        limits=limits,
    )


def main(arguments: list[str]) -> int:
    """Run the process with ROLE LISTENER LOCK READY LIFE; returns its exit code."""
    # Until the settings say how: whatever goes wrong before is told by the same rules.
    configure(LOG_LEVEL)
    return exit_code_of(partial(_run, arguments))


def exit_code_of(work: Callable[[], None]) -> int:
    """Run; what is nobody's fault is said in words.

    All else is an entry of the log with where it was: Python's own traceback would repeat the row
    that a database refuses.
    """
    log = structlog.get_logger("countermand")
    try:
        work()
    except (DataDirectoryUnusable, PluginInvalid, SettingsInvalid) as error:
        return _refused(log, error)
    except Unavailable as error:
        # It went away while the process was starting, or crashed what cannot be started again.
        log.error("ended", reason=error.message, remedy="the process is started again")
        return CHILD_UNAVAILABLE
    except Exception:
        log.critical("uncaught", exc_info=True)
        return EXIT_FAILED
    return 0


def _run(arguments: list[str]) -> None:
    settings = load()
    configure(settings.log_level)
    role = Role(arguments[0])
    check_callers(settings, role)
    log = structlog.get_logger("countermand")
    warn_of_unknown(log, os.environ)
    if role.serves_callers:
        _say_who_calls(log, settings)
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    listener, lock, ready, life = map(int, arguments[1:])
    run(
        partial(serve, role, settings),
        Inherited(listener=listener, lock=lock, ready=ready, life=life),
    )


def warn_of_unknown(log: structlog.stdlib.BoundLogger, names: Iterable[str]) -> None:
    """What was meant to protect something, and was written otherwise, would be ignored unseen."""
    for name, meant in unknown(names).items():
        remedy = f"did you mean {meant}?" if meant else "docs/running.md lists all settings"
        log.warning("unknown_setting", name=name, remedy=remedy)


def _say_who_calls(log: structlog.stdlib.BoundLogger, settings: Settings) -> None:
    """How callers are known; loudly where names are served and nobody must prove who calls."""
    if settings.actors == "proven":
        log.info("callers", mode=settings.actors, said="each call needs a token or an API key")
        return
    said = "whoever reaches the port may do everything"
    log.info("callers", mode=settings.actors, said=f"nobody proves who calls: {said}")
    if settings.exposed_names:
        log.warning(
            "open_to_others",
            host=settings.host,
            port=settings.port,
            names=sorted(settings.exposed_names),
            reason=f"callers need not prove who they are: {said}",
            remedy="set COUNTERMAND_ACTORS=proven, or let a proxy on this machine ask who calls",
        )


def _refused(log: structlog.stdlib.BoundLogger, error: CountermandError) -> int:
    log.error("cannot_start", reason=error.message)
    # Where nobody can be told, the exit code tells it all the same.
    with contextlib.suppress(OSError):
        print(f"countermand: {error.message}", file=sys.stderr)  # noqa: T201 - before any log
    return CHILD_MISCONFIGURED
