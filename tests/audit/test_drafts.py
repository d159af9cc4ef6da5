"""What an archived job gives up is deleted for no file that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import structlog

from domain.commands import ArchiveJob
from streams.stores.audit import archive, lines
from streams.stores.database import Database
from tests.engine.keeping import kept


async def test_nothing_is_deleted_for_a_file_that_cannot_be_read(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = kept(database, tmp_path)
    job_id = await keeping.done()
    (await keeping.stages.command(ArchiveJob, job_id, reason="the season is over")).accepted()
    await keeping.stages.run_dry()
    count = "SELECT count(*) FROM outcomes"
    before = await keeping.stages.rows(count)

    def unreadable(_line: bytes) -> NoReturn:
        raise lines.no_archive("a line is too long")

    with monkeypatch.context() as reading, structlog.testing.capture_logs() as logs:
        reading.setattr(archive, "document_of", unreadable)
        await keeping.archive()

    (entry,) = (entry for entry in logs if entry["event"] == "archive_not_written")
    assert (entry["log_level"], entry["job_id"]) == ("error", job_id)
    assert "cannot be read again" in entry["reason"]
    assert keeping.files(job_id) == []
    assert await keeping.stages.rows(count) == before
    # Another process has not noted that it cannot be.
    keeping.renew()
    await keeping.archive()
    assert len(keeping.files(job_id)) == 1
    assert await keeping.stages.rows(count) == [(0,)]
