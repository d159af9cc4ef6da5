"""Rules: who has changed which rule of retention, chained and signed as events of jobs are.

The rules decide what is shredded and put away, so that one who could change them unseen could
have anything forgotten. There are few changes: nobody stores hashes beside them, who signs
goes on from the last one, and who verifies goes through all. Their heads are in a file of
their own, in the format of the other.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Row, select

from domain.errors import DataDirectoryUnusable
from streams.stores.audit import key as keys
from streams.stores.audit.findings import Kind, Report
from streams.stores.audit.heads import DirectoryRefused, Heads, HeadsFile, signing_in
from streams.stores.audit.key import AuditKey
from streams.stores.audit.verify import report_unsigned
from streams.stores.chain import GENESIS, Head, framed
from streams.stores.database import Database
from streams.stores.schema_keeping import retention_changes, retention_rules

log = structlog.get_logger(__name__)

FILE_NAME = "heads.retention"
TRAIL = "retention"
"""Stands where other heads name a job; the number of a change where these have a version."""

_BEGIN = Head(TRAIL, 0, 0, GENESIS)


def rule_heads(folder: Path, key: AuditKey) -> HeadsFile:
    """The signed heads of a data directory; the file need not be there."""
    return HeadsFile(folder / FILE_NAME, key)


class RuleSigner:
    """Signs into one data directory, which must be its alone. All methods block."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._heads: HeadsFile | None = None
        self._last = _BEGIN
        self._broken = self._is_refused = False

    def sign(self) -> None:
        """Sign what was changed since the last time, unless what was signed is not so any more.

        Raises Unavailable when the database is away, and when the directory takes no heads yet.
        """
        if self._heads is None:
            try:
                with signing_in(self._folder):
                    key = AuditKey.load_or_create(self._folder / keys.FILE_NAME)
                    heads = rule_heads(self._folder, key)
                    self._last = self._compared(heads)
            except DirectoryRefused:
                self._is_refused = True
                raise
            self._heads = heads
        if self._broken:
            return
        before = self._last
        last = self._database.read_now(lambda connection: _last(connection, before))
        if last != before and self._heads.append([last]):
            self._last = last

    @property
    def unwritten(self) -> int:
        """How many heads wait until they can be written."""
        return int(self._is_refused) if self._heads is None else self._heads.unwritten

    def _compared(self, heads: HeadsFile) -> Head:
        """At a start: the head that was signed last, which the changes must agree with."""
        # First, since it takes away a line that a crash has left unfinished.
        heads.compact()
        known, report = heads.read(), Report()
        self._database.read_now(lambda connection: _compare(connection, known, report))
        for finding in report.findings:
            log.error(
                "the trail of retention rules was tampered with; run `countermand audit verify`",
                change=finding.version,
                why=finding.message,
            )
        self._broken = bool(report.findings)
        return known.last.get(TRAIL, _BEGIN)


def verify_rules(
    database: Database,
    heads: HeadsFile,
    report: Report,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Look at all changes of rules, and whether the rules are what these have made them."""
    known = heads.read()
    known.report(report)
    try:
        last = database.snapshot_now(lambda connection: _verify(connection, known, report))
    except DataDirectoryUnusable as damage:
        report.add(Kind.DAMAGED, damage.message)
        return
    signed = known.last.get(TRAIL, _BEGIN)
    if last.version > signed.version and not known.foreign:
        report_unsigned(report, heads, [last], wait)


def _verify(connection: Connection, known: Heads, report: Report) -> Head:
    last = _compare(connection, known, report)
    rules = {
        (row.tenant, row.kind): _said(row) for row in connection.execute(select(retention_rules))
    }
    made: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in _changes(connection, 0):
        made.pop((row.tenant, row.kind), None)
        if row.action == "set":
            made[row.tenant, row.kind] = _said(row)
    for tenant, kind in sorted(rules.keys() | made.keys()):
        if rules.get((tenant, kind)) != made.get((tenant, kind)):
            report.add(
                Kind.RULE,
                f"the rule of tenant {tenant} for {kind} is not what was last said of it; set it "
                "again, or remove it",
            )
    return last


def _compare(connection: Connection, known: Heads, report: Report) -> Head:
    """The present head; what was signed must be on the way to it."""
    wanted = {head.version: head for head in known.of(TRAIL)}
    last = _BEGIN
    for last in _trail(connection, _BEGIN):
        head = wanted.pop(last.version, None)
        if head is not None and head.hash != last.hash:
            report.add(
                Kind.RULE,
                "a change of a retention rule was changed after it was signed, or is gone",
                version=last.version,
            )
    for version in wanted:
        report.add(Kind.RULE, "a signed change of a retention rule is gone", version=version)
    return last


def _last(connection: Connection, after: Head) -> Head:
    return next(iter(deque(_trail(connection, after), maxlen=1)), after)


def _trail(connection: Connection, after: Head) -> Iterator[Head]:
    """A head for each change behind one."""
    digest = after.hash
    for row in _changes(connection, after.version):
        digest = hashlib.sha256(framed(digest, *_columns(row))).digest()
        yield Head(TRAIL, row.change, 0, digest)


def _changes(connection: Connection, after: int) -> Iterator[Row[Any]]:
    statement = (
        select(retention_changes)
        .where(retention_changes.c.change > after)
        .order_by(retention_changes.c.change)
    )
    with connection.execute(statement, execution_options={"yield_per": 100}) as rows:
        yield from rows


def _columns(row: Row[Any]) -> list[bytes]:
    told = (row.change, row.tenant, row.kind, row.action, *_said(row)[:2], row.actor, row.reason)
    return [repr(value).encode() for value in (*told, row.changed_at)]


def _said(row: Row[Any]) -> tuple[Any, ...]:
    """What a rule says, and who has said so and when."""
    by = row.actor if "actor" in row._fields else row.changed_by
    return row.shred_after, row.archive_after, by, row.changed_at
