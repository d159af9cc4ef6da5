"""Verify: every stored byte of the audit trail against its chain, its heads and digests.

Memory is constant, but for one head a job; the database is read once, in one
transaction, and may be in use meanwhile. Snapshots and lists are no part of the trail.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from domain.errors import DataDirectoryUnusable
from streams.stores.audit.chains import ChainCheck
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import HeadsFile
from streams.stores.audit.stored import rows_by_job
from streams.stores.chain import Head
from streams.stores.database import Database

SIGNING_SECONDS = 2.0
"""How long a server that is at work may take between a commit and its signature."""

_STEP_SECONDS = 0.05


def verify(
    database: Database,
    heads: HeadsFile | None,
    *,
    job_id: str | None = None,
    wait: Callable[[float], None] = time.sleep,
    archived: bool = False,
    whole: bool = True,
) -> Report:
    """Look at everything, or at one job; raises StoreUnavailable, and nothing for damage.

    With ``whole`` off, the file of an SQLite database is not read to its end for one job's sake.

    Without ``heads`` a changed last event and a missing tail are not found. What is ``archived``
    may be sealed with keys that are elsewhere, and is counted then.
    """
    report = Report()
    known = heads.read() if heads is not None else None
    if known is not None:
        known.report(report)
    check = ChainCheck(report, known, archived=archived)
    try:
        database.read_now(lambda connection: _read(connection, check, report, job_id, whole))
    except DataDirectoryUnusable as damage:
        report.add(Kind.DAMAGED, damage.message)
        return report
    check.end(job_id)
    if heads is not None and known is not None and not known.foreign:
        report_unsigned(report, heads, check.unsigned, wait)
    return report


def _read(
    connection: Connection, check: ChainCheck, report: Report, job_id: str | None, whole: bool
) -> None:
    if whole and connection.dialect.name == "sqlite":
        _check_file(connection, report)
    for row in rows_by_job(connection, job_id):
        check.take(connection, row)
    check.finish_job(connection)


def _check_file(connection: Connection, report: Report) -> None:
    """An index that lacks a row would hide it from the queries."""
    for (line,) in connection.execute(text("PRAGMA integrity_check(20)")):
        if line != "ok":
            report.add(Kind.DAMAGED, f"the database file is damaged: {line}")


def report_unsigned(
    report: Report, heads: HeadsFile, unsigned: list[Head], wait: Callable[[float], None]
) -> None:
    """Tell of heads that are not signed; a server at work signs a moment after the commit."""
    waited = 0.0
    missing = _missing(heads, unsigned)
    while missing and waited < SIGNING_SECONDS:
        wait(_STEP_SECONDS)
        waited += _STEP_SECONDS
        missing = _missing(heads, missing)
    for head in missing:
        report.add(
            Kind.UNSIGNED,
            f"what was stored up to version {head.version} is not signed; if a crash came between, "
            "the next start of the server signs them",
            head.job_id,
            head.version,
        )


def _missing(heads: HeadsFile, unsigned: list[Head]) -> list[Head]:
    if not unsigned:
        return []
    last = heads.read().last
    return [head for head in unsigned if not _covers(last.get(head.job_id), head)]


def _covers(signed: Head | None, head: Head) -> bool:
    if signed is None or signed.version < head.version:
        return False
    return signed.version > head.version or signed.hash == head.hash
