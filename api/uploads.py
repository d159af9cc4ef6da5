"""Uploads: forms with a file, which goes to a nameless temporary file as it comes.

So a file of any size takes no memory, and is gone when the request is over, however it ends.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from aiohttp import BodyPartReader, MultipartReader, web

from api.bodies import FORM, media_type
from api.limits import Limits
from api.models import invalid
from api.packing import coding_of
from api.problems import RequestRefused, refused

FILE: Final = "file"
MAX_FIELDS: Final = 40
_CHUNK: Final = 256 * 1024


@dataclass(slots=True)
class Upload:
    """What a form has: its file, what the sender calls it, and its other fields as they stand."""

    file: BinaryIO
    name: str = ""
    fields: dict[str, str] = field(default_factory=dict)


class Uploads:
    """How many files are being taken in; each is on the disk of this process meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.uploads
        self._open = 0

    def enter(self, retry_after: int) -> None:
        """One more; raises RequestRefused where there are as many as there may be."""
        if self._open >= self._most:
            raise refused(
                503,
                "too_many_uploads",
                f"{self._most} files are being taken in, as many as this server takes at once",
                headers={"Retry-After": str(retry_after)},
            )
        self._open += 1

    def leave(self) -> None:
        """One less."""
        self._open -= 1


@asynccontextmanager
async def uploaded(
    request: web.Request, uploads: Uploads, limits: Limits
) -> AsyncGenerator[Upload, None]:
    """The form of a request, for as long as its file is needed; raises RequestRefused."""
    if media_type(request) != FORM or coding_of(request):
        raise refused(
            415, "unsupported_media_type", f"send {FORM}, not packed, with a part named {FILE}"
        )
    uploads.enter(limits.retry_after)
    try:
        with tempfile.TemporaryFile() as file:
            upload = Upload(file)
            await _read(request, upload, limits)
            yield upload
    finally:
        uploads.leave()


async def _read(request: web.Request, upload: Upload, limits: Limits) -> None:
    if (request.content_length or 0) > limits.upload + limits.small_body:
        raise _too_large(limits.upload)
    seen: set[str] = set()
    try:
        form = await request.multipart()
        while (part := await _next(form, limits)) is not None:
            if not isinstance(part, BodyPartReader) or not part.name or part.name in seen:
                raise _malformed("each part is a field with a name of its own")
            seen.add(part.name)
            if len(seen) > MAX_FIELDS:
                raise _malformed(f"it has more than {MAX_FIELDS} fields")
            if part.name == FILE:
                upload.name = part.filename or ""
                await _spool(part, upload.file, limits)
            else:
                upload.fields[part.name] = await _text(part, limits)
    except (ValueError, AssertionError) as error:
        raise _malformed(str(error)[:200] or "its parts cannot be told apart") from None
    if FILE not in seen:
        raise invalid(f"the form has no part {FILE}", f"/{FILE}")
    await asyncio.to_thread(upload.file.seek, 0)


async def _next(form: MultipartReader, limits: Limits) -> BodyPartReader | MultipartReader | None:
    async with _moving(limits):
        found: BodyPartReader | MultipartReader | None = await form.next()
        return found


async def _spool(part: BodyPartReader, file: BinaryIO, limits: Limits) -> None:
    size = 0
    while block := await _chunk(part, limits):
        size += len(block)
        if size > limits.upload:
            raise _too_large(limits.upload)
        await asyncio.to_thread(file.write, block)


async def _text(part: BodyPartReader, limits: Limits) -> str:
    found = bytearray()
    while block := await _chunk(part, limits):
        found += block
        if len(found) > limits.small_body:
            raise refused(
                413, "body_too_large", f"a field may have {limits.small_body} bytes; shorten it"
            )
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise _malformed(f"the field {part.name} is not UTF-8") from None


async def _chunk(part: BodyPartReader, limits: Limits) -> bytes:
    async with _moving(limits):
        return bytes(await part.read_chunk(_CHUNK))


@asynccontextmanager
async def _moving(limits: Limits) -> AsyncGenerator[None, None]:
    """A body may stand still for so long and no longer."""
    try:
        async with asyncio.timeout(limits.body_idle):
            yield
    except TimeoutError:
        raise refused(
            408, "request_timeout", f"no byte of the body came for {limits.body_idle:g} s"
        ) from None


def _too_large(size: int) -> RequestRefused:
    return refused(413, "body_too_large", f"a file may have {size} bytes; split it")


def _malformed(reason: str) -> RequestRefused:
    return refused(400, "malformed_body", f"the form cannot be read: {reason}")
