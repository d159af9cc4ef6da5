"""WebSocket: one connection, from the handshake to its close code.

One task does what messages ask for, another hands on what happens and looks now and then
whether the client may still be here. Whichever ends first ends the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from api import ws_messages as says
from api.answers import answer
from api.callers import TICKET, network_of
from api.connections import Counts
from api.conversation import Conversation
from api.edge import IDENTITY, REQUEST_ID, caller, edge
from api.interests import Interests
from api.parameters import Parameters
from api.problems import RequestRefused, refused
from api.rules import admit_as
from api.standing import Standing
from api.ws_socket import CloseCode, Closing, Gone, Socket, closing_of, problem_of
from domain.errors import CountermandError

_log = structlog.get_logger("countermand.api")


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a first message says; without a credential it is of something else."""

    credential: says.Credential | None
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Manner:
    """A vocabulary: how its first message is read, and who speaks it from there on."""

    introduced: Callable[[bytes, int], Introduction]
    talk: type[Conversation]


def _introduction(text: bytes, depth: int) -> Introduction:
    said = says.understood(text, depth)
    known = said.data if isinstance(said, says.Authenticate) else None
    return Introduction(known, said.data.ref)


OURS = Manner(_introduction, Conversation)
"""That of :mod:`api.ws_messages`."""


async def connect(request: web.Request) -> web.StreamResponse:
    """A WebSocket; who has shown neither token nor ticket says first who it is."""
    return await speaking(request, OURS)


async def speaking(request: web.Request, manner: Manner) -> web.StreamResponse:
    """A connection, from the handshake on, in one of the vocabularies."""
    own = edge(request)
    Parameters(request, (TICKET,))
    if not web.WebSocketResponse().can_prepare(request):
        raise refused(
            426,
            "upgrade_required",
            "this is for WebSockets (RFC 6455, version 13); /api/v1/events has the same events",
            headers={
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
            },
        )
    counts = Counts("", own.clock.now(), Interests(own.limits.ws_topics))
    socket = Socket(own.limits, own.meters, counts)
    try:
        if IDENTITY in request:
            await _admitted(request, socket, counts, manner)
        else:
            with own.connections.unknown(network_of(request.remote or "")):
                await socket.open(request)
                ref = await _introduced(request, socket, manner)
            await _admitted(request, socket, counts, manner, ref)
    except Closing as closing:
        await socket.close(closing)
    except Gone:
        pass
    return socket.response


async def statistics(request: web.Request) -> web.Response:
    """The live connections that the tenant has at this process."""
    own, tenant = edge(request), caller(request).tenant
    Parameters(request, ())
    found = own.connections.of(tenant)
    return answer(
        {
            "websockets": len(found),
            "streams": own.streams.of(tenant),
            "topics": sum(len(one.interests) for one in found),
            "received": sum(one.received for one in found),
            "sent": sum(one.sent for one in found),
            "overflows": sum(one.overflows for one in found),
        }
    )


async def _introduced(request: web.Request, socket: Socket, manner: Manner) -> str:
    """Have the first message say who it is; returns its ref. Raises Closing.

    All of it together has its time: what else the client sends, as pings, gives it no more.
    """
    try:
        async with asyncio.timeout(edge(request).limits.ws_hello):
            return await _first_said(request, socket, manner)
    except TimeoutError:
        raise Closing(CloseCode.TIMEOUT, "nobody has said in time who it is") from None


async def _first_said(request: web.Request, socket: Socket, manner: Manner) -> str:
    own, ref = edge(request), ""
    try:
        said = manner.introduced(await socket.receive(), own.limits.json_depth)
        ref, shown = said.ref, said.credential
        if shown is None:
            raise refused(401, "unauthenticated", "say first who you are: authenticate")
        token, ticket = shown.token or "", shown.ticket or ""
        identity = await own.callers.prove(request, token=token, ticket=ticket)
        await admit_as(request, identity)
    except (RequestRefused, CountermandError) as error:
        problem = problem_of(error, own.limits)
        await socket.refuse(problem, ref)
        raise closing_of(problem, known=False) from None
    return ref


async def _admitted(
    request: web.Request, socket: Socket, counts: Counts, manner: Manner, ref: str = ""
) -> None:
    """Serve a client that is known, if there is a place for it."""
    own, identity = edge(request), request[IDENTITY]
    counts.tenant = identity.caller.tenant
    scope = asyncio.timeout(None)
    try:
        with own.streams.admitted(scope, counts.tenant), own.connections.opened(counts):
            if not socket.response.prepared:
                await socket.open(request)
            async with scope:
                talk = manner.talk(own, socket, counts, Standing(request), identity.caller)
                await talk.greet(identity, ref)
                await _first_of(talk)
    except TimeoutError:
        raise Closing(CloseCode.GOING_AWAY, "the server shuts down; connect again") from None
    except (RequestRefused, CountermandError) as error:
        if not socket.response.prepared:
            raise
        problem = problem_of(error, own.limits)
        _log.info("websocket_ended", request_id=request[REQUEST_ID], reason=str(error))
        await socket.refuse(problem)
        raise closing_of(problem, known=True) from None


async def _first_of(talk: Conversation) -> None:
    """Listen and hand on until one of them ends; the others are ended, and the error is raised."""
    all_that = talk.listen(), talk.hand_on(), talk.accompany()
    tasks = [asyncio.ensure_future(each) for each in all_that]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
