"""Payloads: the items of a job, stored before the command that names them.

An upload is a run of NDJSON lines in parts; a part is a bounded number of lines,
compressed, and sealed (:mod:`.sealing`). Digests are of the plain bytes. An upload that no
coordinator has claimed is removed after a day.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    func,
    select,
    union_all,
    update,
)

from domain.commands import UploadedItems
from domain.errors import InvalidCommand
from domain.ranges import Ranges
from streams.stores import sealing
from streams.stores.compression import compress_marked, decompress
from streams.stores.schema import payload_keys, payloads, uploads
from streams.stores.schema_items import item_keys
from streams.stores.statements import Answer, fixed, insertion

PART_ITEMS = 1000
PART_BYTES = 512_000
MAX_LINE_BYTES = 1_000_000
UNCHANGED_LEVELS = 60
"""No reader of a command refuses JSON that is nested as deep as this."""


EDITS_FROM = 1_000_000_000
"""Where edits of a job are (:mod:`.edits`): uploads behind every item."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines ``first_item .. first_item + items - 1`` of an upload, compressed."""

    number: int
    first_item: int
    items: int
    sha256: str
    data: bytes


@dataclass
class PartCutter:
    """Cuts a stream of blocks, of any size and cut anywhere, into parts.

    ``feed`` returns the parts that became full; ``finish`` the last one. Memory is
    bounded by one part and one line. Raises InvalidCommand for a line that is too long.
    """

    items: int = 0
    size: int = 0
    parts: int = 0
    _tail: bytes = b""
    _lines: list[bytes] = field(default_factory=list)
    _waiting: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def feed(self, block: bytes) -> list[Part]:
        """Take a block; returns the parts that are full."""
        *lines, self._tail = (self._tail + block).split(b"\n")
        if len(self._tail) > MAX_LINE_BYTES:
            raise self._too_long()
        return self._take(lines)

    def finish(self) -> list[Part]:
        """The rest, after the last block."""
        full = self._take([self._tail])
        self._tail = b""
        return [*full, self._cut()] if self._lines else full

    @property
    def sha256(self) -> str:
        """Hex digest of all lines so far, each with its newline."""
        return self._digest.hexdigest()

    def upload(self, upload_id: str) -> UploadedItems:
        """All lines so far, as an upload of that id."""
        return UploadedItems(
            upload_id=upload_id, items=self.items, size=self.size, sha256=self.sha256
        )

    def _take(self, lines: Iterable[bytes]) -> list[Part]:
        full: list[Part] = []
        for line in lines:
            if not line or line.isspace():
                continue
            if len(line) > MAX_LINE_BYTES:
                raise self._too_long()
            self._lines.append(line)
            self._waiting += len(line)
            if len(self._lines) >= PART_ITEMS or self._waiting >= PART_BYTES:
                full.append(self._cut())
        return full

    def _cut(self) -> Part:
        plain = b"\n".join(self._lines) + b"\n"
        part = Part(
            number=self.parts,
            first_item=self.items,
            items=len(self._lines),
            sha256=hashlib.sha256(plain).hexdigest(),
            data=compress_marked(plain),
        )
        self._digest.update(plain)
        self.parts += 1
        self.items += len(self._lines)
        self.size += len(plain)
        self._lines, self._waiting = [], 0
        return part

    def _too_long(self) -> InvalidCommand:
        position = self.items + len(self._lines)
        return InvalidCommand(
            f"item {position} is longer than {MAX_LINE_BYTES} bytes; "
            "store large contents elsewhere and send a reference",
            pointer=f"/items/{position}",
        )


def unchanged_items(text: bytes) -> list[Any] | None:
    """The items of NDJSON that can travel as JSON values and be written again byte by byte.

    None when a line is no JSON, or would come back in another form.
    """
    lines = [line for line in text.split(b"\n") if line and not line.isspace()]
    if any(line.count(b"[") + line.count(b"{") > UNCHANGED_LEVELS for line in lines):
        return None
    try:
        items = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        return None
    return items if list(map(orjson.dumps, items)) == lines else None


