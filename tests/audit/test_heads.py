"""The heads file: signed, short, and brought up to date after a crash without hiding anything."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import delete, select, update

from domain.errors import DataDirectoryUnusable
from streams.stores import migrate
from streams.stores.audit import AuditKey, Head, HeadsFile, Kind, open_heads, reconcile
from streams.stores.audit import heads as heads_files
from streams.stores.chain import GENESIS
from streams.stores.database import Database, sqlite_url
from streams.stores.schema import events
from tests.audit.trail import Trail


@pytest.fixture
def file(tmp_path: Path) -> HeadsFile:
    return HeadsFile(tmp_path / "heads", AuditKey(b"k" * 32))


def _head(job_id: str, version: int, *, number: int = 0, mark: int = 0) -> Head:
    return Head(job_id, version, number or version, bytes([mark]) * 32)


# -- the key ---------------------------------------------------------------------------


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = AuditKey.load_or_create(path)
    assert AuditKey.load_or_create(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key.secret) == 32
    assert AuditKey.load_or_create(tmp_path / "other.key") != key
    assert sorted(found.name for found in tmp_path.iterdir()) == ["audit.key", "other.key"]


def test_a_key_is_not_shown() -> None:
    assert "6b6b" not in repr(AuditKey(b"k" * 32))
    assert "kkkk" not in repr(AuditKey(b"k" * 32))


def test_a_key_comes_from_settings() -> None:
    assert AuditKey.from_hex("6b" * 32) == AuditKey(b"k" * 32)


@pytest.mark.parametrize("text", ["", "6b", "zz" * 32, "6b" * 33])
def test_a_wrong_key_in_settings_is_refused(text: str) -> None:
    with pytest.raises(DataDirectoryUnusable, match="audit key"):
        AuditKey.from_hex(text)


def test_a_cut_or_missing_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"k" * 31)
    with pytest.raises(DataDirectoryUnusable, match="backup"):
        AuditKey.load_or_create(tmp_path / "cut")
    with pytest.raises(DataDirectoryUnusable, match="backup"):
        AuditKey.load(tmp_path / "missing")


# -- the file --------------------------------------------------------------------------


def test_the_last_head_of_each_job_counts(file: HeadsFile) -> None:
    file.append([_head("a", 1), _head("b", 1)])
    file.append([])
    file.append([_head("a", 3)])
    found = file.read()
    assert found.last == {"a": _head("a", 3), "b": _head("b", 1)}
    assert (found.read, found.strange, found.disputed, found.last_id) == (3, [], {}, 3)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_file_that_is_not_there_is_empty(file: HeadsFile) -> None:
    file.compact()
    assert file.read().read == 0
    assert not file.path.exists()


def test_compaction_keeps_what_counts(file: HeadsFile) -> None:
    for version in range(1, 200):
        file.append([_head("a", version), _head("b", version)])
    file.compact()
    assert len(file.path.read_bytes().splitlines()) == 2
    assert file.read().last == {"a": _head("a", 199), "b": _head("b", 199)}
    assert [path.name for path in file.path.parent.iterdir()] == ["heads"]


@pytest.mark.parametrize(
    "later", [_head("a", 4, mark=1), _head("a", 5, mark=1)], ids=["lower", "same version"]
)
def test_a_head_that_a_later_one_contradicts_is_kept(file: HeadsFile, later: Head) -> None:
    file.append([_head("a", 5), later])
    for _ in range(3):
        file.compact()
        file.append([_head("a", 9, mark=2)])
        assert file.read().of("a") == [_head("a", 5), _head("a", 9, mark=2)]


def test_lines_that_are_not_ours_are_kept_and_told(file: HeadsFile) -> None:
    file.append([_head("a", 1)])
    other = HeadsFile(file.path, AuditKey(bytes(32)))
    other.append([_head("b", 1)])
    with file.path.open("ab") as raw:
        raw.write(b"\nhead\nwhat is this\n\xff\xfe\n")
    for _ in range(2):
        file.compact()
        found = file.read()
        assert (len(found.strange), found.strange_count, set(found.last)) == (5, 5, {"a"})


def test_another_spelling_of_a_signed_line_is_not_ours(file: HeadsFile) -> None:
    file.append([_head("a", 1)])
    line = file.path.read_bytes()
    for spelling in (line.replace(b" 1 1 ", b" 01 1 "), line.upper(), line.replace(b" ", b"  ")):
        file.path.write_bytes(spelling)
        assert file.read().foreign, spelling


def test_a_signature_of_a_head_does_not_dispute(file: HeadsFile) -> None:
    file.append([_head("a", 1)])
    file.path.write_bytes(file.path.read_bytes().replace(b"head ", b"disputed "))
    assert file.read().foreign


def test_a_torn_last_line_is_the_trace_of_a_crash(file: HeadsFile) -> None:
    file.append([_head("a", 1)])
    file.append([_head("a", 2)])
    whole = file.path.read_bytes()
    for cut in range(1, len(whole) // 2):
        file.path.write_bytes(whole[:-cut])
        found = file.read()
        assert (found.last, found.strange_count) == ({"a": _head("a", 1)}, 0)
    file.compact()
    file.append([_head("a", 3)])
    assert file.read().last == {"a": _head("a", 3)}
    assert file.read().strange_count == 0


def test_appending_goes_on_while_a_thread_compacts(file: HeadsFile) -> None:
    done = threading.Event()

    def compact() -> None:
        while not done.is_set():
            file.compact()

    thread = threading.Thread(target=compact)
    thread.start()
    try:
        for version in range(1, 400):
            file.append([_head("a", version), _head(f"job-{version}", 1, number=version)])
    finally:
        done.set()
        thread.join()
    found = file.read()
    assert found.last["a"] == _head("a", 399)
    assert len(found.last) == 400
    assert (found.strange_count, found.disputed) == (0, {})


@pytest.mark.parametrize("block", [1, 7, 150, 1 << 20])
def test_of_a_job_the_same_is_read_as_of_all(
    file: HeadsFile, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_files, "BLOCK", block)
    # One job is called as the beginning of another, and one as a version.
    file.append([_head("a", 5), _head("ab", 1), _head("1", 1), _head("a", 4, mark=1)])
    file.dispute([_head("ab", 7, mark=3)])
    file.append([_head("a", 9), _head("ab", 2)])
    with file.path.open("ab") as raw:
        raw.write(b"\nhead\n\xff\xfe\n")
    everything = file.read()
    for job_id in ("a", "ab", "1", "b", "head"):
        found = file.read_of(job_id)
        assert found.of(job_id) == everything.of(job_id), job_id
        assert set(found.last) | set(found.disputed) <= {job_id}
        assert found.strange_count == 0
    assert len(file.read_of("a").of("a")) == 2


def test_a_forged_line_of_a_job_is_found_and_counts_for_nothing(file: HeadsFile) -> None:
    file.append([_head("a", 1), _head("b", 1)])
    other = HeadsFile(file.path, AuditKey(bytes(32)))
    other.append([_head("a", 2), _head("b", 2)])
    other.dispute([_head("a", 1, mark=4)])
    found = file.read_of("a")
    assert found.of("a") == [_head("a", 1)]
    forged = file.path.read_bytes().splitlines()[2::2]
    assert ([line for _, line in found.strange], found.strange_count) == (forged, 2)


def test_only_the_lines_of_the_job_are_verified(
    file: HeadsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.append([_head(f"job-{n}", 1, number=n) for n in range(100)])
    file.append([_head("job-7", 2, number=200)])
    signed, sign = list[str](), AuditKey.sign

    def counted(key: AuditKey, tag: str, head: Head) -> bytes:
        signed.append(head.job_id)
        return sign(key, tag, head)

    monkeypatch.setattr(AuditKey, "sign", counted)
    assert file.read_of("job-7").last == {"job-7": _head("job-7", 2, number=200)}
    assert set(signed) == {"job-7"}


def test_of_a_job_half_a_line_is_not_read(file: HeadsFile) -> None:
    assert file.read_of("a").read == 0
    file.append([_head("a", 1)])
    file.append([_head("a", 2)])
    file.path.write_bytes(file.path.read_bytes()[:-1])
    found = file.read_of("a")
    assert (found.of("a"), found.strange_count) == ([_head("a", 1)], 0)


def test_a_disk_that_is_full_costs_no_commit(tmp_path: Path) -> None:
    full = HeadsFile(Path("/dev/full"), AuditKey(bytes(32)))
    with structlog.testing.capture_logs() as logs:
        full.append([_head("a", 1)])
        full.append([_head("a", 2)])
    assert [entry["log_level"] for entry in logs] == ["warning"], "once, and not for each commit"


# -- while the disk takes nothing ------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """What heads are written to; it is as full as a test says."""
    return Disk(monkeypatch)


class Disk:
    """Takes no line while it is ``full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._append = heads_files._append
        self._fsync = os.fsync
        monkeypatch.setattr(heads_files, "_append", self._appended)
        monkeypatch.setattr(heads_files.os, "fsync", self._synced)

    def _appended(self, path: Path, lines: bytes) -> None:
        self._require_room()
        self._append(path, lines)

    def _synced(self, descriptor: int) -> None:
        self._require_room()
        self._fsync(descriptor)

    def _require_room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_file_stays_as_it_is_where_there_is_no_room_to_make_it_shorter(
    file: HeadsFile, disk: Disk
) -> None:
    file.append([_head("a", 1)])
    file.append([_head("a", 2)])
    before = file.path.read_bytes()
    disk.full = True
    with structlog.testing.capture_logs() as logs:
        file.compact()
    assert [(entry["log_level"], entry["why"]) for entry in logs] == [
        ("warning", "[Errno 28] No space left on device")
    ]
    assert file.path.read_bytes() == before
    assert [path.name for path in file.path.parent.iterdir()] == ["heads"]
    disk.full = False
    file.compact()
    assert len(file.path.read_bytes().splitlines()) == 1


