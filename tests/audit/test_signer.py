"""The signer: heads of what others commit, and of nothing that does not fit."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import structlog
from sqlalchemy import delete

from domain.errors import Unavailable
from streams.stores.audit import Kind, RuleSigner, Signer, heads, stored, verify
from streams.stores.audit import signer as signers
from streams.stores.database import Database
from streams.stores.schema import events
from tests.audit.trail import Trail


@pytest.fixture
def unsigned(database: Database, tmp_path: Path) -> Trail:
    """What is saved here is signed by nobody."""
    trail = Trail(database, tmp_path)
    trail.signing = False
    return trail


@pytest.fixture
def signer(unsigned: Trail) -> Signer:
    return Signer(unsigned.folder, unsigned.database)


def test_what_others_commit_is_signed_round_by_round(unsigned: Trail, signer: Signer) -> None:
    signer.sign()
    for number in range(3):
        unsigned.work(unsigned.submit(f"job-{number}", 30))
        assert {finding.kind for finding in unsigned.verify().findings} == {Kind.UNSIGNED}
        signer.sign()
        assert unsigned.verify().sound
    written = unsigned.heads.path.read_bytes()

    signer.sign()

    assert unsigned.heads.path.read_bytes() == written, "nothing was new"


def test_it_goes_on_where_the_one_before_it_was_killed(unsigned: Trail, signer: Signer) -> None:
    unsigned.work(unsigned.submit("job", 30))
    signer.sign()
    unsigned.submit("later", 10)

    with structlog.testing.capture_logs() as logs:
        Signer(unsigned.folder, unsigned.database).sign()

    assert logs == []
    assert unsigned.verify().sound


def full(path: Path, lines: bytes) -> None:
    """A disk on which nothing can be appended."""
    raise OSError(errno.ENOSPC, f"no space for {len(lines)} bytes", str(path))


def test_what_could_not_be_written_is_signed_the_next_time(
    unsigned: Trail, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the file would end with a later head of another job, and nobody look before it."""
    signer.sign()
    unsigned.work(unsigned.submit("job", 30))

    with monkeypatch.context() as disk:
        disk.setattr(heads, "_append", full)
        with structlog.testing.capture_logs() as logs:
            signer.sign()
    assert ["no space" in entry["why"] for entry in logs] == [True]
    assert {finding.kind for finding in unsigned.verify().findings} == {Kind.UNSIGNED}
    unsigned.submit("another", 10)
    signer.sign()
    assert unsigned.verify().sound


