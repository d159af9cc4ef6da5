"""Server: the application on a listening socket, within limits of headers and time.

What aiohttp refuses before there is a request (broken HTTP, headers too long) never
reaches a middleware; here it is answered like every other error.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import http_exceptions, web

from api import problems
from api.edge import BASICS, Basics
from api.security import HEADERS

_log = structlog.get_logger("countermand.api")


@asynccontextmanager
async def serving(
    app: web.Application, listener: socket.socket, *, drain: float
) -> AsyncIterator[None]:
    """Serve ``app`` on a bound socket while the context lasts.

    Leaving it ends the live streams at once and waits ``drain`` seconds at most for
    other requests under way.
    """
    # asyncio does this only for sockets whose protocol number was given; small answers and
    # events would each wait 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    runner = EdgeRunner(app, shutdown_timeout=drain)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


class EdgeRunner(web.AppRunner):
    """Runs the application within the limits that it was made with."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        limits = app[BASICS].limits
        bounds: dict[str, Any] = {
            "keepalive_timeout": limits.keepalive,
            "max_line_size": limits.header_line,
            "max_field_size": limits.header_line,
            "max_headers": limits.headers,
            "lingering_time": limits.linger,
            # What is packed is unpacked by api.packing, which does not let it grow at will.
            "auto_decompress": False,
            "access_log": None,
        }
        super().__init__(app, **options, **bounds)
        self._bounds = bounds

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _Server(plain, self.app[BASICS], self._bounds)


class _Server(web.Server):
    def __init__(self, plain: web.Server, edge: Basics, bounds: dict[str, Any]) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory)
        self._edge = edge
        self._bounds = bounds

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._edge, self._bounds)


class _Connection(web.RequestHandler):
    __slots__ = ("_edge",)

    def __init__(self, server: _Server, edge: Basics, bounds: dict[str, Any]) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **bounds)
        self._edge = edge

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote the request
    ) -> web.StreamResponse:
        """The answer to what no handler has seen."""
        if request.writer.output_size > 0:
            raise ConnectionAbortedError("the answer could not be finished")
        request_id = self._edge.ids.new()
        if status == problems.INTERNAL:
            if request.transport is not None:  # else the client has gone, which is no fault
                _log.error("request_failed", request_id=request_id, exc_info=exc)
            problem = problems.internal()
        else:
            problem = _broken(exc)
        response = problems.response(problem, request_id)
        response.headers.update({**HEADERS, "X-Request-Id": request_id})
        response.force_close()
        return response


def _broken(error: BaseException | None) -> problems.Problem:
    if isinstance(error, http_exceptions.LineTooLong):
        return problems.Problem(
            431, problems.CODES[431], "the request line or a header is too long"
        )
    return problems.Problem(400, problems.CODES[400], "this is no HTTP/1.1 request")
