"""Contents: what events name by digest, payloads and ledgers, against those digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventsourcing.persistence import StoredEvent
from pydantic import ValidationError
from sqlalchemy import Connection, Result, Row, select

from domain.errors import DataDirectoryUnusable, UnsupportedVersion
from domain.events import (
    ChunksClosed,
    ItemsAppended,
    ItemsEdited,
    JobEmptied,
    JobShredded,
    JobSubmitted,
    RetryStarted,
)
from domain.jobs import JobMapper
from domain.outcomes import ClosedChunk
from domain.ranges import Ranges
from streams.stores import faults
from streams.stores import ledger as ledgers
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.stored import StoredRow, stored_bytes
from streams.stores.compression import as_written
from streams.stores.payloads import EDITS_FROM
from streams.stores.schema import (
    chunk_faults,
    events,
    outcomes,
    payload_keys,
    payloads,
    uploads,
)
from streams.stores.sealing import AES_GCM, PLAIN, SHREDDED, unsealed

OUTCOMES_AT_ONCE = 100

_NAMING = {
    kind.alias.encode()
    for kind in (
        JobSubmitted,
        ItemsAppended,
        ItemsEdited,
        ChunksClosed,
        RetryStarted,
        JobShredded,
        JobEmptied,
    )
}


@dataclass(frozen=True, slots=True)
class _Named:
    """A run of items as an event names it."""

    version: int
    first: int
    items: int
    size: int
    sha256: str


class ContentCheck:
    """Collects what a job's events name, and looks at it a bounded number at a time."""

    def __init__(self, job_id: str, report: Report, *, archived: bool) -> None:
        self._job_id = job_id
        self._report = report
        self._archived = archived
        self._mapper = JobMapper()
        self._named: list[_Named] = []
        self._shredded = False
        self._emptied: bool | None = None
        self._closed: list[tuple[int, ClosedChunk]] = []

    def take(self, connection: Connection, row: StoredRow) -> None:
        """An event whose bytes are as they were written."""
        if row.alias not in _NAMING:
            return
        stored = StoredEvent(self._job_id, row.version, row.alias.decode(), row.state)
        try:
            event = self._mapper.to_domain_event(stored)
        except (ValidationError, UnsupportedVersion, ValueError) as error:
            self._add(Kind.EVENT_CHANGED, f"it cannot be read: {error}", row.version)
            return
        if isinstance(event, JobSubmitted):
            named = _Named(row.version, 0, event.items, event.size, event.sha256)
            self._named.append(named)
        elif isinstance(event, ItemsAppended):
            named = _Named(row.version, event.first, event.items, event.size, event.sha256)
            self._named.append(named)
        elif isinstance(event, RetryStarted | ItemsEdited) and event.edited is not None:
            edit = event.edited
            first = EDITS_FROM + edit.edition
            named = _Named(row.version, first, edit.lines, edit.size, edit.sha256)
            self._named.append(named)
        elif isinstance(event, JobShredded):
            self._shredded = True
        elif isinstance(event, JobEmptied):
            self._emptied = True
            self._report.archived += 1
        elif isinstance(event, ChunksClosed):
            self._closed += ((row.version, chunk) for chunk in event.chunks)
            if len(self._closed) >= OUTCOMES_AT_ONCE:
                self._check_outcomes(connection)

    def finish(self, connection: Connection) -> None:
        """No more events."""
        self._check_outcomes(connection)
        if self._emptied:
            return
        stored: dict[int, list[Row[Any]]] = {}
        for row in _uploads(connection, self._job_id):
            stored.setdefault(row.first_item, []).append(row)
        for named in self._named:
            fault = self._upload_fault(connection, named, stored.get(named.first, []))
            if fault:
                self._add(Kind.PAYLOAD, f"items from {named.first} on: {fault}", named.version)

    def _upload_fault(self, connection: Connection, named: _Named, rows: list[Row[Any]]) -> str:
        if len(rows) != 1:
            return f"they have {len(rows) or 'no'} uploads instead of one"
        (row,) = rows
        if (row.items, row.size, row.sha256) != (named.items, named.size, named.sha256.encode()):
            return "the upload is not the one that the event names"
        if (row.algorithm == SHREDDED.encode()) != self._shredded:
            told = "an event says that they were" if self._shredded else "no event says so"
            return f"whether they are shredded is not what the trail tells: {told}"
        if self._shredded:
            return ""
        if row.algorithm not in (PLAIN.encode(), AES_GCM.encode()):
            return f"encrypted in a way that this release does not know ({row.algorithm!r})"
        if self._archived and row.algorithm == AES_GCM.encode() and not row.key:
            self._report.sealed += 1
            return ""
        return self._parts_fault(connection, row, named)

    def _parts_fault(self, connection: Connection, upload: Row[Any], named: _Named) -> str:
        whole = _Whole()
        upload_id = upload.upload_id.decode(errors="replace")
        sealing = upload.algorithm.decode(), upload.key
        with _parts(connection, upload_id) as rows:
            for row in rows:
                self._report.parts += 1
                try:
                    data = unsealed(connection, (upload_id, row.part), row.data, *sealing)
                except DataDirectoryUnusable as error:
                    return f"part {row.part}: {error.message}"
                fault = whole.take(row, data)
                if fault:
                    return f"part {row.part}: {fault}"
        if (whole.items, whole.size, whole.digest.hexdigest()) != (
            named.items,
            named.size,
            named.sha256,
        ):
            return "all parts together are not what the event names"
        return ""

    def _check_outcomes(self, connection: Connection) -> None:
        closed, self._closed = self._closed, []
        if not closed:
            return
        faults = _outcome_faults(connection, self._job_id, [chunk for _, chunk in closed])
        for (version, chunk), fault in zip(closed, faults, strict=True):
            if fault is None and self._is_emptied(connection):
                continue
            self._report.outcomes += 1
            if fault != "":
                told = fault or "its outcome is gone"
                self._add(Kind.OUTCOME, f"chunk {chunk.chunk}: {told}", version)

    def _is_emptied(self, connection: Connection) -> bool:
        """Whether an event further on says where that is which is gone."""
        if self._emptied is None:
            said = select(events.c.version).where(
                events.c.job_id == self._job_id, events.c.alias == JobEmptied.alias
            )
            self._emptied = connection.execute(said.limit(1)).first() is not None
        return self._emptied

    def _add(self, kind: Kind, message: str, version: int) -> None:
        self._report.add(kind, message, self._job_id, version)


