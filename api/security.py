"""Security: under which names and from which pages a server is spoken to; what every answer says.

Any page that the user opens can send requests to 127.0.0.1. Its requests carry an Origin
that is not ours, and one whose name was pointed here (DNS rebinding) a Host that is not.
The same holds for a server that was opened to other machines, under the names given for it.
Who calls is another question, for :mod:`api.callers`. No page of another origin is ever let
read an answer: there are no headers of CORS, so browsers keep it from them.
"""

from __future__ import annotations

import re

from aiohttp import web

from api.addresses import address_of
from api.bodies import FORM, JSON, NDJSON, media_type
from api.edge import EDGE, OWN_HEADERS, REQUEST_ID, TAKEN, basics
from api.packing import CODINGS, coding_of
from api.problems import RequestRefused, refused
from api.rules import takes_form
from api.varying import varying

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:/@\[\]\s]+)(:\d{1,5})?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = frozenset({"application/x-www-form-urlencoded", FORM, "text/plain"})
_OF_PROGRAMS = ("Authorization", "Idempotency-Key")
_OWN_SITES = frozenset({"same-origin", "none"})

HEADERS = {
    # Of no effect over plain HTTP; behind a proxy with TLS it keeps browsers there.
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Server": "countermand",
}
"""On every answer, errors and live streams included; jobs change, so none is kept."""
PAGE_POLICY = f"{HEADERS['Content-Security-Policy']}; style-src 'self'"
"""What pages may: have the server's own style, and nothing else."""
SCRIPT_POLICY = (
    f"{PAGE_POLICY}; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the dashboard may besides: scripts of the server's own, which speak to it alone, and in
which no text can become markup or code."""


def guard(request: web.Request, hosts: frozenset[str]) -> None:
    """Raise RequestRefused for a request that comes from another site or under another name."""
    name = host_name(request)
    if name not in hosts and not _is_address_of_health(request, name):
        raise _forbidden(
            "host_refused", f"this server answers only to {', '.join(sorted(hosts))} in Host"
        )
    # A proxy with TLS before us speaks plain HTTP to us, and its pages are of https.
    own = {f"{scheme}://{request.host.lower()}" for scheme in (request.scheme, "https")}
    if any(origin.lower() not in own for origin in request.headers.getall("Origin", [])):
        raise _forbidden("origin_refused", "requests from pages of another origin are refused")
    if request.method in _SAFE_METHODS:
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_SITES:
        raise _forbidden("origin_refused", "requests from pages of another site are refused")
    _check_body(request)


def host_name(request: web.Request) -> str:
    """The name under which a request has come, without a port; empty where it says none, or two."""
    named = request.headers.getall("Host", [])
    match = _HOST.fullmatch(named[0]) if len(named) == 1 else None
    return "" if match is None else match["name"].lower()


def _is_address_of_health(request: web.Request, name: str) -> bool:
    """Whether it is the address at which this was asked of a process that serves its health alone.

    Whoever counts what such processes say finds them by their addresses, which nobody knows
    beforehand; a page whose name was pointed here has that name for its host.
    """
    if EDGE in request.app or request.transport is None:
        return False
    asked_at = address_of(str(request.transport.get_extra_info("sockname")[0]))
    return asked_at is not None and address_of(name.strip("[]")) == asked_at


def _check_body(request: web.Request) -> None:
    """Only JSON and NDJSON, or nothing: a form of another site can send none of these."""
    kind = media_type(request)
    known = kind == JSON or kind in NDJSON
    if kind == FORM and takes_form(request):
        _check_form(request)
    elif kind in _FORMS or (request.body_exists and not known):
        raise refused(
            415,
            "unsupported_media_type",
            f"send Content-Type: {JSON} or application/x-ndjson",
            headers={"Accept": f"{JSON}, application/x-ndjson"},
        )
    if coding_of(request) not in ("", *CODINGS):
        raise refused(
            415,
            "unsupported_media_type",
            f"send the body as it is, or with Content-Encoding: {' or '.join(CODINGS)}",
            headers={"Accept-Encoding": ", ".join(CODINGS)},
        )


def _check_form(request: web.Request) -> None:
    """What only a program can send must be there: a page of another site has forms as well."""
    if not any(name in request.headers for name in _OF_PROGRAMS):
        raise _forbidden(
            "origin_refused",
            f"send a form along with one of the headers {' or '.join(_OF_PROGRAMS)}: a page of "
            "another site could send it without",
        )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of ``on_response_prepare``."""
    headers = response.headers
    for name, value in HEADERS.items():
        headers[name] = value
    if response.content_type == "text/html":
        headers["Content-Security-Policy"] = PAGE_POLICY
    headers.update(request.get(OWN_HEADERS, {}))
    if varies := varying(request):
        headers["Vary"] = varies
    taken = request.get(TAKEN)
    if taken is not None:
        headers["RateLimit-Limit"] = str(taken.limit)
        headers["RateLimit-Remaining"] = str(taken.remaining)
        headers["RateLimit-Reset"] = str(taken.reset)
        headers["RateLimit-Policy"] = f"{taken.limit};w={taken.window}"
    headers["X-Request-Id"] = request.get(REQUEST_ID) or basics(request).ids.new()


def _forbidden(code: str, detail: str) -> RequestRefused:
    return refused(403, code, detail)
