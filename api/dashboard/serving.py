"""Serving: the page and its files, which a browser may keep for ever.

The files stand under a path with the digest of all of them together. A module imports another
one by a relative path, so a page has all its files from one release, and asks for each once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from posixpath import dirname, join, normpath
from typing import Final

from aiohttp import web

from api.edge import OWN_HEADERS
from api.problems import refused
from api.security import SCRIPT_POLICY

PAGE: Final = "index.html"
FILE: Final = "/dashboard/{digest:[0-9a-f]{32}}/{path:[0-9A-Za-z._/-]{1,100}}"

_HERE: Final = "@files"
"""Stands in the page for the path under which its files are."""
_MODULES: Final = "@modules"
"""Stands for the links by which a browser fetches modules at once, not one behind another."""
_FIRST: Final = ("app.js", "pages/jobs.js", "pages/job.js")
"""Modules whose own ones are fetched so; who goes to another page gets those of it then."""
_IMPORTED: Final = re.compile(rb"""from "(\.[^"]+)";""")
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_ASKED_EACH_TIME: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": SCRIPT_POLICY,
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Site:
    """The page with the files of its release."""

    digest: str
    page: bytes
    files: dict[str, Asset]


@cache
def site() -> Site:
    """All of it, read once."""
    folder = files("api.dashboard").joinpath("site")
    found = dict(sorted(_found(folder, "")))
    named = b"".join(path.encode() + b"\0" + asset.body for path, asset in found.items())
    digest = blake2b(named, digest_size=16).hexdigest()
    page = folder.joinpath(PAGE).read_text(encoding="utf-8")
    page = page.replace(_MODULES, "\n".join(_preloads(found))).replace(
        _HERE, f"/dashboard/{digest}"
    )
    return Site(digest, page.encode(), found)


async def page(request: web.Request) -> web.Response:
    """The page; it asks for a token itself, where the server asks who calls."""
    found = await asyncio.to_thread(site)
    request[OWN_HEADERS] = _ASKED_EACH_TIME
    return web.Response(body=found.page, content_type="text/html", charset="utf-8")


async def file(request: web.Request) -> web.Response:
    """A file of the page."""
    found = await asyncio.to_thread(site)
    asset = found.files.get(request.match_info["path"])
    if asset is None or request.match_info["digest"] != found.digest:
        raise refused(
            404, "not_found", "this release has no such file; load the page again to have its own"
        )
    request[OWN_HEADERS] = _FOR_EVER
    return web.Response(body=asset.body, content_type=asset.kind, charset="utf-8")


def _preloads(found: Mapping[str, Asset]) -> Iterator[str]:
    """In the order in which they are needed; a browser asks for few at a time."""
    wanted: dict[str, None] = {}
    for path in _FIRST:
        _want(path, found, wanted)
    for path in wanted:
        yield f'<link rel="modulepreload" href="{_HERE}/{path}">'


def _want(path: str, found: Mapping[str, Asset], wanted: dict[str, None]) -> None:
    """A module, and what it imports."""
    if path in wanted:
        return
    wanted[path] = None
    for imported in _IMPORTED.findall(found[path].body):
        _want(normpath(join(dirname(path), imported.decode())), found, wanted)


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    """Scripts, styles and images by their paths; what is none of these is not served."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _found(each, f"{prefix}{each.name}/")
        elif kind := _KINDS.get(each.name[each.name.rfind(".") :]):
            yield f"{prefix}{each.name}", Asset(each.read_bytes(), kind)
