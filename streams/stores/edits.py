"""Edits: new bodies of items of a job, stored beside the old ones.

An edit is an upload of its own, which the job claims behind all items: its first line names
the items, each other line is a body. The last one that names an item holds.

Neither to read many bodies nor to store them takes more memory than a few parts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

import orjson
from sqlalchemy import Connection, bindparam, select

from domain.commands import UploadedItems
from domain.errors import CommandRefused, InvalidCommand
from domain.ranges import Ranges
from streams.stores.payloads import (
    EDITS_FROM,
    PartCutter,
    PayloadReader,
    claim_upload,
    complete_upload,
    open_upload,
    remove_uploads,
    store_parts,
)
from streams.stores.schema import uploads
from streams.stores.statements import Row, fixed

MOST_TOGETHER = 16
"""Lines that stand in a row and are read at once; each may have a megabyte."""

_Place = tuple[str, int]
"""An upload, and the number of a line in it."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """New bodies of items, in order, and when they came. They may be made as they are stored."""

    items: Ranges
    lines: Iterable[bytes]
    at: float


def store_edit(
    connection: Connection, upload_id: str, job: tuple[str, str], edition: int, edit: Bodies
) -> UploadedItems:
    """Store new bodies of items of a job, given by its tenant and id, beside the old ones.

    Whatever refuses one of them, as it is made or for its length, leaves none.
    """
    tenant, job_id = job
    open_upload(connection, upload_id, tenant, edit.at)
    try:
        stored = _stored(connection, upload_id, edit)
    except CommandRefused:
        # The refusal is committed, as what was decided on the command.
        remove_uploads(connection, [upload_id])
        raise
    claim_upload(connection, stored, job_id=job_id, part=-edition, first_item=EDITS_FROM + edition)
    return stored


def _stored(connection: Connection, upload_id: str, edit: Bodies) -> UploadedItems:
    cutter = PartCutter()
    for line in chain([orjson.dumps(edit.items.to_json())], edit.lines):
        full = cutter.feed(line + b"\n")
        if full:
            store_parts(connection, upload_id, full)
    store_parts(connection, upload_id, cutter.finish())
    stored = cutter.upload(upload_id)
    complete_upload(connection, stored)
    return stored


_RUN = (uploads.c.upload_id, uploads.c.first_item, uploads.c["items"])
_SENT = fixed(
    select(*_RUN)
    .where(uploads.c.job_id == bindparam("job"), uploads.c.first_item < bindparam("end"))
    .order_by(uploads.c.first_item)
)
_EDITS = fixed(
    select(*_RUN)
    .where(uploads.c.job_id == bindparam("job"), uploads.c.first_item > EDITS_FROM)
    .order_by(uploads.c.first_item)
)


class BodyReader(PayloadReader):
    """Reads bodies one after the other, of as many items as an edit may name."""

    def each(self, connection: Connection, job_id: str, items: Ranges) -> Iterator[bytes]:
        """The raw lines of the given positions as they are now, in order."""
        for (upload_id, low), count in _together(self._places(connection, job_id, items)):
            yield from self._upload(connection, upload_id, low, low + count)

    def _places(self, connection: Connection, job_id: str, items: Ranges) -> Iterator[_Place]:
        """Where the line of each position is, which its last edit says, if it had one."""
        if not items:
            return
        edited = self._edited_at(connection, job_id, frozenset(items))
        sent = _SENT.run(connection, job=job_id, end=items.spans[-1][1]).rows
        for position in items:
            yield edited.get(position) or _sent_at(job_id, sent, position)

    def _edited_at(
        self, connection: Connection, job_id: str, wanted: frozenset[int]
    ) -> dict[int, _Place]:
        places: dict[int, _Place] = {}
        for upload_id, _, _ in _EDITS.run(connection, job=job_id).rows:
            (head,) = self._upload(connection, upload_id, 0, 1)
            named = enumerate(Ranges.from_spans(orjson.loads(head)), start=1)
            places |= {position: (upload_id, n) for n, position in named if position in wanted}
        return places


def _sent_at(job_id: str, sent: list[Row], position: int) -> _Place:
    found = bisect_right(sent, position, key=itemgetter(1)) - 1
    if found >= 0:
        upload_id, first, count = sent[found]
        if position < first + count:
            return upload_id, position - first
    raise InvalidCommand(
        f"job {job_id} lacks the payload of item {position}; run `countermand audit verify`"
    )


def _together(places: Iterable[_Place]) -> Iterator[tuple[_Place, int]]:
    """Lines that follow one another in an upload, a few at once."""
    first: _Place | None = None
    count = 0
    for upload_id, number in places:
        if first == (upload_id, number - count) and count < MOST_TOGETHER:
            count += 1
            continue
        if first is not None:
            yield first, count
        first, count = (upload_id, number), 1
    if first is not None:
        yield first, count
