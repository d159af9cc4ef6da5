"""Verify: every stored byte of the audit trail against its chain, its heads and digests.

Memory is constant, but for one head a job; the trail is read once, as it was at one
moment, and may be in use meanwhile. Snapshots and lists are no part of the trail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, text

from domain.errors import DataDirectoryUnusable
from streams.stores.audit.chains import ChainCheck
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import Heads, HeadsFile
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
) -> Report:
    """Look at everything, or at one job; the file of an SQLite database is read to its end.

    Raises StoreUnavailable, and nothing for damage. Without ``heads`` a changed last event and a
    missing tail are not found.
    """
    report = Report()
    if _read(database, report, partial(_check_file, report=report)):
        known = None
        if heads is not None:
            known = heads.read()
            known.report(report)
        _follow(database, heads, report, known, job_id=job_id, wait=wait)
    return report


def verify_trail(
    database: Database,
    heads: HeadsFile | None,
    *,
    job_id: str,
    wait: Callable[[float], None] = time.sleep,
    archived: bool = False,
) -> Report:
    """Look at what is stored of one job, as ``verify``, and not at the file for its sake.

    Nor at the heads of other jobs: there is one for every job that ever was. What is ``archived``
    may be sealed with keys that are elsewhere, and is counted then.
    """
    report = Report()
    known = None
    if heads is not None:
        known = heads.read_of(job_id)
        known.report_of(report, job_id)
    _follow(database, heads, report, known, job_id=job_id, wait=wait, archived=archived)
    return report


def _follow(
    database: Database,
    heads: HeadsFile | None,
    report: Report,
    known: Heads | None,
    *,
    job_id: str | None,
    wait: Callable[[float], None],
    archived: bool = False,
) -> None:
    check = ChainCheck(report, known, archived=archived)
    if not _read(database, report, partial(_take_rows, check=check, job_id=job_id)):
        return
    check.end(job_id)
    if heads is not None and known is not None and not known.foreign:
        report_unsigned(report, heads, check.unsigned, wait)


def _read(database: Database, report: Report, look: Callable[[Connection], None]) -> bool:
    """Whether the database could be read to the end of that look; the damage is reported."""
    try:
        database.snapshot_now(look)
    except DataDirectoryUnusable as damage:
        report.add(Kind.DAMAGED, damage.message)
        return False
    return True


def _take_rows(connection: Connection, check: ChainCheck, job_id: str | None) -> None:
    for row in rows_by_job(connection, job_id):
        check.take(connection, row)
    check.finish_job(connection)


def _check_file(connection: Connection, report: Report) -> None:
    """An index that lacks a row would hide it from the queries."""
    if connection.dialect.name != "sqlite":
        return
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
    of_one = len({head.job_id for head in unsigned}) == 1
    last = (heads.read_of(unsigned[0].job_id) if of_one else heads.read()).last
    return [head for head in unsigned if not _covers(last.get(head.job_id), head)]


def _covers(signed: Head | None, head: Head) -> bool:
    if signed is None or signed.version < head.version:
        return False
    return signed.version > head.version or signed.hash == head.hash
