"""Reconcile: at a start, bring heads file and database together again.

Events that were committed just before a crash get the signature they missed, if they
continue the chain. So do those whose heads were lost on the way to a full disk while later
ones were written, which the log tells: the chain has no key, so who can write both the
database and the heads may have had a hand in it. What the database contradicts is reported
and kept as disputed, so that no later commit covers it up; it never keeps the server from
starting, nor does a disk that is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import structlog
from sqlalchemy import Connection

from streams.process_lock import SIGNS, is_held
from streams.stores.audit import heads as heads_files
from streams.stores.audit import key as keys
from streams.stores.audit import rules
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import Heads, HeadsFile
from streams.stores.audit.key import AuditKey
from streams.stores.audit.stored import (
    StoredRow,
    newest_versions,
    rows_after,
    rows_missed,
    rows_of_heads,
)
from streams.stores.chain import GENESIS, Head
from streams.stores.database import Database

log = structlog.get_logger(__name__)

BATCH = 400
"""Heads looked up in one statement."""
MOST_NAMED = 20
"""Jobs of which the log says that they were signed late."""


class Start(StrEnum):
    """Whether anybody has signed in a data directory before."""

    FIRST = "first"
    AGAIN = "again"


def begin_in(folder: Path) -> Start:
    """What a start in a data directory is; the first one leaves empty heads, before any key.

    So empty heads are of a directory in which nothing was signed yet, as of one coordinator more
    that found no job, or was ended at its start. Where there are none at all beside a key, or
    beside signed rules, somebody has taken them away.
    """
    heads = folder / heads_files.FILE_NAME
    if heads.exists():
        return Start.AGAIN if heads_files.has_lines(heads) else Start.FIRST
    if any((folder / name).exists() for name in (keys.FILE_NAME, rules.FILE_NAME)):
        return Start.AGAIN
    heads.touch(mode=0o600)
    return Start.FIRST


def open_heads(folder: Path, database: Database) -> HeadsFile:
    """The heads file of a data directory, short and up to date; faults are logged.

    Makes key and file when they are not there.
    """
    begin = _begin if begin_in(folder) is Start.FIRST else reconcile
    key = AuditKey.load_or_create(folder / keys.FILE_NAME)
    heads = HeadsFile(folder / heads_files.FILE_NAME, key)
    # First, since it takes away a line that a crash has left unfinished.
    heads.compact()
    for finding in begin(database, heads).findings:
        log.error(
            "the audit trail was tampered with; run `countermand audit verify`",
            job_id=finding.job_id,
            version=finding.version,
            why=finding.message,
        )
    return heads


def known_heads(folder: Path) -> HeadsFile | None:
    """The heads file of a data directory as it is; None while nobody has signed there."""
    place = folder / keys.FILE_NAME
    if not place.exists():
        return None
    return HeadsFile(folder / heads_files.FILE_NAME, AuditKey.load(place))


def live_heads(folder: Path) -> HeadsFile | None:
    """As ``known_heads``, while a coordinator signs there; None for what another has left.

    Nobody adds to those of a former server: all that came since would be called unsigned. Those
    of a ``serve`` are of a database of its own.
    """
    return known_heads(folder) if is_held(folder, SIGNS) else None


def reconcile(database: Database, heads: HeadsFile) -> Report:
    """Sign what was committed last and dispute what is contradicted; tells what is wrong."""
    known = heads.read()
    report, signed = _sign(database, heads, known)
    if signed and not known.read:
        report.add(Kind.HEADS_LINE, f"there were no heads; {signed} jobs were signed anew")
    return report


def _begin(database: Database, heads: HeadsFile) -> Report:
    """Sign all that there is, for the first time in this directory."""
    report, signed = _sign(database, heads, heads.read())
    if signed:
        log.warning(
            "heads_begun",
            file=str(heads.path),
            jobs=signed,
            why="nobody has signed in this directory before, so it vouches for what comes from now "
            "on; if somebody had, bring back its audit.key and heads",
        )
    return report


def _sign(database: Database, heads: HeadsFile, known: Heads) -> tuple[Report, int]:
    """What is wrong, and of how many jobs there was something to sign."""
    report = Report()
    known.report(report)
    contradicted, fresh = database.snapshot_now(
        lambda connection: _compare(connection, known, report)
    )
    heads.dispute(contradicted.values())
    heads.append(fresh.values())
    return report, len(fresh)


class Signing:
    """Goes through events that are not signed, of each job in the order of the commits.

    ``fresh`` are the heads to sign. No event of the ``broken`` jobs is; more may become so.
    """

    def __init__(self, known: Heads, broken: set[str], report: Report) -> None:
        self.fresh: dict[str, Head] = {}
        self._known = known
        self._report = report
        self._broken = broken

    def take(self, row: StoredRow) -> None:
        """Sign the event if it continues what is signed, or report it."""
        if row.typed and row.job in self._broken:
            return
        fault = row.fault() or self._gap(row)
        if fault:
            self._refuse(row, fault)
        else:
            self.fresh[row.job] = Head(row.job, row.version, row.id, row.hash)

    def _refuse(self, row: StoredRow, fault: str) -> None:
        if not row.typed:
            self._report.add(Kind.EVENT_CHANGED, f"event {row.id} is not signed: {fault}")
            return
        self._broken.add(row.job)
        self.fresh.pop(row.job, None)
        self._report.add(Kind.EVENT_CHANGED, f"not signed: {fault}", row.job, row.version)

    def _gap(self, row: StoredRow) -> str:
        head = self.fresh.get(row.job) or self._known.last.get(row.job)
        version, last_hash = (head.version, head.hash) if head else (0, GENESIS)
        if row.version != version + 1:
            return f"the last signed event of the job is version {version}"
        return "" if row.previous_hash == last_hash else "it does not continue the signed chain"


def _compare(
    connection: Connection, known: Heads, report: Report
) -> tuple[dict[str, Head], dict[str, Head]]:
    """Heads that the database contradicts, and heads to sign; by job."""
    contradicted = dict(_contradicted(connection, known, report))
    signing = Signing(known, set(contradicted), report)
    _take_missed(connection, known, signing)
    for row in rows_after(connection, known.last_id):
        signing.take(row)
    return contradicted, signing.fresh


def _take_missed(connection: Connection, known: Heads, signing: Signing) -> None:
    """Events that are not signed although later ones of other jobs are."""
    last = known.last_id
    # Where nothing is signed, all events come later.
    newest = newest_versions(connection, last) if last else ()
    signed = {job_id: head.version for job_id, head in known.last.items()}
    missed = {job_id for job_id, version in newest if version > signed.get(job_id, 0)}
    for job_id in sorted(missed):
        for row in rows_missed(connection, job_id, signed.get(job_id, 0), last):
            signing.take(row)
    if late := sorted(signing.fresh):
        log.warning(
            "heads were missing, as after a full disk; the events are signed now",
            jobs=len(late),
            job_ids=late[:MOST_NAMED],
        )


def _contradicted(
    connection: Connection, known: Heads, report: Report
) -> Iterator[tuple[str, Head]]:
    last = list(known.last.values())
    for first in range(0, len(last), BATCH):
        batch = last[first : first + BATCH]
        rows = rows_of_heads(connection, batch)
        for head in batch:
            row = rows.get(head.job_id)
            if row is None:
                report.add(Kind.TAIL_MISSING, "a signed event is gone", head.job_id, head.version)
            elif row.hash != head.hash or row.fault():
                report.add(
                    Kind.HEAD_DIFFERS, "a signed event was changed", head.job_id, head.version
                )
            else:
                continue
            yield head.job_id, head
