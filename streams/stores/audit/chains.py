"""Chains: the events of each job, one after the other, against hashes and signed heads."""

from __future__ import annotations

from sqlalchemy import Connection

from streams.stores.audit.contents import ContentCheck
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import Heads
from streams.stores.audit.stored import StoredRow
from streams.stores.chain import GENESIS, Head


class ChainCheck:
    """Takes rows in the order of job and version; ``heads`` None leaves signatures out.

    ``unsigned`` are the last events of jobs that go on behind their signed head.
    """

    def __init__(self, report: Report, heads: Heads | None, *, archived: bool = False) -> None:
        self.unsigned: list[Head] = []
        self._archived = archived
        self._report = report
        self._heads = heads
        self._seen: set[str] = set()
        self._job: _JobChain | None = None

    def take(self, connection: Connection, row: StoredRow) -> None:
        """The next row."""
        self._report.events += 1
        if not row.typed:
            self._report.add(Kind.EVENT_CHANGED, f"event {row.id}: {row.fault()}")
            return
        if self._job is None or self._job.job_id != row.job_id:
            self.finish_job(connection)
            self._job = self._begin(row)
        self._job.take(connection, row)

    def finish_job(self, connection: Connection) -> None:
        """No more rows of the present job."""
        if self._job is None:
            return
        last = self._job.finish(connection)
        signed = self._heads.last.get(last.job_id) if self._heads is not None else last
        if signed is None or signed.version < last.version:
            self.unsigned.append(last)
        self._job = None

    def end(self, job_id: str | None) -> None:
        """No more rows: jobs that have a head and no event are gone."""
        if self._heads is None:
            return
        for gone in (self._heads.last.keys() | self._heads.disputed.keys()) - self._seen:
            if job_id in (None, gone):
                version = max(head.version for head in self._heads.of(gone))
                self._report.add(Kind.JOB_MISSING, "the whole job is gone", gone, version)

    def _begin(self, row: StoredRow) -> _JobChain:
        self._report.jobs += 1
        self._seen.add(row.job)
        heads = self._heads.of(row.job) if self._heads is not None else []
        return _JobChain(row.job_id, heads, self._report, archived=self._archived)


class _JobChain:
    """One job's events."""

    def __init__(self, job_id: bytes, heads: list[Head], report: Report, *, archived: bool) -> None:
        self.job_id = job_id
        self._name = job_id.decode(errors="replace")
        self._heads: dict[int, list[Head]] = {}
        for head in heads:
            self._heads.setdefault(head.version, []).append(head)
        self._report = report
        self._contents = ContentCheck(self._name, report, archived=archived)
        self._last = Head(self._name, 0, 0, GENESIS)

    def take(self, connection: Connection, row: StoredRow) -> None:
        missing = row.version - self._last.version - 1
        if missing > 0:
            first = self._last.version + 1
            self._add(Kind.EVENT_MISSING, f"{missing} events from version {first} on are gone", row)
        elif missing < 0:
            self._add(Kind.EVENT_CHANGED, "its version was there before", row)
        elif row.previous_hash != self._last.hash:
            self._add(Kind.EVENT_CHANGED, "it does not continue the event before it", row)
        if fault := row.fault():
            self._add(Kind.EVENT_CHANGED, fault, row)
        else:
            self._contents.take(connection, row)
        heads = self._heads.pop(row.version, ())
        if any(head.hash != row.hash for head in heads):
            self._add(Kind.HEAD_DIFFERS, "its hash is not the one that was signed", row)
        self._last = Head(self._name, row.version, row.id, row.hash)

    def finish(self, connection: Connection) -> Head:
        """The last event; heads that are left have none."""
        self._contents.finish(connection)
        for version in self._heads:
            self._report.add(
                Kind.TAIL_MISSING,
                f"an event was signed that is gone; the last one left is {self._last.version}",
                self._name,
                version,
            )
        return self._last

    def _add(self, kind: Kind, message: str, row: StoredRow) -> None:
        self._report.add(kind, message, self._name, row.version)