_INSERT_UPLOAD = insertion(
    uploads, "upload_id", "tenant", "created_at", "items", "size", "sha256", "complete"
)
_INSERT_PART = insertion(payloads, "upload_id", "part", "first_item", "items", "sha256", "data")
_COMPLETE = fixed(
    update(uploads)
    .where(uploads.c.upload_id == bindparam("upload"))
    .values(
        items=bindparam("to_items"),
        size=bindparam("to_size"),
        sha256=bindparam("to_sha256"),
        complete=True,
    )
)
_COME = fixed(
    update(uploads)
    .where(uploads.c.upload_id == bindparam("upload"))
    .values(items=bindparam("so_many"), size=bindparam("so_large"))
)
_HELD = fixed(
    select(
        uploads.c["items"],
        uploads.c.sha256,
        uploads.c.complete,
        uploads.c.job_id,
        uploads.c.first_item,
    )
    .where(uploads.c.upload_id == bindparam("upload"), uploads.c.tenant == bindparam("of_tenant"))
    .with_for_update()
)
_CLAIM = fixed(
    update(uploads)
    .where(uploads.c.upload_id == bindparam("upload"))
    .values(job_id=bindparam("to_job"), part=bindparam("to_part"), first_item=bindparam("to_first"))
)


def open_upload(connection: Connection, upload_id: str, tenant: str, now: float) -> None:
    """Begin an upload that has no items yet."""
    _INSERT_UPLOAD.run(
        connection,
        upload_id=upload_id,
        tenant=tenant,
        created_at=now,
        items=0,
        size=0,
        sha256="",
        complete=False,
    )
    sealing.open_key(connection, upload_id)


def store_whole(
    connection: Connection, upload: UploadedItems, tenant: str, now: float, parts: Sequence[Part]
) -> None:
    """Store a new upload with all of its parts."""
    _INSERT_UPLOAD.send(
        connection,
        upload_id=upload.upload_id,
        tenant=tenant,
        created_at=now,
        items=upload.items,
        size=upload.size,
        sha256=upload.sha256,
        complete=True,
    )
    store_parts(connection, upload.upload_id, parts, sealing.open_key(connection, upload.upload_id))


def store_parts(
    connection: Connection,
    upload_id: str,
    parts: Sequence[Part],
    key: sealing.StoredKey | None = None,
) -> None:
    """Store parts of an upload; its key is read, unless it is given.

    Raises InvalidCommand when the upload was cleaned away.
    """
    named = [(part.number, part.data) for part in parts]
    stored = sealing.sealed(connection, upload_id, named, key)
    _INSERT_PART.send_many(
        connection,
        [
            {
                "upload_id": upload_id,
                "part": part.number,
                "first_item": part.first_item,
                "items": part.items,
                "sha256": part.sha256,
                "data": data,
            }
            for part, data in zip(parts, stored, strict=True)
        ],
    )


def note_size(connection: Connection, upload_id: str, items: int, size: int) -> None:
    """Say how much of an upload has come so far; raises InvalidCommand as ``store_parts``."""
    come = _COME.run(connection, upload=upload_id, so_many=items, so_large=size)
    _require_there(come, upload_id)


def complete_upload(connection: Connection, source: UploadedItems) -> None:
    """Say that all parts of an upload are there; raises InvalidCommand as ``store_parts``."""
    completed = _COMPLETE.run(
        connection,
        upload=source.upload_id,
        to_items=source.items,
        to_size=source.size,
        to_sha256=source.sha256,
    )
    _require_there(completed, source.upload_id)


def _require_there(changed: Answer, upload_id: str) -> None:
    """Raise InvalidCommand when the row of an upload is gone.

    PostgreSQL lets the clean-up come after its key was read: what was sealed by it goes as well
    then, with the transaction.
    """
    if not changed.count:
        raise sealing.cleaned_away(upload_id)