def test_a_draft_that_cannot_be_written_costs_nothing(file: HeadsFile) -> None:
    file.append([_head("a", 1)])
    file.path.with_name("heads.draft").mkdir()
    file.compact()
    assert file.read().last == {"a": _head("a", 1)}


def test_what_could_not_be_written_comes_before_what_is_next(file: HeadsFile, disk: Disk) -> None:
    disk.full = True
    assert not file.append([_head("a", 1), _head("b", 2)])
    assert not file.append([_head("a", 3)])
    disk.full = False
    assert file.append([_head("c", 4)])
    written = [line.split()[1:3] for line in file.path.read_bytes().splitlines()]
    assert written == [[b"a", b"3"], [b"b", b"2"], [b"c", b"4"]]
    assert file.append([])
    assert file.read().read == 3, "nothing twice"


def test_it_is_made_up_for_where_nothing_is_next(file: HeadsFile, disk: Disk) -> None:
    assert file.make_up()
    assert not file.path.exists()
    disk.full = True
    file.append([_head("a", 1)])
    assert not file.make_up()
    disk.full = False
    with structlog.testing.capture_logs() as logs:
        assert file.make_up()
        assert file.make_up()
    assert [entry["log_level"] for entry in logs] == ["info"]
    assert _elsewhere(file).read().last == {"a": _head("a", 1)}


