"""A small shop that leaves an audit trail: jobs with payloads, ledgers and signed heads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from eventsourcing.persistence import Recording
from sqlalchemy import Connection

from domain.commands import JobSpec, UploadedItems
from domain.events import Cause, PlannedChunk
from domain.job import Job
from domain.jobs import Jobs
from domain.outcomes import ClosedChunk, Closing, Conflicted, Done, Failed, ItemStatus, Restored
from domain.ranges import Ranges
from streams.stores.audit import AuditKey, HeadsFile, Report, verify
from streams.stores.database import Database
from streams.stores.events import EventRecorder, SnapshotRecorder
from streams.stores.ledger import Ledger, encode_results, encode_undo
from streams.stores.outcomes import OutcomeRow, insert_outcomes, summary_of
from streams.stores.payloads import (
    PartCutter,
    claim_upload,
    complete_upload,
    open_upload,
    store_parts,
)
from tests.stored_events import BEGIN, stamp

TENANT = "local"


@dataclass
class Trail:
    """What is saved is signed, as the server does it."""

    database: Database
    folder: Path
    signing: bool = True
    uploads: int = 0

    def __post_init__(self) -> None:
        self.recorder = EventRecorder(self.database)
        self.jobs = Jobs(self.recorder, SnapshotRecorder(self.database))
        key = AuditKey.load_or_create(self.folder / "audit.key")
        self.heads = HeadsFile(self.folder / "heads", key)

    def submit(self, job_id: str, items: int, *, chunk_size: int = 10) -> Job:
        """A job whose items are all there."""
        job = Job(id=job_id)
        source = self._upload(job, items, part=0)
        job.submit(
            stamp("submit"),
            TENANT,
            self._spec(chunk_size),
            items=source.items,
            size=source.size,
            sha256=source.sha256,
        )
        self.save(job)
        return job

    def draft(self, job_id: str, *parts: int, chunk_size: int = 10) -> Job:
        """A job whose items have come in parts."""
        job = Job(id=job_id)
        job.open_draft(stamp("open"), TENANT, self._spec(chunk_size))
        for number, items in enumerate(parts):
            source = self._upload(job, items, part=number)
            job.append(
                stamp(f"append-{number}"),
                part=number,
                items=source.items,
                size=source.size,
                sha256=source.sha256,
            )
        job.seal(stamp("seal"), None)
        self.save(job)
        return job

    def work(self, job: Job, *, wrong: int = 0, chunks: int | None = None) -> None:
        """Plan and close chunks until there are no more of them, all in one transaction."""
        rows: list[OutcomeRow] = []
        while chunks is None or len(rows) < chunks:
            planned = job.plan(stamp("plan", seconds=1), room=1, slow=False)
            if not planned:
                break
            rows.append(self._outcome(job, planned[0], wrong))
            job.record(stamp("record", seconds=2), [rows[-1].closed])
        self.save(job, *rows)

    def revoke(self, job: Job) -> None:
        """Plan a chunk and take it back before it was worked."""
        (chunk,) = job.plan(stamp("plan", seconds=1), room=1, slow=False)
        ledger = encode_results(Ranges(), [], duration_ms=0.0)
        closed = summary_of(
            chunk.chunk, ledger, duration_ms=0.0, closing=Closing.REVOKED, returned=chunk.items
        )
        job.record(stamp("revoke", seconds=2), [closed])
        self.save(job, _row(job, closed, ledger))

    def save(self, job: Job, *rows: OutcomeRow) -> None:
        """Events and outcome rows in one transaction, then the signature."""

        def write(connection: Connection) -> list[Recording[str]]:
            if rows:
                insert_outcomes(connection, rows)
            return self.jobs.save(job, connection=connection)

        recordings = self.database.write_now(write)
        if self.signing:
            self.heads.append(EventRecorder.heads_of(recordings))

    def verify(self, job_id: str | None = None) -> Report:
        """With the shop's own key, and without patience for a server at work."""
        return verify(self.database, self.heads, job_id=job_id, wait=lambda _: None)

    def _spec(self, chunk_size: int) -> JobSpec:
        return JobSpec.model_validate(
            {"operation": "test.touch", "options": {"chunk_size": chunk_size}}
        )

    def _upload(self, job: Job, items: int, *, part: int) -> UploadedItems:
        self.uploads += 1
        upload_id = f"upload-{self.uploads}"
        cutter = PartCutter()
        parts = cutter.feed(b"".join(b'{"n":%d}\n' % number for number in range(items)))
        parts += cutter.finish()
        source = UploadedItems(
            upload_id=upload_id, items=cutter.items, size=cutter.size, sha256=cutter.sha256
        )

        def write(connection: Connection) -> None:
            open_upload(connection, upload_id, TENANT, BEGIN.timestamp())
            store_parts(connection, upload_id, parts)
            complete_upload(connection, source)
            claim_upload(
                connection,
                source,
                job_id=job.id,
                part=part,
                first_item=job.counts.total,
            )

        self.database.write_now(write)
        return source

    def _outcome(self, job: Job, chunk: PlannedChunk, wrong: int) -> OutcomeRow:
        if chunk.cause.undoing:
            ledger = _undone(job, chunk, wrong)
        else:
            bad = Failed("invalid", "no such label", "/label")
            results = [
                bad if index < wrong else Done({"id": item})
                for index, item in enumerate(chunk.items)
            ]
            ledger = encode_results(chunk.items, results, duration_ms=4.0)
        return _row(job, summary_of(chunk.chunk, ledger, duration_ms=4.0), ledger)


def _undone(job: Job, chunk: PlannedChunk, wrong: int) -> Ledger:
    """``wrong`` items of the target stay, since somebody has changed them."""
    rollback = chunk.cause is Cause.ROLLBACK
    effects = job.applied if rollback else job.undone
    (items,) = (effect.items for effect in effects if effect.chunk == chunk.target)
    conflict = Conflicted(record="notes/1", by="bob", reason="changed")
    results = {index: conflict if index < wrong else Restored() for index in range(items)}
    restored = ItemStatus.ROLLED_BACK if rollback else ItemStatus.SUCCEEDED
    return encode_undo(results, restored=restored, duration_ms=3.0)


def _row(job: Job, closed: ClosedChunk, ledger: Ledger) -> OutcomeRow:
    """Whatever was done has before-images, which nothing here reads."""
    images = f"the records before chunk {closed.chunk}".encode() if closed.succeeded else None
    if images is not None:
        closed = closed.model_copy(update={"images": hashlib.sha256(images).hexdigest()})
    return OutcomeRow(job.id, closed, ledger, 1, closed.chunk, images)