def require_upload(
    connection: Connection, source: UploadedItems, *, tenant: str, job_id: str, first_item: int
) -> None:
    """Hold an upload that may become the job's items from ``first_item`` on.

    Raises InvalidCommand when it is unknown to the tenant, incomplete, of another
    digest, or claimed by another job. Claimed for the same place already is no error.
    """
    row = _HELD.run(connection, upload=source.upload_id, of_tenant=tenant).first()
    items, sha256, complete, claimed_by, claimed_from = row or (0, "", False, None, None)
    if not complete or (items, sha256) != (source.items, source.sha256):
        raise InvalidCommand(
            f"there is no complete upload {source.upload_id} with that digest; upload again",
            pointer="/source/upload_id",
        )
    if claimed_by is not None and (claimed_by, claimed_from) != (job_id, first_item):
        raise InvalidCommand(
            f"upload {source.upload_id} belongs to another job; upload again",
            pointer="/source/upload_id",
        )


def claim_upload(
    connection: Connection, source: UploadedItems, *, job_id: str, part: int, first_item: int
) -> None:
    """Make an upload, held by ``require_upload``, the job's items from ``first_item`` on."""
    _CLAIM.send(
        connection, upload=source.upload_id, to_job=job_id, to_part=part, to_first=first_item
    )


def has_part(connection: Connection, tenant: str, job_id: str, part: int) -> bool:
    """Whether a job of the tenant has such a part."""
    found = select(uploads.c.upload_id).where(
        uploads.c.job_id == job_id, uploads.c.part == part, uploads.c.tenant == tenant
    )
    return connection.execute(found.limit(1)).first() is not None


def part_digest(connection: Connection, job_id: str, part: int) -> str | None:
    """The digest of a part that a job has; None when it has no such part."""
    return connection.scalars(
        select(uploads.c.sha256).where(uploads.c.job_id == job_id, uploads.c.part == part)
    ).one_or_none()


def items_of(connection: Connection, job_id: str) -> int:
    """How many items have arrived for a job."""
    counted = select(func.coalesce(func.sum(uploads.c["items"]), 0))
    return int(connection.scalar(counted.where(uploads.c.job_id == job_id)) or 0)


def remove_unclaimed(connection: Connection, before: float, limit: int = 100) -> int:
    """Delete uploads that nobody has claimed since ``before``; returns how many."""
    stale = connection.scalars(
        select(uploads.c.upload_id)
        .where(uploads.c.job_id.is_(None), uploads.c.created_at < before)
        .limit(limit)
        # One that is being claimed at this moment stays.
        .with_for_update(skip_locked=True)
    ).all()
    remove_uploads(connection, stale)
    return len(stale)


def free_among(connection: Connection, tenant: str, upload_ids: Sequence[str]) -> list[str]:
    """Those of some uploads of a tenant that no job has."""
    return list(connection.scalars(_free_among(tenant, upload_ids)))


def remove_free(connection: Connection, tenant: str, upload_ids: Sequence[str]) -> None:
    """Delete those of some uploads that no job has, when none is to take them any more."""
    if not upload_ids:
        return
    free = connection.scalars(_free_among(tenant, upload_ids).with_for_update()).all()
    if free:
        remove_uploads(connection, free)


def _free_among(tenant: str, upload_ids: Sequence[str]) -> Select[tuple[str]]:
    return select(uploads.c.upload_id).where(
        uploads.c.upload_id.in_(upload_ids),
        uploads.c.tenant == tenant,
        uploads.c.job_id.is_(None),
    )


def remove_uploads(connection: Connection, upload_ids: Sequence[str]) -> None:
    """Delete uploads that nobody has claimed, or ever will."""
    for table in (item_keys, payloads, payload_keys, uploads):
        connection.execute(delete(table).where(table.c.upload_id.in_(upload_ids)))


