"""Vitals: whether the process lives, whether it takes work, and what it has counted."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import structlog
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from api.addresses import address_of
from api.answers import answer
from api.edge import basics
from api.limits import LOOPBACK_HOSTS
from api.problems import refused
from api.security import host_name
from api.varying import vary
from domain.errors import Unavailable

_log = structlog.get_logger("countermand.api")

NOT_READY = "the engine is not ready"
_OF_PROXIES = ("forwarded", "via", "x-forwarded-", "x-real-ip")
"""How the headers begin by which a proxy says that it asks for somebody else."""


async def alive(_request: web.Request) -> web.Response:
    """200 as long as the event loop turns."""
    return answer({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """200 when the engine takes work, else 503; the reasons are for this machine alone.

    ``notes`` say what slows it.
    """
    health = await basics(request).vitals.health()
    if not health.ready:
        say = _log.info if basics(request).vitals.ending else _log.warning
        say("not_ready", reasons=health.reasons)
        raise refused(503, "not_ready", told(health.reasons, _asker(request)))
    notes = {"notes": health.notes} if health.notes else {}
    return answer({"status": "ready", **notes})


async def close_at_the_end(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of ``on_response_prepare``: who keeps a connection comes in elsewhere.

    What is asked on it when the process drains would get no answer.
    """
    if basics(request).vitals.ending and response.status != HTTPStatus.SWITCHING_PROTOCOLS:
        response.headers["Connection"] = "close"
        response.force_close()


def told(reasons: Sequence[str], remote: str | None) -> str:
    """Why, to who asks from this machine; nobody elsewhere is told where our database is."""
    if not _is_here(remote or ""):
        return f"{NOT_READY}; its log says why"
    return "; ".join(reasons) or NOT_READY


def _asker(request: web.Request) -> str | None:
    """The address of who asks; None when somebody there only passes on what others ask."""
    passed_on = any(name.lower().startswith(_OF_PROXIES) for name in request.headers)
    return None if passed_on or host_name(request) not in LOOPBACK_HOSTS else request.remote


def _is_here(remote: str) -> bool:
    address = address_of(remote)
    return address is not None and address.is_loopback


async def metrics(request: web.Request) -> web.Response:
    """What was counted, as OpenMetrics for who asks for that, else as Prometheus had it before."""
    own = basics(request)
    try:
        health = await own.vitals.health()
        own.meters.ready.set(health.ready)
        own.meters.waiting.set(health.waiting)
        for act, jobs in health.retained.items():
            own.meters.retained.labels(act).set(jobs)
        if health.memory is not None:
            own.meters.remembers(health.memory)
    except Unavailable:
        own.meters.ready.set(False)
    own.meters.streams.set(len(own.streams))
    vary(request, "Accept")
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(own.meters.registry), headers={"Content-Type": kind})
