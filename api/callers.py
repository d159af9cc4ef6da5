"""Callers: the three ways in which a server knows who calls.

``local``: it is bound to this machine, whose user may do everything. ``named``: a header says
who it is, which a proxy sets or an honest caller; nothing here proves it. ``proven``: each
request carries a token of a known issuer, or an API key.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import structlog
from aiohttp import web

from api.addresses import address_of
from api.edge import READING, REQUEST_ID, edge
from api.problems import CHALLENGE, RequestRefused, refused
from domain.errors import CredentialRefused
from streams.callers import Caller
from streams.identity import ApiKeys, Identity, Proofs, Tickets
from streams.identity.identity import MAX_ACTOR, is_actor
from streams.identity.tickets import ALL
from streams.rates import Rate

LOCAL: Final = Caller(tenant="local", actor="local")
ACTOR: Final = "Countermand-Actor"
"""The header in which a proxy, or an honest caller, says who calls."""
STREAMS: Final = frozenset(
    {
        "/api/v1/jobs/{job_id}/events",
        "/api/v1/events",
        "/api/v1/ws",
        "/api/v1/batch/ws/connect",
    }
)
"""The routes that take a ticket, in the query."""
TICKET: Final = "ticket"
_SCHEME: Final = "bearer "

_log = structlog.get_logger("countermand.api")


class LocalCallers:
    """All are the user of this machine, and nobody is told apart."""

    mode = "local"
    keys: ApiKeys | None = None
    tickets: Tickets | None = None

    async def identify(self, request: web.Request) -> Identity:
        """The one that there is; a name that would not be heeded is refused."""
        _heed_no_name(request, "start it with COUNTERMAND_ACTORS=named")
        return Identity(LOCAL)

    def asks_later(self, request: web.Request) -> bool:  # noqa: ARG002 - nobody is asked
        """Never."""
        return False

    async def prove(self, request: web.Request, *, token: str, ticket: str) -> Identity:  # noqa: ARG002
        """The one that there is."""
        return await self.identify(request)

    async def holds(self, identity: Identity) -> bool:  # noqa: ARG002 - nobody else is there
        """Always."""
        return True


class NamedCallers:
    """Callers are whom the header names, and may do everything."""

    mode = "named"
    keys: ApiKeys | None = None
    tickets: Tickets | None = None

    async def identify(self, request: web.Request) -> Identity:
        """Who it is; who only reads need not say."""
        said = request.headers.getall(ACTOR, [])
        if not said and request.method in READING:
            return Identity(LOCAL)
        name = said[0] if len(said) == 1 else ""
        if not is_actor(name):
            raise refused(
                400, "actor_missing", f"say who you are: {ACTOR} with 1 to {MAX_ACTOR} characters"
            )
        return Identity(Caller(tenant=LOCAL.tenant, actor=name))

    def asks_later(self, request: web.Request) -> bool:  # noqa: ARG002 - no page can say a name
        """Never."""
        return False

    async def prove(self, request: web.Request, *, token: str, ticket: str) -> Identity:  # noqa: ARG002
        """Whom the header has named."""
        return await self.identify(request)

    async def holds(self, identity: Identity) -> bool:  # noqa: ARG002 - a word needs no proof
        """Always."""
        return True


class ProvenCallers:
    """Callers show a token or a key, which says who they are, whose, and what they may do."""

    mode = "proven"

    def __init__(self, proofs: Proofs, failures: Rate | None = None) -> None:
        """``failures`` is how often an address may show what is refused."""
        self._proofs = proofs
        self._failures = failures
        self.keys: ApiKeys | None = proofs.keys
        self.tickets: Tickets | None = proofs.tickets

    async def identify(self, request: web.Request) -> Identity:
        """Whom the token or key speaks of; one that is refused goes to the log, without it."""
        _heed_no_name(request, "let the token say who calls")
        if _shows_ticket(request):
            return await self.prove(request, token="", ticket=request.query[TICKET])
        return await self.prove(request, token=_credential(request), ticket="")

    def asks_later(self, request: web.Request) -> bool:
        """Whether the first message of a WebSocket is going to tell: its handshake does not."""
        return (
            request.headers.get("Upgrade", "").lower() == "websocket"
            and "Authorization" not in request.headers
            and TICKET not in request.query
        )

    async def prove(self, request: web.Request, *, token: str, ticket: str) -> Identity:
        """Whom a token or key, or without one a ticket for what the request asks for, speaks of."""
        try:
            if token:
                return await self._proofs.identify(token)
            return await self._proofs.redeem(ticket, request.match_info.get("job_id", ALL))
        except CredentialRefused as refusal:
            _log.warning(
                "credential_refused",
                request_id=request[REQUEST_ID],
                remote=request.remote,
                reason=refusal.reason,
            )
            await self._count(request)
            raise

    async def _count(self, request: web.Request) -> None:
        """Raise RequestRefused for an address that guesses.

        Who shows what is good is let in all the same: many may be behind one address.
        """
        taken, whence = None, network_of(request.remote or "")
        if self._failures is not None:
            taken = await self._failures.take("refused", whence)
        if taken is not None and not taken.allowed:
            await edge(request).restraint.hold(f"address {whence}")
            raise refused(
                429,
                "too_many_failures",
                f"too many tokens from your address were refused; wait {taken.reset} s",
                headers={"Retry-After": str(taken.reset)},
            )

    async def holds(self, identity: Identity) -> bool:
        """Whether the token has not expired, and the key was not revoked."""
        return await self._proofs.holds(identity)


def network_of(address: str) -> str:
    """An address as failures are counted: of IPv6, all that one subscriber has."""
    found = address_of(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return address if found is None else str(found)


def _heed_no_name(request: web.Request, instead: str) -> None:
    if ACTOR in request.headers:
        raise refused(
            400,
            "actor_not_heeded",
            f"this server tells nobody by {ACTOR}; {instead}, or leave the header out",
        )


def _shows_ticket(request: web.Request) -> bool:
    """Whether a live stream is opened with a ticket, which nothing else takes."""
    resource = request.match_info.route.resource
    return (
        request.method == "GET"
        and resource is not None
        and resource.canonical in STREAMS
        and len(request.query.getall(TICKET, [])) == 1
        and "Authorization" not in request.headers
    )


def _credential(request: web.Request) -> str:
    """What follows the scheme of the one header; a token in the address would be in logs."""
    said = request.headers.getall("Authorization", [])
    if not said:
        raise _asked("say who you are")
    credential = said[0][len(_SCHEME) :].strip()
    if len(said) > 1 or not said[0].lower().startswith(_SCHEME) or not credential:
        raise _asked("the header Authorization is given once, as Bearer and a token")
    return credential


def _asked(detail: str) -> RequestRefused:
    return refused(
        401,
        "unauthenticated",
        f"{detail}: Authorization: Bearer with a token (`countermand token`) or an API key",
        headers={"WWW-Authenticate": CHALLENGE},
    )