@dataclass
class _Whole:
    """An upload, put together again from its parts."""

    parts: int = 0
    items: int = 0
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, row: Row[Any], data: bytes) -> str:
        """Add the next part, opened; why it cannot be as it was written, or nothing."""
        if (row.part, row.first_item) != (self.parts, self.items):
            return "it does not follow the part before it"
        plain = as_written(data)
        if plain is None:
            return "it is not what was compressed"
        if hashlib.sha256(plain).hexdigest().encode() != row.sha256:
            return "its content does not give its digest"
        if plain.count(b"\n") != row.items:
            return f"it says {row.items} items and has another number"
        self.digest.update(plain)
        self.parts += 1
        self.items += row.items
        self.size += len(plain)
        return ""


def _outcome_faults(
    connection: Connection, job_id: str, closed: Sequence[ClosedChunk]
) -> list[str | None]:
    """Why each outcome cannot be as it was written, if so; None for one that is not there.

    A few are held at once, for before-images may be of any size.
    """
    places: dict[int, list[int]] = {}
    for place, chunk in enumerate(closed):
        places.setdefault(chunk.chunk, []).append(place)
    faults: list[str | None] = [None] * len(closed)
    with _outcomes(connection, job_id, list(places)) as rows:
        for row in rows:
            for place in places.get(row.chunk, ()):
                faults[place] = _outcome_fault(closed[place], row)
    return faults


def _outcome_fault(closed: ClosedChunk, row: Row[Any]) -> str:
    digest = hashlib.sha256(row.ledger).hexdigest()
    if digest != closed.sha256 or row.sha256 != digest.encode():
        return "the ledger does not give the digest that the event names"
    images = "" if row.images is None else hashlib.sha256(row.images).hexdigest()
    if images != closed.images:
        return "the before-images do not give the digest that the event names"
    try:
        summary = ClosedChunk.model_validate_json(row.summary)
    except ValidationError:
        return "its summary cannot be read"
    if summary != closed:
        return "its summary is not what the event says"
    if (row.failed, row.closing) != (closed.failed, closed.closing.value.encode()):
        return "its columns are not what the event says"
    return _counted_fault(row)


def _counted_fault(row: Row[Any]) -> str:
    """What was counted of the failures; chunks that an older release closed have no such row."""
    if row.groups is None:
        return ""
    document = ledgers.decode(row.ledger)
    counted = faults.encode(faults.failures_of(Ranges.from_spans(document["items"]), document))
    same = row.codes == counted.codes and row.of_ledger == row.sha256
    if not same or as_written(row.groups) != as_written(counted.groups):
        return "what was counted of its failures is not what the ledger says"
    return ""


def _uploads(connection: Connection, job_id: str) -> Iterator[Row[Any]]:
    """Uploads whose key is gone have no algorithm."""
    statement = (
        select(
            stored_bytes(uploads.c.upload_id).label("upload_id"),
            uploads.c.first_item,
            uploads.c["items"],
            uploads.c.size,
            stored_bytes(uploads.c.sha256).label("sha256"),
            stored_bytes(payload_keys.c.algorithm).label("algorithm"),
            stored_bytes(payload_keys.c.key).label("key"),
        )
        .outerjoin(payload_keys, payload_keys.c.upload_id == uploads.c.upload_id)
        .where(uploads.c.job_id == job_id)
    )
    return iter(connection.execute(statement))


def _parts(connection: Connection, upload_id: str) -> Result[Any]:
    statement = (
        select(
            payloads.c.part,
            payloads.c.first_item,
            payloads.c["items"],
            stored_bytes(payloads.c.sha256).label("sha256"),
            stored_bytes(payloads.c.data).label("data"),
        )
        .where(payloads.c.upload_id == upload_id)
        .order_by(payloads.c.part)
    )
    return connection.execute(statement, execution_options={"yield_per": 10})


def _outcomes(connection: Connection, job_id: str, numbers: list[int]) -> Result[Any]:
    its_own = (chunk_faults.c.job_id == outcomes.c.job_id) & (
        chunk_faults.c.chunk == outcomes.c.chunk
    )
    statement = (
        select(
            outcomes.c.chunk,
            outcomes.c.failed,
            stored_bytes(outcomes.c.closing).label("closing"),
            stored_bytes(outcomes.c.summary).label("summary"),
            stored_bytes(outcomes.c.sha256).label("sha256"),
            stored_bytes(outcomes.c.ledger).label("ledger"),
            stored_bytes(outcomes.c.images).label("images"),
            stored_bytes(chunk_faults.c.sha256).label("of_ledger"),
            stored_bytes(chunk_faults.c.codes).label("codes"),
            stored_bytes(chunk_faults.c.groups).label("groups"),
        )
        .outerjoin(chunk_faults, its_own)
        .where(outcomes.c.job_id == job_id, outcomes.c.chunk.in_(numbers))
    )
    return connection.execute(statement, execution_options={"yield_per": 10})
