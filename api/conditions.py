"""Conditions: entity tags of answers, and requests that hold only for what was seen (RFC 9110).

The tag of a job is ``"VERSION-DIGEST"``: the digest is of the whole answer, figures of
progress included, so that 304 is said of nothing that has changed; the version alone is what
a command may insist on, which is decided where the command is. Any other answer has a digest.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from aiohttp import web

from api.edge import READING
from api.parameters import MAX_VERSION
from api.problems import refused
from domain.errors import VersionMismatch

_TAG = re.compile(r'(?:W/)?"(\d{1,10})(?:-[0-9a-f]{16})?"')
_EACH = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGGED = frozenset(
    {
        "application/json",
        "image/svg+xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/javascript",
    }
)


def tag_of(body: bytes, version: int | None = None) -> str:
    """The entity tag of an answer; ``version`` is that of the job that it shows."""
    digest = blake2b(body, digest_size=8).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


def if_version(request: web.Request) -> int | None:
    """The version on which a command insists by ``If-Match``; None when it does not.

    Raises VersionMismatch for a tag that is none of a job, so that it matches nothing.
    """
    said = request.headers.getall("If-Match", [])
    if not said or said == ["*"]:
        return None
    if len(said) > 1 or len(_EACH.findall(said[0])) > 1:
        raise refused(400, "bad_condition", "If-Match takes one tag here: the ETag of what you saw")
    found = _TAG.fullmatch(said[0].strip())
    if found is None or not 1 <= int(found[1]) <= MAX_VERSION:
        raise VersionMismatch("the tag in If-Match is none of what is here; take its ETag")
    return int(found[1])


def tagged(request: web.Request, response: web.Response) -> bool:
    """Give an answer to a GET or HEAD its tag; returns whether the client has it already."""
    if (
        request.method not in READING
        or response.status != 200
        or response.content_type not in _TAGGED
        or not isinstance(response.body, bytes)
    ):
        return False
    return has(request, response.headers.setdefault("ETag", tag_of(response.body)))


def has(request: web.Request, tag: str) -> bool:
    """Whether ``If-None-Match`` has the tag; weak ones are as good for this."""
    said = ",".join(request.headers.getall("If-None-Match", []))
    return said.strip() == "*" or tag.strip('"') in _EACH.findall(said)