def test_what_could_not_be_written_is_known_to_who_holds_it(file: HeadsFile, disk: Disk) -> None:
    file.append([_head("a", 1), _head("b", 1)])
    disk.full = True
    file.append([_head("a", 2)])
    assert file.read().last == {"a": _head("a", 2), "b": _head("b", 1)}
    assert file.read_of("a").of("a") == [_head("a", 2)]
    assert file.read_of("b").of("b") == [_head("b", 1)]
    assert _elsewhere(file).read().last["a"] == _head("a", 1)


def test_what_contradicts_is_kept_though_it_could_not_be_written(
    file: HeadsFile, disk: Disk
) -> None:
    """A later head alone would cover it up."""
    disk.full = True
    file.append([_head("a", 5)])
    file.append([_head("a", 5, mark=1)])
    file.dispute([_head("b", 7)])
    file.append([_head("b", 8, mark=2)])
    disk.full = False
    file.append([_head("a", 9, mark=1)])
    found = _elsewhere(file).read()
    assert found.of("a") == [_head("a", 5), _head("a", 9, mark=1)]
    assert found.of("b") == [_head("b", 7), _head("b", 8, mark=2)]


def test_no_more_is_kept_than_there_is_room_for(
    file: HeadsFile, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_files, "OWED_JOBS", 3)
    disk.full = True
    for version in (1, 2):
        file.append([_head(f"job-{number}", version) for number in range(5)])
    disk.full = False
    assert file.make_up()
    assert file.read().last == {f"job-{n}": _head(f"job-{n}", 2) for n in range(3)}


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_a_line_that_a_crash_has_left_unfinished_spoils_no_other(
    file: HeadsFile, disk: Disk, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was no room to take it away at the start."""
    monkeypatch.setattr(heads_files, "BLOCK", block)
    file.append([_head("a", 1)])
    file.append([_head("a", 2)])
    whole = file.path.read_bytes()
    for left in (whole[:-1], whole[:-50], whole[:20]):
        file.path.write_bytes(left)
        disk.full = True
        file.compact()
        disk.full = False
        file.append([_head("b", 1)])
        found = file.read()
        assert (found.strange_count, found.last["b"]) == (0, _head("b", 1))
        assert found.read == left.count(b"\n") + 1


def _elsewhere(file: HeadsFile) -> HeadsFile:
    """The file as another process reads it."""
    return HeadsFile(file.path, AuditKey(b"k" * 32))


# -- at a start ------------------------------------------------------------------------


@pytest.fixture
def signed(database: Database, tmp_path: Path) -> Trail:
    """Two jobs whose events are all signed."""
    trail = Trail(database, tmp_path)
    trail.work(trail.submit("done", 20))
    trail.work(trail.submit("busy", 90), chunks=2)
    return trail


def _change(trail: Trail, statement: Any) -> None:
    trail.database.write_now(lambda connection: connection.execute(statement))


def _of(job_id: str, version: int) -> Any:
    return (events.c.job_id == job_id) & (events.c.version == version)


def _go_on(trail: Trail) -> None:
    """More of the busy job, as the server goes on after a start."""
    trail.work(trail.jobs.load("busy"), chunks=1)


def test_a_first_start_makes_key_and_file_and_finds_nothing(
    database: Database, tmp_path: Path
) -> None:
    with structlog.testing.capture_logs() as logs:
        heads = open_heads(tmp_path, database)
    assert (logs, heads.read().read) == ([], 0)
    assert (tmp_path / "audit.key").exists()


def test_what_a_crash_left_unsigned_is_signed(signed: Trail) -> None:
    signed.signing = False
    _go_on(signed)
    signed.submit("fresh", 10)
    assert {finding.kind for finding in signed.verify().findings} == {Kind.UNSIGNED}
    with structlog.testing.capture_logs() as logs:
        open_heads(signed.folder, signed.database)
    assert logs == []
    assert signed.verify().sound
    assert signed.heads.read().last["busy"].version == 7
    assert reconcile(signed.database, signed.heads).sound


def test_what_a_crash_left_torn_is_signed(signed: Trail) -> None:
    content = signed.heads.path.read_bytes()
    signed.heads.path.write_bytes(content[:-50])
    assert not signed.verify().sound
    open_heads(signed.folder, signed.database)
    assert signed.verify().sound


def test_a_cut_tail_stays_found_though_the_job_goes_on(signed: Trail) -> None:
    _change(signed, delete(events).where(_of("busy", 5)))
    with structlog.testing.capture_logs() as logs:
        open_heads(signed.folder, signed.database)
    assert [entry["job_id"] for entry in logs] == ["busy"]
    _stays_found(signed, "busy")


def test_a_rewritten_last_event_stays_found_though_the_job_goes_on(signed: Trail) -> None:
    (stored,) = signed.recorder.select_events("busy", gt=4)
    forged = type(stored)("busy", 5, stored.topic, stored.state.replace(b'"ann"', b'"eve"'))
    _change(signed, delete(events).where(_of("busy", 5)))
    signed.database.write_now(
        lambda connection: signed.recorder.insert_events([forged], connection=connection)
    )
    open_heads(signed.folder, signed.database)
    _stays_found(signed, "busy")


def _stays_found(signed: Trail, job_id: str) -> None:
    for _ in range(2):
        _go_on(signed)
        open_heads(signed.folder, signed.database)
        findings = signed.verify().findings
        assert {finding.job_id for finding in findings} == {job_id}
        assert {finding.version for finding in findings} == {5}


def test_what_is_disputed_may_be_put_back(signed: Trail) -> None:
    row = signed.database.read_now(
        lambda connection: connection.execute(select(events).where(_of("busy", 5))).one()
    )
    _change(signed, delete(events).where(_of("busy", 5)))
    open_heads(signed.folder, signed.database)
    assert not signed.verify().sound
    _change(signed, events.insert().values(**row._mapping))
    open_heads(signed.folder, signed.database)
    assert signed.verify().sound


def test_a_forged_event_is_not_signed(signed: Trail) -> None:
    last = signed.heads.read().last["busy"]
    forged = {
        "job_id": "busy",
        "version": 6,
        "alias": "job.finished",
        "tenant": "local",
        "actor": "eve",
        "command_id": "x",
        "state": b"{}",
        "previous_hash": last.hash,
        "hash": GENESIS,
    }
    _change(signed, events.insert().values(**forged))
    report = reconcile(signed.database, signed.heads)
    assert [(f.kind, f.job_id, f.version) for f in report.findings] == [
        (Kind.EVENT_CHANGED, "busy", 6)
    ]
    assert signed.heads.read().last["busy"] == last


def test_an_event_that_skips_one_is_not_signed(signed: Trail) -> None:
    signed.signing = False
    _go_on(signed)
    _change(signed, delete(events).where(_of("busy", 6)))
    (finding,) = reconcile(signed.database, signed.heads).findings
    assert (finding.kind, finding.version) == (Kind.EVENT_CHANGED, 7)
    assert signed.heads.read().last["busy"].version == 5


def test_heads_that_were_thrown_away_are_told(signed: Trail) -> None:
    signed.heads.path.unlink()
    with structlog.testing.capture_logs() as logs:
        open_heads(signed.folder, signed.database)
    assert [entry["why"] for entry in logs] == ["there were no heads; 2 jobs were signed anew"]


def test_a_new_key_does_not_hide_the_old_heads(signed: Trail) -> None:
    (signed.folder / "audit.key").unlink()
    heads = open_heads(signed.folder, signed.database)
    found = heads.read()
    assert found.strange_count > 0
    assert set(found.last) == {"done", "busy"}


def test_a_start_reads_only_what_is_new(signed: Trail) -> None:
    """Each job's signed event and what came behind the newest of them, not the whole log."""
    _change(signed, update(events).where(_of("done", 2)).values(actor="eve"))
    assert reconcile(signed.database, signed.heads).sound, "left to verification"
    assert not signed.verify().sound


def test_many_jobs_are_compared(database: Database, tmp_path: Path) -> None:
    trail = Trail(database, tmp_path)
    for number in range(12):
        trail.submit(f"job-{number}", 1)
    _change(trail, delete(events).where(_of("job-7", 1)))
    report = reconcile(trail.database, trail.heads)
    assert [(f.kind, f.job_id) for f in report.findings] == [(Kind.TAIL_MISSING, "job-7")]


# -- at a start, where heads are missing -----------------------------------------------


def _miss(signed: Trail) -> None:
    """As older releases left it when a disk was full for a while, of two jobs."""
    signed.signing = False
    _go_on(signed)
    _go_on(signed)
    signed.work(signed.submit("fresh", 10))
    signed.signing = True
    signed.submit("later", 10)


def _opened(signed: Trail) -> list[Any]:
    with structlog.testing.capture_logs() as logs:
        open_heads(signed.folder, signed.database)
    return [(entry["log_level"], entry.get("job_id")) for entry in logs]


def test_heads_that_are_missing_below_later_ones_are_made_up_for(signed: Trail) -> None:
    _miss(signed)
    assert {finding.job_id for finding in signed.verify().findings} == {"busy", "fresh"}
    with structlog.testing.capture_logs() as logs:
        open_heads(signed.folder, signed.database)
    told = [(entry["log_level"], entry["jobs"], entry["job_ids"]) for entry in logs]
    assert told == [("warning", 2, ["busy", "fresh"])]
    assert signed.verify().findings == []
    # Nor is it told again, nor is what they do next.
    signed.signing = False
    _go_on(signed)
    assert _opened(signed) == []
    assert signed.verify().sound


def test_a_forged_event_is_not_signed_where_heads_are_missing(signed: Trail) -> None:
    _miss(signed)
    _change(signed, update(events).where(_of("busy", 6)).values(actor="eve"))
    for _ in range(2):
        assert ("error", "busy") in _opened(signed)
        assert {(f.kind, f.job_id) for f in signed.verify().findings} == {
            (Kind.EVENT_CHANGED, "busy"),
            (Kind.UNSIGNED, "busy"),
        }
    assert signed.heads.read().last["busy"].version == 5


def test_a_missing_event_is_told_where_heads_are_missing(signed: Trail) -> None:
    _miss(signed)
    _change(signed, delete(events).where(_of("fresh", 1)))
    for _ in range(2):
        assert ("error", "fresh") in _opened(signed)
        assert Kind.EVENT_MISSING in {finding.kind for finding in signed.verify().findings}
    assert "fresh" not in signed.heads.read().last


def test_a_job_that_contradicts_its_head_is_not_signed_where_heads_are_missing(
    signed: Trail,
) -> None:
    _miss(signed)
    _change(signed, update(events).where(_of("busy", 5)).values(actor="eve"))
    assert ("error", "busy") in _opened(signed)
    assert signed.heads.read().last["busy"].version == 5
    assert {finding.job_id for finding in signed.verify().findings} == {"busy"}


def test_a_forged_event_stays_told_at_each_start(signed: Trail) -> None:
    signed.signing = False
    _go_on(signed)
    _change(signed, update(events).where(_of("busy", 6)).values(actor="eve"))
    signed.signing = True
    signed.submit("later", 10)
    for _ in range(3):
        assert ("error", "busy") in _opened(signed)


def test_a_start_needs_no_room(signed: Trail, disk: Disk) -> None:
    _miss(signed)
    signed.signing = False
    signed.submit("last", 10)
    disk.full = True
    with structlog.testing.capture_logs() as logs:
        heads = open_heads(signed.folder, signed.database)
    assert {entry["log_level"] for entry in logs} == {"warning"}
    assert not signed.verify().sound
    disk.full = False
    heads.append([])
    assert signed.verify().findings == []


@pytest.mark.parametrize("changed", [False, True])
def test_a_directory_in_which_nobody_has_signed_begins_with_what_there_is(
    signed: Trail, tmp_path: Path, changed: bool
) -> None:
    """As of one coordinator more, or of whom a database was restored for."""
    if changed:
        _change(signed, update(events).where(_of("done", 2)).values(actor="eve"))
    folder = tmp_path / "another"
    folder.mkdir()
    with structlog.testing.capture_logs() as logs:
        open_heads(folder, signed.database)
    told = [(entry["event"], entry["log_level"]) for entry in logs if "jobs" in entry]
    assert told == [("heads_begun", "warning")]
    assert [entry.get("job_id") for entry in logs if entry["log_level"] == "error"] == (
        ["done"] if changed else []
    )


def test_a_directory_begins_in_silence_where_there_is_no_event(
    database: Database, tmp_path: Path
) -> None:
    with structlog.testing.capture_logs() as logs:
        open_heads(tmp_path, database)
    assert logs == []


def _begun(folder: Path, database: Database) -> list[tuple[str, str]]:
    with structlog.testing.capture_logs() as logs:
        open_heads(folder, database)
    return [(entry["event"], entry["log_level"]) for entry in logs]


@pytest.mark.parametrize("left", [b"", b"head done 2 1"])
@pytest.mark.parametrize("more", [(), ("audit.key",), ("audit.key", "heads.retention")])
def test_a_first_start_that_signed_nothing_is_no_trace_of_somebody(
    signed: Trail, tmp_path: Path, left: bytes, more: tuple[str, ...]
) -> None:
    """As of one coordinator more that found no job, or that ended at its start."""
    folder = tmp_path / "another"
    folder.mkdir()
    (folder / "heads").write_bytes(left)
    for name in more:
        shutil.copy(signed.folder / "audit.key", folder / name)
    assert _begun(folder, signed.database) == [("heads_begun", "warning")]
    assert _begun(folder, signed.database) == []


def test_a_start_without_a_job_leaves_a_first_start(signed: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "another"
    folder.mkdir()
    with Database(sqlite_url(tmp_path / "empty.db")) as nothing:
        migrate.upgrade(nothing)
        for _ in range(2):
            assert _begun(folder, nothing) == []
    assert _begun(folder, signed.database) == [("heads_begun", "warning")]
    (folder / "heads").unlink()
    assert [level for _, level in _begun(folder, signed.database)] == ["error"]


def test_heads_that_were_taken_away_with_their_key_from_beside_signed_rules_are_told(
    signed: Trail,
) -> None:
    signed.heads.path.rename(signed.folder / "heads.retention")
    (signed.folder / "audit.key").unlink()
    assert [level for _, level in _begun(signed.folder, signed.database)] == ["error"]