def test_a_full_disk_neither_ends_it_nor_keeps_it_from_its_start(
    unsigned: Trail, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = unsigned.submit("job", 30)
    signer.sign()
    unsigned.work(job, chunks=1)
    unsigned.work(unsigned.submit("another", 10))

    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    another = Signer(unsigned.folder, unsigned.database)
    with monkeypatch.context() as disk, structlog.testing.capture_logs() as logs:
        disk.setattr(heads, "_append", full)
        disk.setattr(heads.os, "fsync", no_room)
        signer.compact()
        another.sign()
        unsigned.work(job, chunks=1)
        another.sign()
    assert {entry["log_level"] for entry in logs} == {"warning"}
    assert {finding.kind for finding in unsigned.verify().findings} == {Kind.UNSIGNED}

    with structlog.testing.capture_logs() as logs:
        another.sign()
    assert {entry["log_level"] for entry in logs} == {"info"}
    assert unsigned.verify().findings == []


def test_what_a_start_could_not_write_is_written_although_nothing_is_new(
    unsigned: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned.work(unsigned.submit("job", 30))
    signer = Signer(unsigned.folder, unsigned.database)
    with monkeypatch.context() as disk:
        disk.setattr(heads, "_append", full)
        signer.sign()
    signer.sign()
    assert unsigned.verify().findings == []


def test_a_fault_is_told_although_the_page_could_not_be_written_at_first(
    unsigned: Trail, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = unsigned.submit("job", 30)
    signer.sign()
    unsigned.work(job, chunks=1)
    unsigned.submit("another", 10)
    cut = (events.c.job_id == "job") & (events.c.version == 2)
    unsigned.database.write_now(lambda connection: connection.execute(delete(events).where(cut)))

    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as disk:
            disk.setattr(heads, "_append", full)
            signer.sign()
        signer.sign()
        signer.sign()
    assert [entry["job_id"] for entry in logs if "job_id" in entry] == ["job"]


def test_more_than_a_page_is_signed_in_one_round(
    unsigned: Trail, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signers, "BATCH", 3)
    monkeypatch.setattr(stored, "BATCH", 3)
    signer.sign()
    for number in range(4):
        unsigned.submit(f"job-{number}", 10)
    signer.sign()
    assert unsigned.verify().sound


def test_an_event_that_does_not_fit_is_told_once_and_its_job_signed_no_further(
    unsigned: Trail, signer: Signer
) -> None:
    job = unsigned.submit("job", 30)
    signer.sign()
    unsigned.work(job, chunks=1)
    cut = (events.c.job_id == "job") & (events.c.version == 2)
    unsigned.database.write_now(lambda connection: connection.execute(delete(events).where(cut)))

    with structlog.testing.capture_logs() as logs:
        signer.sign()
        unsigned.submit("other", 10)
        signer.sign()

    assert [(entry["job_id"], entry["version"]) for entry in logs] == [("job", 3)]
    signed = unsigned.heads.read().last
    assert (signed["job"].version, signed["other"].version) == (1, 1)


def test_each_of_two_directories_has_all(unsigned: Trail, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Trail(unsigned.database, tmp_path / "other")
    second = Signer(other.folder, other.database)
    for number in range(4):
        unsigned.submit(f"job-{number}", 10)
        (signer, second)[number % 2].sign()
    signer.sign()

    for trail in (unsigned, other):
        assert verify(trail.database, trail.heads).sound
        assert len(trail.heads.read().last) == 4


def test_a_short_file_says_the_same(unsigned: Trail, signer: Signer) -> None:
    signer.compact()
    job = unsigned.submit("job", 30)
    for _ in range(3):
        signer.sign()
        unsigned.work(job, chunks=1)
    signer.sign()
    assert unsigned.heads.read().read == 4

    signer.compact()

    assert unsigned.heads.read().read == 1
    assert unsigned.verify().sound


def test_rules_that_are_signed_first_are_no_trace_of_heads(unsigned: Trail, tmp_path: Path) -> None:
    """The other one of the process makes the key; it ends before this one has signed."""
    folder = tmp_path / "another"
    folder.mkdir()
    unsigned.submit("job", 10)
    for _ in range(2):
        Signer(folder, unsigned.database)
        RuleSigner(folder, unsigned.database).sign()
    with structlog.testing.capture_logs() as logs:
        Signer(folder, unsigned.database).sign()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("heads_begun", "warning")]


def test_a_first_start_on_a_full_disk_signs_once_there_is_room(
    unsigned: Trail, tmp_path: Path
) -> None:
    folder = tmp_path / "another"
    folder.mkdir()
    unsigned.submit("job", 10)

    def refuse(_self: Path, **_mode: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", refuse)
        signer = Signer(folder, unsigned.database)
        # Whoever has it sign goes on, and tries again.
        with pytest.raises(Unavailable, match=r"another.*free some space there"):
            signer.sign()
        assert signer.unwritten == 1, "or nobody is alarmed"
    with structlog.testing.capture_logs() as logs:
        signer.sign()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("heads_begun", "warning")]


def test_rules_are_signed_once_there_is_room_for_a_key(unsigned: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "another"
    signer = RuleSigner(folder, unsigned.database)
    with pytest.raises(Unavailable, match=r"another.*let this process write to it"):
        signer.sign()
    assert signer.unwritten == 1, "or nobody is alarmed"
    folder.mkdir()
    signer.sign()
    assert signer.unwritten == 0


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """The caller tries again, as with all that is unavailable."""
    address = "postgresql+psycopg://countermand@127.0.0.1:9/nobody"
    with Database(address) as database:
        signer = Signer(tmp_path, database)
        for _ in range(2):
            with pytest.raises(Unavailable):
                signer.sign()
        assert signer.unwritten == 0, "the directory is not to blame"
