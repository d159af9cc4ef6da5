"""Signer: heads for what several processes commit, in the order of the log.

A process that alone commits everything signs at once. Where there are several, none sees
all commits, so each follows the log into a data directory of its own: any one of these is
enough for verification. Between a commit and its signature lies a moment in which a
change of that event would go unseen, unless another directory holds the signature already.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from streams.stores.audit.findings import Report
from streams.stores.audit.heads import DirectoryRefused, HeadsFile, signing_in
from streams.stores.audit.reconcile import Signing, begin_in, open_heads
from streams.stores.audit.stored import BATCH, StoredRow, page_after
from streams.stores.database import Database

log = structlog.get_logger(__name__)


class Signer:
    """Signs into one data directory, which must be its alone. All methods block."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._following: _Following | None = None
        self._is_refused = False
        # Now: whoever signs the rules may make the key before this signs anything. A disk that is
        # full keeps no process from starting: whoever signs meets it again, and tries later.
        with suppress(OSError):
            begin_in(folder)

    def sign(self) -> None:
        """Sign what was committed since the last time; events that do not fit are logged.

        Raises Unavailable when the database is away, and when the directory takes no heads yet.
        """
        if self._following is None:
            try:
                with signing_in(self._folder):
                    self._following = _Following(open_heads(self._folder, self._database))
            except DirectoryRefused:
                self._is_refused = True
                raise
        self._following.catch_up(self._database)

    @property
    def unwritten(self) -> int:
        """How many heads wait until they can be written; one at least where none can be yet."""
        return int(self._is_refused) if self._following is None else self._following.heads.unwritten

    def compact(self) -> None:
        """Keep the file short."""
        if self._following is not None:
            self._following.heads.compact()


class _Following:
    """Where in the log a heads file has come to."""

    def __init__(self, heads: HeadsFile) -> None:
        self.heads = heads
        self._known = heads.read()
        self._position = self._known.last_id
        self._broken: set[str] = set()

    def catch_up(self, database: Database) -> None:
        """Page by page, mostly one of a few rows; what is not written is left for later."""
        self.heads.make_up()
        while True:
            found = database.read_now(lambda c: page_after(c, self._position), single=True)
            if not found or not self._sign(found) or len(found) < BATCH:
                return

    def _sign(self, rows: Sequence[StoredRow]) -> bool:
        """Whether the heads are written; else nothing has happened."""
        report, broken = Report(), set(self._broken)
        signing = Signing(self._known, broken, report)
        for row in rows:
            signing.take(row)
        if not self.heads.append(signing.fresh.values()):
            return False
        self._known.last |= signing.fresh
        self._broken, self._position = broken, rows[-1].id
        for finding in report.findings:
            log.error(
                "an event is not signed; run `countermand audit verify`",
                job_id=finding.job_id,
                version=finding.version,
                why=finding.message,
            )
        return True