_RUN = (uploads.c.upload_id, uploads.c.first_item, uploads.c["items"])
_UPLOADS = fixed(
    union_all(
        select(*_RUN).where(
            uploads.c.job_id == bindparam("job"),
            uploads.c.first_item < bindparam("end"),
            uploads.c.first_item + uploads.c["items"] > bindparam("first"),
        ),
        select(*_RUN).where(
            uploads.c.job_id == bindparam("job"), uploads.c.first_item > bindparam("edits")
        ),
    ).order_by("first_item")
)
_PARTS = fixed(
    select(payloads.c.part, payloads.c.first_item, payloads.c["items"])
    .where(
        payloads.c.upload_id == bindparam("upload"),
        payloads.c.first_item < bindparam("high"),
        payloads.c.first_item > bindparam("below"),
    )
    .order_by(payloads.c.first_item)
)


class PayloadReader:
    """Reads lines of jobs; keeps the last few parts, since chunks and parts do not align."""

    KEPT = 8

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[bytes]] = {}
        # Several threads of the database's pool read through one reader.
        self._trimming = threading.Lock()

    def lines(self, connection: Connection, job_id: str, items: Ranges) -> list[bytes]:
        """The raw lines of the given positions as they are now, in order."""
        return self._lines(connection, job_id, items)[-1]

    def editions(self, connection: Connection, job_id: str, position: int) -> list[bytes]:
        """The line of a position as it was sent, and after each edit of it."""
        item = Ranges.span(position, position + 1)
        return [line for (line,) in self._lines(connection, job_id, item)]

    def _lines(self, connection: Connection, job_id: str, items: Ranges) -> list[list[bytes]]:
        """The lines as they were sent, and after each edit of some of them."""
        found: list[bytes] = []
        if not items:
            return [found]
        first, end = items.spans[0][0], items.spans[-1][1]
        runs = _UPLOADS.run(connection, job=job_id, first=first, end=end, edits=EDITS_FROM).rows
        for low, high in items.spans:
            for upload_id, base, count in runs:
                if base < high and base + count > low:
                    span = max(low - base, 0), min(high - base, count)
                    found += self._upload(connection, upload_id, *span)
        if len(found) != len(items):
            raise InvalidCommand(
                f"job {job_id} lacks payloads for {len(items) - len(found)} items; "
                "run `countermand audit verify`"
            )
        editions = [found]
        for upload_id, base, _ in runs:
            if base > EDITS_FROM:
                edited = self._edited(connection, upload_id, items, editions[-1])
                editions += [edited] if edited != editions[-1] else []
        return editions

    def _edited(
        self, connection: Connection, upload_id: str, items: Ranges, lines: Sequence[bytes]
    ) -> list[bytes]:
        (head,) = self._upload(connection, upload_id, 0, 1)
        numbers = {position: n for n, position in enumerate(_named(head), start=1)}
        places = [(place, numbers[p]) for place, p in enumerate(items) if p in numbers]
        edited = list(lines)
        # Those between are of other items, and may be more than a process can hold.
        bodies = {
            number: body
            for low, high in Ranges.of(number for _, number in places).spans
            for number, body in enumerate(self._upload(connection, upload_id, low, high), low)
        }
        for place, number in places:
            edited[place] = bodies[number]
        return edited

    def _upload(self, connection: Connection, upload_id: str, low: int, high: int) -> list[bytes]:
        found: list[bytes] = []
        near = _PARTS.run(connection, upload=upload_id, high=high, below=low - PART_ITEMS)
        for part, base, items in near:
            if base + items > low:
                lines = self._part(connection, upload_id, part)
                found += lines[max(low - base, 0) : high - base]
        return found

    def _part(self, connection: Connection, upload_id: str, part: int) -> list[bytes]:
        with self._trimming:
            kept = self._kept.pop((upload_id, part), None)
        if kept is None:
            plain = decompress(sealing.stored_part(connection, upload_id, part))
            kept = plain.split(b"\n")
            kept.pop()
        with self._trimming:
            self._kept[upload_id, part] = kept
            while len(self._kept) > self.KEPT:
                del self._kept[next(iter(self._kept))]
        return kept


def _named(head: bytes) -> Ranges:
    """The items of an edit, as its first line names them."""
    return Ranges.from_spans(orjson.loads(head))
