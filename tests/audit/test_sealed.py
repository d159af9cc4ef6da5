"""What was sent is sealed where it lies, and the audit trail is the same as without."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, Select, func, select, update

from domain.errors import DataDirectoryUnusable
from domain.job import Job
from domain.outcomes import ClosedChunk
from domain.ranges import Ranges
from streams.stores import migrate, sealing
from streams.stores.audit import AuditKey, Kind, unseal_archive, verify_archive, write_archive
from streams.stores.database import Database
from streams.stores.ledger import Ledger
from streams.stores.outcomes import OutcomeRow
from streams.stores.payloads import PayloadReader
from streams.stores.schema import payload_keys, payloads
from streams.stores.sealing import InstallationKey
from tests.audit import trail as trails
from tests.audit.trail import Trail

JOB = "job-sealed"


@pytest.fixture
def sealed(database_url: str, tmp_path: Path) -> Iterator[Trail]:
    """A job of before anything was sealed, and one of after."""
    with Database(database_url) as before:
        migrate.upgrade(before)
        plain = Trail(before, tmp_path)
        plain.work(plain.submit("job-plain", 20))
    key = InstallationKey.load_or_create(tmp_path / sealing.FILE_NAME)
    with Database(database_url, key=key) as database:
        trail = Trail(database, tmp_path, uploads=plain.uploads)
        trail.work(trail.submit(JOB, 2500, chunk_size=1000))
        yield trail


def test_old_and_new_items_are_read_and_the_trail_is_sound(sealed: Trail) -> None:
    for job_id in ("job-plain", JOB):
        assert _lines(sealed.database, job_id)[7:9] == [b'{"n":7}', b'{"n":8}']
    report = sealed.verify()
    assert (report.findings, report.jobs, report.parts) == ([], 2, 4)


def test_nothing_that_was_sent_stands_in_the_database(sealed: Trail) -> None:
    stored = _all(sealed, select(payloads.c.upload_id, payloads.c.data))
    plain = [data for upload, data in stored if upload == "upload-1"]
    sealed_ones = [data for upload, data in stored if upload == "upload-2"]
    frame = b"\x28\xb5\x2f\xfd"
    assert [data[:4] for data in plain] == [frame]
    assert len(sealed_ones) == 3
    assert all(frame not in data[:32] for data in sealed_ones)
    keys = dict(_all(sealed, select(payload_keys.c.upload_id, payload_keys.c.algorithm)))
    assert keys == {"upload-1": sealing.PLAIN, "upload-2": sealing.AES_GCM}


@pytest.mark.parametrize("column", [payloads.c.data, payload_keys.c.key])
def test_a_changed_byte_is_found(sealed: Trail, column: object) -> None:
    table = payloads if column is payloads.c.data else payload_keys
    (before,) = _all(sealed, select(column).where(table.c.upload_id == "upload-2").limit(1))[0]
    changed = before[:-1] + bytes([before[-1] ^ 1])
    sealed.database.write_now(
        lambda c: c.execute(update(table).where(column == before).values({column.name: changed}))
    )
    (finding,) = sealed.verify().findings
    assert (finding.kind, finding.job_id) == (Kind.PAYLOAD, JOB)
    with pytest.raises(DataDirectoryUnusable, match="from a backup"):
        _lines(sealed.database, JOB)


def test_a_part_cannot_stand_in_for_another(sealed: Trail) -> None:
    mine = payloads.c.upload_id == "upload-2"
    other = _all(sealed, select(payloads.c.data).where(mine, payloads.c.part == 1))[0][0]
    sealed.database.write_now(
        lambda c: c.execute(update(payloads).where(mine, payloads.c.part == 0).values(data=other))
    )
    with pytest.raises(DataDirectoryUnusable, match="changed after it was sealed"):
        _lines(sealed.database, JOB)


def test_whoever_has_another_key_or_none_is_told_so(sealed: Trail, tmp_path: Path) -> None:
    address = sealed.database.url
    another = InstallationKey.load_or_create(tmp_path / "another.key")
    for key, why in ((None, "COUNTERMAND_PAYLOAD_KEY_FILE"), (another, "restore the right")):
        with Database(address, key=key) as database:
            with pytest.raises(DataDirectoryUnusable, match=why):
                _lines(database, JOB)
            with pytest.raises(DataDirectoryUnusable, match=why):
                database.read_now(sealing.require_openable)
            assert len(_lines(database, "job-plain")) == 20
    sealed.database.read_now(sealing.require_openable)


def test_an_archive_is_in_the_clear_and_needs_no_key_of_the_database(sealed: Trail) -> None:
    out = io.BytesIO()
    write_archive(sealed.database, sealed.heads, JOB, out, wait=lambda _: None)
    out.seek(0)
    report = verify_archive(out, AuditKey.load(sealed.folder / "audit.key"))
    assert (report.findings, report.parts) == ([], 3)


def test_a_large_row_is_archived_unsealed_and_verified(
    sealed: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before-images of a chunk may be of any size, and no part of them was kept elsewhere."""
    images = random.Random(1).randbytes(12_500_000)
    row_of = trails._row

    def row(job: Job, closed: ClosedChunk, ledger: Ledger) -> OutcomeRow:
        closed = closed.model_copy(update={"images": hashlib.sha256(images).hexdigest()})
        return replace(row_of(job, closed, ledger), closed=closed, images=images)

    monkeypatch.setattr(trails, "_row", row)
    sealed.work(sealed.submit("job-large", 10))
    own = AuditKey.load(sealed.folder / "audit.key")
    file, clear = io.BytesIO(), io.BytesIO()
    write_archive(sealed.database, sealed.heads, "job-large", file, sealed=True)
    assert len(max(file.getvalue().splitlines(), key=len)) > 16_000_000

    file.seek(0)
    report = verify_archive(file, own)
    assert (report.findings, report.outcomes, report.sealed) == ([], 1, 1)
    assert unseal_archive(sealed.database, file, clear) == 1
    clear.seek(0)
    report = verify_archive(clear, own)
    assert (report.findings, report.outcomes, report.parts, report.sealed) == ([], 1, 1, 0)


def test_no_two_uploads_share_a_key(sealed: Trail) -> None:
    sealed.submit("job-other", 5)
    keys = select(func.count(), func.count(payload_keys.c.key.distinct()))
    assert _all(sealed, keys.where(payload_keys.c.algorithm == sealing.AES_GCM)) == [(2, 2)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"not a key", "they are no such digits"),
        (b"ab" * 31, "31 bytes instead of 32"),
        (b"\xff" * 32, "no text"),
    ],
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "some.key"
    path.write_bytes(content)
    with pytest.raises(DataDirectoryUnusable, match=why):
        InstallationKey.load(path)


def test_a_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / sealing.FILE_NAME
    made = InstallationKey.load_or_create(path)
    assert InstallationKey.load_or_create(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.secret.hex() not in repr(made)


def _lines(database: Database, job_id: str) -> list[bytes]:
    count = 20 if job_id == "job-plain" else 2500
    reader = PayloadReader()
    return database.read_now(lambda c: reader.lines(c, job_id, Ranges.span(0, count)))


def _all(trail: Trail, statement: Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
    def read(connection: Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(statement)]

    return trail.database.read_now(read)
