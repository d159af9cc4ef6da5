"""Uploads: forms with a file, which goes to a nameless temporary file as it comes.

So a file of any size takes no memory, and is gone when the request is over, however it ends.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from api.admission import Uploads
from api.bodies import FORM, Pace, media_type, sender
from api.limits import Limits
from api.models import invalid
from api.packing import coding_of
from api.problems import RequestRefused, refused

FILE: Final = "file"
MAX_FIELDS: Final = 40
MAX_NAME: Final = 200
"""Letters of a file's name that are kept: its last ones, which say of what kind it is."""
_CHUNK: Final = 256 * 1024


@dataclass(slots=True)
class Upload:
    """What a form has: its file, what the sender calls it, and its other fields as they stand.

    The name is for people and says what kind of file it is; nothing is ever kept under it.
    """

    file: BinaryIO
    name: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def uploaded(
    request: web.Request, tenant: str, uploads: Uploads, limits: Limits
) -> AsyncGenerator[Upload, None]:
    """The form of a request, for as long as its file is needed; raises RequestRefused."""
    if media_type(request) != FORM or coding_of(request):
        raise refused(
            415, "unsupported_media_type", f"send {FORM}, not packed, with a part named {FILE}"
        )
    with uploads.admitted(tenant), tempfile.TemporaryFile() as file:
        upload = Upload(file)
        await _read(request, upload, limits)
        yield upload


async def _read(request: web.Request, upload: Upload, limits: Limits) -> None:
    if (request.content_length or 0) > limits.upload + limits.small_body:
        raise _too_large(limits.upload)
    seen: set[str] = set()
    coming = _Coming(request, limits)
    try:
        form = await request.multipart()
        while (part := await coming.part(form)) is not None:
            if not isinstance(part, BodyPartReader) or not part.name or part.name in seen:
                raise _malformed("each part is a field with a name of its own")
            if not part.name.isprintable():
                raise _malformed("the name of a part is no printable UTF-8")
            seen.add(part.name)
            if len(seen) > MAX_FIELDS:
                raise _malformed(f"it has more than {MAX_FIELDS} fields")
            if part.name == FILE:
                upload.name = shown_name(part.filename or "")
                await _spool(part, upload.file, coming, limits)
            else:
                upload.fields[part.name] = await _text(part, coming, limits)
    except (ValueError, AssertionError, BadHttpMessage) as error:
        raise _malformed(str(error)[:200] or "its parts cannot be told apart") from None
    if FILE not in seen:
        raise invalid(f"the form has no part {FILE}", f"/{FILE}")
    await asyncio.to_thread(upload.file.seek, 0)


def shown_name(name: str) -> str:
    """What a sender calls a file, without folders and without what is no letter that is seen.

    Bytes that are no UTF-8, control characters and those that turn the direction of what
    follows become underscores (CWE-451).
    """
    last = re.split(r"[/\\]", name)[-1]
    seen = ("_" if unicodedata.category(letter).startswith("C") else letter for letter in last)
    return "".join(seen)[-MAX_NAME:]


async def _spool(part: BodyPartReader, file: BinaryIO, coming: _Coming, limits: Limits) -> None:
    size = 0
    while block := await coming.block(part):
        size += len(block)
        if size > limits.upload:
            raise _too_large(limits.upload)
        await asyncio.to_thread(file.write, block)


async def _text(part: BodyPartReader, coming: _Coming, limits: Limits) -> str:
    found = bytearray()
    while block := await coming.block(part):
        found += block
        if len(found) > limits.small_body:
            raise refused(
                413, "body_too_large", f"a field may have {limits.small_body} bytes; shorten it"
            )
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise _malformed(f"the field {part.name} is not UTF-8") from None


class _Coming:
    """What comes of a form, which may neither stand still for long nor drip.

    Who sends it must be let in still when it is whole.
    """

    def __init__(self, request: web.Request, limits: Limits) -> None:
        self._idle = limits.body_idle
        self._pace = Pace(limits)
        self._sender = sender(request, limits)

    async def part(self, form: MultipartReader) -> BodyPartReader | MultipartReader | None:
        """The next part; None behind the last."""
        async with self._moving():
            found: BodyPartReader | MultipartReader | None = await form.next()
        await (self._sender.check_last() if found is None else self._sender.look())
        return found

    async def block(self, part: BodyPartReader) -> bytes:
        """What has come of a part; empty behind its end."""
        async with self._moving():
            block = bytes(await part.read_chunk(_CHUNK))
        await self._sender.look()
        self._pace.take(len(block))
        return block

    @asynccontextmanager
    async def _moving(self) -> AsyncGenerator[None, None]:
        try:
            async with asyncio.timeout(self._idle):
                yield
        except TimeoutError:
            raise refused(
                408, "request_timeout", f"no byte of the body came for {self._idle:g} s"
            ) from None


def _too_large(size: int) -> RequestRefused:
    return refused(413, "body_too_large", f"a file may have {size} bytes; split it")


def _malformed(reason: str) -> RequestRefused:
    return refused(400, "malformed_body", f"the form cannot be read: {reason}")
