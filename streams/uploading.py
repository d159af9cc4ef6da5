"""Uploading: items are stored in parts as they come, before the command that names them.

The last few parts wait for whatever else is stored: a reservation goes with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from domain.commands import UploadedItems
from domain.errors import InvalidCommand, QuotaExceeded
from domain.options import MAX_ITEMS
from streams.loops import to_its_end
from streams.stores import keys, payloads
from streams.stores.database import Database
from streams.stores.payloads import Part, PartCutter

FLUSH_BYTES = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may still be stored; None is no limit. ``until`` is when there is more of items."""

    tenant: str = ""
    items: int | None = None
    size: int | None = None
    until: float = 60.0

    def check(self, items: int, size: int) -> None:
        """Raise QuotaExceeded for more than that."""
        if self.items is not None and items > self.items:
            raise QuotaExceeded(
                f"tenant {self.tenant} may send {self.items} more items today; try again tomorrow "
                "(UTC), or send fewer",
                pointer="/items",
                retry_after=self.until,
            )
        if self.size is not None and size > self.size:
            raise QuotaExceeded(
                f"tenant {self.tenant} may store {self.size} more bytes of items; send fewer, or "
                "ask who runs this installation for more",
                pointer="/items",
            )


UNLIMITED = Allowance()


@dataclass(slots=True)
class Upload:
    """A run of items that is being stored; ``keyed_by`` points to their keys, if they have some.

    ``may_be_empty``: whoever decides on the job says whether it needs items.
    """

    upload_id: str
    tenant: str
    created_at: float
    keyed_by: str | None = None
    allowed: Allowance = UNLIMITED
    may_be_empty: bool = False
    opened: bool = False
    source: UploadedItems | None = None


Rest = tuple[Upload | None, list[Part]]
"""What of an upload is not stored yet."""


async def received(
    database: Database, upload: Upload, lines: AsyncIterator[bytes]
) -> tuple[UploadedItems, Rest]:
    """Store all parts but the last few, with their keys.

    Raises InvalidCommand when there is no item, there are too many, or what was stored of them
    was cleaned away meanwhile, and QuotaExceeded.
    """
    cutter = PartCutter()
    waiting: list[Part] = []
    async for block in lines:
        waiting += cutter.feed(block)
        _check_size(upload, cutter)
        full = upload.keyed_by is not None and len(waiting) >= keys.PARTS_AT_ONCE
        if full or sum(len(part.data) for part in waiting) >= FLUSH_BYTES:
            so_far = partial(_flush_so_far, upload, waiting, cutter.items, cutter.size)
            try:
                # Whoever breaks off and removes it must come after what is being stored now.
                await to_its_end(database.write(so_far, lasting=False))
            finally:
                upload.opened = True
            waiting = []
    waiting += cutter.finish()
    _check_size(upload, cutter)
    if cutter.items == 0 and not upload.may_be_empty:
        raise InvalidCommand("a job needs at least one item; send some", pointer="/items")
    source = upload.source = cutter.upload(upload.upload_id)
    return source, (upload, waiting)


def store_rest(connection: Connection, upload: Upload | None, parts: list[Part]) -> None:
    """Store what is left of an upload, which is complete then."""
    if upload is not None and upload.source is not None:
        _flush(upload, parts, connection)
        payloads.complete_upload(connection, upload.source)


def drop(connection: Connection, rest: Rest) -> None:
    """Store nothing more of an upload, and remove what was stored of it already."""
    upload, _ = rest
    if upload is not None and upload.opened:
        payloads.remove_uploads(connection, [upload.upload_id])


async def begun(lines: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """The first blocks, until they are more than ``most`` bytes, and whether they were all."""
    found = b""
    async for block in lines:
        found += block
        if len(found) > most:
            return found, False
    return found, True


async def continued(first: bytes, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What has begun, and then the others."""
    yield first
    async for block in lines:
        yield block


def _flush(upload: Upload, parts: list[Part], connection: Connection) -> None:
    if not upload.opened:
        payloads.open_upload(connection, upload.upload_id, upload.tenant, upload.created_at)
        if upload.keyed_by is not None:
            keys.mark(connection, upload.upload_id, upload.keyed_by)
    payloads.store_parts(connection, upload.upload_id, parts)
    if upload.keyed_by is not None:
        keys.store_keys(connection, upload.upload_id, upload.keyed_by, parts)


def _flush_so_far(
    upload: Upload, parts: list[Part], items: int, size: int, connection: Connection
) -> None:
    """Who breaks off has sent that all the same, and takes that room until it is cleaned up."""
    _flush(upload, parts, connection)
    payloads.note_size(connection, upload.upload_id, items, size)


def _check_size(upload: Upload, cutter: PartCutter) -> None:
    upload.allowed.check(cutter.items, cutter.size)
    if cutter.items > MAX_ITEMS:
        raise InvalidCommand(
            f"a job holds at most {MAX_ITEMS} items; submit the rest as another job",
            pointer="/items",
        )
