"""Bodies: what a client sends, read within limits of size and time, and strictly.

JSON is refused with duplicate keys, NaN and infinities, lone surrogates, integers beyond
64 bits or more than 64 levels: each of them means different things to different readers.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import orjson
from aiohttp import web

from api.edge import caller, edge
from api.limits import Limits
from api.packing import coding_of, unpacked
from api.problems import RequestRefused, refused
from api.standing import Standing
from streams.uploading import FLUSH_BYTES

T = TypeVar("T")

JSON = "application/json"
FORM = "multipart/form-data"
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

LARGE = 32_000
"""So much is read or written in a thread, so that nobody else waits for it."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def media_type(request: web.Request) -> str:
    """The type of the body, lower case without parameters; empty when none is named."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def lines(request: web.Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Lines as they arrive, in blocks of any size, unpacked; raises when the client stops.

    Who sends more than a little has room for all that waits to be stored at once, so that nobody
    is refused later for what others send.
    """
    came, has_room = 0, False
    with edge(request).bodies.admitted(caller(request).tenant) as take:
        async for block in _unmarked(_blocks(request, limits)):
            came += len(block)
            if came > limits.small_body and not has_room:
                take(_room(request))
                has_room = True
            yield block


def _room(request: web.Request) -> int:
    """How many bytes of lines may wait at once to be stored."""
    length = None if coding_of(request) else request.content_length
    return FLUSH_BYTES if length is None else min(length, FLUSH_BYTES)


async def _unmarked(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Without the byte order mark that some editors write before the first line."""
    begin, begun = b"", False
    async for block in blocks:
        if begun:
            yield block
            continue
        begin += block
        begun = not BOM_UTF8.startswith(begin)
        if begun:
            yield begin.removeprefix(BOM_UTF8)
    if not begun and begin != BOM_UTF8:
        yield begin


def _blocks(request: web.Request, limits: Limits) -> AsyncIterator[bytes]:
    """The body as it arrives, in blocks of any size, unpacked; raises when the client stops."""
    arriving, coding = _arriving(request, limits), coding_of(request)
    return unpacked(arriving, coding, limits) if coding else arriving


async def _arriving(request: web.Request, limits: Limits) -> AsyncIterator[bytes]:
    standing = sender(request, limits)
    while True:
        try:
            async with asyncio.timeout(limits.body_idle):
                block = await request.content.readany()
        except TimeoutError:
            raise refused(
                408, "request_timeout", f"no byte of the body came for {limits.body_idle:g} s"
            ) from None
        if not block:
            await standing.check_last()
            return
        await standing.look()
        yield block


def sender(request: web.Request, limits: Limits) -> Standing:
    """Who sends a body: what was begun under a key makes nothing once that is revoked.

    Nobody can take back a token, and what was begun under one may end in its time.
    """
    return Standing(request, limits.body_late)


class Pace:
    """Whether a body comes as fast as one does whose sender has all of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun = asyncio.get_running_loop().time()
        self._came = 0

    def take(self, size: int) -> None:
        """So many bytes more have come; raises RequestRefused for what only drips."""
        self._came += size
        seconds = asyncio.get_running_loop().time() - self._begun
        if seconds > self._limits.body_grace + self._came / self._limits.body_rate:
            raise refused(
                408,
                "request_timeout",
                f"only {self._came} bytes of the body came in {seconds:.0f} s; send it again, "
                f"with {self._limits.body_rate} a second at least",
            )


async def read(
    request: web.Request, limits: Limits, size: int, understand: Callable[[bytes], T]
) -> T:
    """What ``understand`` makes of a body of at most ``size`` bytes; raises RequestRefused."""
    async with taken(request, limits, size, understand) as found:
        return found


@asynccontextmanager
async def taken(
    request: web.Request, limits: Limits, size: int, understand: Callable[[bytes], T]
) -> AsyncGenerator[T, None]:
    """As ``read``, for what is large; it counts as being taken in until it has been stored."""
    with edge(request).bodies.admitted(caller(request).tenant) as take:
        yield await _understood(await _read(request, limits, size, take), understand)


async def _understood(body: bytes, understand: Callable[[bytes], T]) -> T:
    if len(body) < LARGE:
        return understand(body)
    return await asyncio.to_thread(understand, body)


async def read_optional(request: web.Request, limits: Limits) -> Any:
    """A small body as a JSON value; without one an empty object."""
    return await read(request, limits, limits.small_body, parse_optional)


async def _read(
    request: web.Request, limits: Limits, size: int, take: Callable[[int], None]
) -> bytes:
    if (request.content_length or 0) > size:
        raise _too_large(size)
    body, pace = bytearray(), Pace(limits)
    async for block in _blocks(request, limits):
        pace.take(len(block))
        take(len(block))
        body += block
        if len(body) > size:
            raise _too_large(size)
    return bytes(body)


def _too_large(size: int) -> RequestRefused:
    return refused(
        413,
        "body_too_large",
        f"a JSON body may have {size} bytes; send more items as NDJSON "
        "(Content-Type: application/x-ndjson), or in parts to a draft",
    )


def parse(body: bytes) -> Any:
    """The JSON value, strictly; raises RequestRefused that says where it is malformed."""
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise malformed("it is nested too deeply") from None
    except ValueError as error:
        raise malformed(str(error)) from None


def parse_optional(body: bytes) -> Any:
    """The JSON value, where there is one, else an empty object; raises as ``parse`` does."""
    return parse(body) if body else {}


def encode(value: Any, depth: int, pointer: str = "") -> bytes:
    """A parsed value as compact JSON; raises RequestRefused for what cannot travel on."""
    try:
        text = orjson.dumps(value)
    except (TypeError, RecursionError) as error:
        reason = "it is nested too deeply" if "ecursion" in str(error) else str(error)
        raise malformed(reason, pointer) from None
    if text.count(b"[") + text.count(b"{") > depth and _is_deeper(text, depth):
        raise malformed(f"it has more than {depth} levels", pointer)
    return text


def malformed(reason: str, pointer: str = "") -> RequestRefused:
    """The refusal of a body that is no acceptable JSON."""
    return refused(
        400, "malformed_body", f"the body is no acceptable JSON: {reason}", pointer=pointer
    )


def _is_deeper(text: bytes, depth: int) -> bool:
    """Whether any brackets are left when the innermost are taken away so many times."""
    brackets = _STRING.sub(b"", text).translate(_BRACKETS, _OTHERS)
    for _ in range(depth):
        brackets = brackets.replace(b"()", b"")
        if not brackets:
            return False
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {name[:100]!r} stands twice in one object")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large for a double")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)
