"""Middleware: what happens around every handler, the outermost first."""

from __future__ import annotations

from typing import NoReturn

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bound_contextvars

from api import problems
from api.conditions import tagged
from api.edge import REFUSED, REQUEST_ID, WAITS, basics, give_id, has_gone
from api.packing import coding_for, packed
from api.rules import admit, is_open, route_of
from api.security import guard
from domain.errors import CountermandError
from streams.tracing import TRACEPARENT, Kind, Value

_log = structlog.get_logger("countermand.api")


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, and count the answer."""
    own = basics(request)
    # What a client takes to send its body says nothing of us.
    began = [own.clock.monotonic()]
    request.content.on_eof(lambda: began.append(own.clock.monotonic()))
    with bound_contextvars(request_id=give_id(request)):
        response = await _traced(request, handler)
    # Who calls too often is told so when it is their turn (api.restraint), however soon we knew.
    restrained = response.status == 429
    untimed = restrained or WAITS in request or not isinstance(response, web.Response)
    own.meters.answered(
        request.method,
        route_of(request),
        response.status,
        None if untimed else own.clock.monotonic() - began[-1],
    )
    return response


async def _traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Within the trace that the caller names, or one that begins here; machines have none."""
    tracing, route = basics(request).tracing, route_of(request)
    if not tracing.is_on or is_open(request):
        return await handler(request)
    said: dict[str, Value] = {"http.request.method": request.method, "http.route": route}
    said |= {"countermand.request_id": request[REQUEST_ID]}
    parent = request.headers.get(TRACEPARENT, "")
    with tracing.span(
        f"{request.method} {route}", Kind.SERVER, parent=parent, begins=True, said=said
    ) as span:
        response = await handler(request)
        span.tell("http.response.status_code", response.status)
        if response.status >= 500:
            span.failed()
    return response


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem details; what was not foreseen goes to the log in full."""
    try:
        return await handler(request)
    except problems.RequestRefused as refusal:
        problem = refusal.problem
    except CountermandError as error:
        problem = problems.of_error(error, basics(request).limits.retry_after)
        if problem.status == 500:
            _failed(request, error)
    except web.HTTPException as error:
        problem = problems.of_http(error)
    except web.RequestPayloadError:
        problem = problems.Problem(400, "bad_request", "The body's transfer coding is broken.")
    except Exception as error:
        if isinstance(error, ConnectionError) and has_gone(request):
            raise  # there is nobody to answer
        _failed(request, error)
        problem = problems.internal()
    if request.writer.output_size > 0:
        _cut(request)
    return problems.response(problem, request[REQUEST_ID])


@web.middleware
async def finished(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tag what is whole, leave out what the client has already, and pack the rest."""
    response = await handler(request)
    if not isinstance(response, web.Response):
        return response
    is_known = tagged(request, response)
    coding = coding_for(request, response, basics(request).limits)
    if is_known:
        return web.Response(status=304, headers={"ETag": response.headers["ETag"]})
    return response if coding is None else await packed(response, coding)


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes from another site or under another name."""
    guard(request, basics(request).limits.hosts)
    return await handler(request)


@web.middleware
async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who calls, and refuse who may not call the route.

    Who was refused before their body was asked for is refused for that: each is counted once.
    """
    if REFUSED in request:
        raise request[REFUSED]
    await admit(request)
    return await handler(request)


STACK = (observed, finished, answered, guarded, admitted)


def _cut(request: web.Request) -> NoReturn:
    """The answer is under way: a broken connection tells the client that it is not whole."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionAbortedError("the answer could not be finished")


def _failed(request: web.Request, error: Exception) -> None:
    _log.error(
        "request_failed",
        request_id=request[REQUEST_ID],
        method=request.method,
        route=route_of(request),
        exc_info=error,
    )
