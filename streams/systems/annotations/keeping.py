"""Keeping: the bytes of a file, as they come, in pieces that every process can serve."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

from streams.stores import job_files
from streams.stores.database import Database
from streams.stores.job_files import JobFile

Run = Callable[[Callable[[], list[bytes]]], Awaitable[list[bytes]]]
"""Does in a thread what makes the bytes."""

AT_ONCE: Final = 4
"""Pieces that are stored in one transaction."""


async def keep(
    database: Database, file: JobFile, blocks: Iterator[bytes], run: Run
) -> JobFile | None:
    """Store the bytes of a file that was begun; the file as it is when it is whole.

    None when it was removed meanwhile: it stays away.
    """
    pieces = _cut(blocks)
    digest, size, first = hashlib.sha256(), 0, 0
    while data := await run(lambda: list(islice(pieces, AT_ONCE))):
        if not await database.write(partial(job_files.add, file=file, first=first, data=data)):
            return None
        for piece in data:
            digest.update(piece)
            size += len(piece)
        first += len(data)
    return replace(file, size=size, sha256=digest.hexdigest())


def _cut(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size, but for the last."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= job_files.PIECE:
            yield bytes(held[: job_files.PIECE])
            del held[: job_files.PIECE]
    if held:
        yield bytes(held)
