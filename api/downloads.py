"""Downloads: files of jobs, whole or a range of them (RFC 9110, section 14)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from urllib.parse import quote

from aiohttp import web

from api.conditions import has
from api.edge import edge
from api.problems import refused
from api.standing import Looks, Standing
from api.streaming import write
from streams.stores.job_files import PIECE, JobFile

Piece = Callable[[JobFile, int], Awaitable[bytes]]
Allowed = Callable[[], Awaitable[object]]
"""Raises an error once the caller may not read the file any more."""

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- ")


async def download(
    request: web.Request, file: JobFile, piece: Piece, allowed: Allowed
) -> web.StreamResponse:
    """The file as an attachment, sent piece by piece; 304 for who has it already.

    It is cut off once the caller is not let in any more, or not ``allowed`` to read it.
    """
    size, tag = file.size or 0, f'"{file.sha256}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes"}
    if has(request, tag):
        return web.Response(status=304, headers=headers)
    first, end = _range(request, size, tag)
    partial = (first, end) != (0, size)
    if partial:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    headers |= {
        "Content-Type": file.media_type,
        "Content-Length": str(end - first),
        "Content-Disposition": disposition(file.name),
    }
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    blocks = _blocks(file, piece, first, end)
    begun = await anext(blocks, b"")  # a file that is gone must be told before the answer begins
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await write(request, response, begun)
    standing, looks = Standing(request), Looks(edge(request))
    async for block in blocks:
        await standing.check()
        if looks.are_due():
            await allowed()
        await write(request, response, block)
    return response


def disposition(name: str) -> str:
    """A header by which browsers save, and never show, what was sent by others."""
    plain = "".join(letter if letter in _PLAIN else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _range(request: web.Request, size: int, tag: str) -> tuple[int, int]:
    """Where what is asked for begins and ends; all of it for what is asked in another way.

    A range is of what GET sends: HEAD, which sends nothing, is answered as without one.
    """
    if request.method == "HEAD":
        return 0, size
    if request.headers.get("If-Range", tag) != tag or "," in request.headers.get("Range", ""):
        return 0, size
    try:
        asked = request.http_range
    except ValueError:
        return 0, size
    if asked.start is None and asked.stop is None:
        return 0, size
    first, end, _ = asked.indices(size)
    if first >= end:
        raise refused(
            416,
            "range_not_satisfiable",
            f"the file has {size} bytes; ask for some of them",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, end


async def _blocks(file: JobFile, piece: Piece, first: int, end: int) -> AsyncGenerator[bytes, None]:
    place = first
    while place < end:
        number, skipped = divmod(place, PIECE)
        data = (await piece(file, number))[skipped : skipped + end - place]
        if not data:
            raise RuntimeError(f"{file.name} of {file.job_id} ends before its size")
        yield data
        place += len(data)
