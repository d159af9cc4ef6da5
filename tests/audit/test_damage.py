"""A damaged file, and values that no program of ours writes, are findings and no tracebacks."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.errors import DataDirectoryUnusable
from streams.stores.audit import Kind, Report, open_heads
from streams.stores.database import Database, sqlite_url
from tests.audit.trail import Trail


@pytest.fixture
def trail(sqlite_database: Database, tmp_path: Path) -> Trail:
    trail = Trail(sqlite_database, tmp_path)
    trail.work(trail.submit("job-20", 90), wrong=1)
    return trail


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET job_id = CAST(job_id AS BLOB) WHERE version = 3",
        "UPDATE events SET job_id = CAST(x'ff00fe' AS TEXT) WHERE version = 3",
        "UPDATE events SET version = 'three' WHERE version = 3",
        "UPDATE events SET version = 3.5 WHERE version = 3",
        "UPDATE events SET version = x'03' WHERE version = 3",
        "UPDATE events SET actor = CAST(actor AS BLOB) WHERE version = 3",
        "UPDATE events SET actor = CAST(x'ff' AS TEXT) WHERE version = 3",
        "UPDATE events SET state = CAST(state AS TEXT) WHERE version = 3",
        "UPDATE events SET hash = 'hash' WHERE version = 3",
        "UPDATE uploads SET first_item = 'none'",
        "UPDATE uploads SET sha256 = CAST(x'ff' AS TEXT)",
        "UPDATE payloads SET data = CAST(x'ff' AS TEXT)",
        "UPDATE payloads SET items = 'ninety'",
        "UPDATE payloads SET part = 'zero'",
        "UPDATE outcomes SET summary = CAST(x'ff' AS TEXT) WHERE chunk = 3",
        "UPDATE outcomes SET ledger = 'text' WHERE chunk = 3",
        "UPDATE outcomes SET failed = 'none' WHERE chunk = 3",
        "UPDATE outcomes SET closing = x'ff' WHERE chunk = 3",
    ],
)
def test_odd_values_are_found(trail: Trail, change: str) -> None:
    trail.database.write_now(lambda connection: connection.execute(text(change)))
    assert not trail.verify().sound
    open_heads(trail.folder, trail.database)
    assert not trail.verify().sound


def _damaged(trail: Trail, damage: Callable[[bytearray], None]) -> Report:
    """Verification of a copy of the file that was written into."""
    path = trail.folder / "damaged.db"
    for leftover in trail.folder.glob("damaged.db*"):
        leftover.unlink()
    trail.database.write_now(lambda connection: None)
    with sqlite3.connect(trail.folder / "countermand.db") as source, sqlite3.connect(path) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    with Database(sqlite_url(path)) as database:
        return Trail(database, trail.folder).verify()


def test_a_whole_copy_is_sound(trail: Trail) -> None:
    assert _damaged(trail, lambda content: None).sound


def test_a_file_that_is_no_database_is_a_finding(trail: Trail) -> None:
    def overwrite(content: bytearray) -> None:
        content[:16] = b"no such database"

    report = _damaged(trail, overwrite)
    assert [finding.kind for finding in report.findings] == [Kind.DAMAGED]
    assert "backup" in report.findings[0].message


def test_a_cut_file_is_a_finding(trail: Trail) -> None:
    def cut(content: bytearray) -> None:
        del content[len(content) // 2 :]

    assert Kind.DAMAGED in {finding.kind for finding in _damaged(trail, cut).findings}


def test_pages_of_rubbish_end_in_findings(trail: Trail) -> None:
    """Whatever page is hit, there is a report; what it hits may be free, or no part of it."""
    chance = random.Random(7)
    found = 0
    for _ in range(25):

        def overwrite(content: bytearray) -> None:
            page = chance.randrange(1, len(content) // 4096)
            content[page * 4096 : page * 4096 + 200] = chance.randbytes(200)

        found += not _damaged(trail, overwrite).sound
    assert found > 12


def test_a_start_on_a_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "countermand.db"
    path.write_bytes(b"no such database" * 100)
    with (
        Database(sqlite_url(path)) as database,
        pytest.raises(DataDirectoryUnusable, match="backup"),
    ):
        open_heads(tmp_path, database)
