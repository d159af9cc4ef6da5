from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import DataDirectoryUnusable, StoreUnavailable
from streams.process_lock import SIGNS, acquire, acquire_file, attempt, is_held

_HOLDER = """
import sys
from pathlib import Path
from streams.process_lock import acquire
lock = acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
_HEIR = "import sys; print('held', flush=True); sys.stdin.read()"


def _start(program: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = _start(_HOLDER, str(tmp_path))
    with process:
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(DataDirectoryUnusable, match=f"in use by process {holder.pid}; stop"):
        acquire(tmp_path)


def test_an_attempt_does_not_wait_and_is_not_refused(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert attempt(tmp_path) is None
    holder.kill()
    holder.wait()

    lock = attempt(tmp_path)

    assert lock is not None
    with lock:
        assert attempt(tmp_path) is None
        with pytest.raises(DataDirectoryUnusable, match=f"in use by process {os.getpid()}; stop"):
            acquire(tmp_path)


def test_an_attempt_on_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryUnusable, match="cannot be used"):
        attempt(tmp_path / "file" / "data")


def test_the_lock_is_free_when_its_holder_was_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()

    with acquire(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_child_that_inherited_the_lock_keeps_it(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with _start(_HEIR, pass_fds=(lock.fileno(),)) as heir:
        lock.release()
        with pytest.raises(DataDirectoryUnusable, match=f"in use by process {os.getpid()}"):
            acquire(tmp_path)
        heir.kill()
        heir.wait()

    acquire(tmp_path).release()


def test_the_child_of_a_killed_holder_is_waited_for(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with _start(_HEIR, pass_fds=(lock.fileno(),)) as heir:
        lock.release()
        (tmp_path / "lock").write_text(f"{_pid_of_nobody()}\n")
        threading.Timer(0.2, heir.kill).start()

        acquire(tmp_path).release()

        assert heir.wait(10) == -signal.SIGKILL


def _pid_of_nobody() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    return ended.pid


def test_a_child_that_was_not_given_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with _start(_HEIR) as stranger:
        lock.release()
        acquire(tmp_path).release()
        stranger.kill()


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with acquire(tmp_path / "new" / "data"):
        assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(DataDirectoryUnusable, match=r"cannot be used .*; name another one"):
        acquire(tmp_path / "data")


def test_a_released_lock_has_no_descriptor(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.release()
    lock.release()

    with pytest.raises(ValueError, match="was released"):
        lock.fileno()


class TestOfAFile:
    def test_it_is_one_by_whatever_name_the_file_is_reached(self, tmp_path: Path) -> None:
        (tmp_path / "link.db").symlink_to("real.db")
        (tmp_path / "folder").symlink_to(tmp_path)

        with acquire_file(tmp_path / "link.db"):
            for name in ("real.db", "link.db", "folder/real.db"):
                with pytest.raises(
                    DataDirectoryUnusable,
                    match=rf"the database .*/real\.db is in use by process {os.getpid()}; stop "
                    "that one, or name another database with --database",
                ):
                    acquire_file(tmp_path / name)
            acquire_file(tmp_path / "other.db").release()
            acquire(tmp_path).release()

        assert not (tmp_path / "real.db").exists(), "nothing is made but the lock"

    def test_what_a_killed_holder_has_left_hinders_nobody(self, tmp_path: Path) -> None:
        program = _HOLDER.replace("acquire", "acquire_file")
        with _start(program, str(tmp_path / "a.db")) as holder:
            with pytest.raises(DataDirectoryUnusable, match=f"in use by process {holder.pid}"):
                acquire_file(tmp_path / "a.db")
            holder.kill()
            holder.wait()

        assert (tmp_path / "a.db.lock").exists()
        acquire_file(tmp_path / "a.db").release()

    def test_it_is_the_owner_s_of_the_file_whoever_makes_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = list[tuple[int, int]]()
        monkeypatch.setattr(os, "fchown", lambda _descriptor, *owner: given.append(owner))
        (tmp_path / "a.db").touch()

        with acquire_file(tmp_path / "a.db"):
            assert (tmp_path / "a.db.lock").stat().st_mode & 0o777 == 0o600

        assert given == [(os.getuid(), os.getgid())]

    def test_one_that_leads_elsewhere_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.db.lock").symlink_to("precious")

        with pytest.raises(StoreUnavailable, match=r"no a\.db\.lock can be written"):
            acquire_file(tmp_path / "a.db")

        assert not (tmp_path / "precious").exists()

    def test_a_directory_that_is_not_there_may_come(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match=r"No such file .*; have that directory"):
            acquire_file(tmp_path / "nowhere" / "a.db")

        assert not (tmp_path / "nowhere").exists()


class TestANote:
    def test_it_is_seen_while_the_lock_is_held(self, tmp_path: Path) -> None:
        assert not is_held(tmp_path / "nowhere", SIGNS)
        assert not (tmp_path / "nowhere").exists()
        lock = attempt(tmp_path)
        assert lock is not None

        with lock:
            assert not is_held(tmp_path, SIGNS)
            lock.note(SIGNS)
            lock.note(SIGNS)
            assert is_held(tmp_path, SIGNS)
            with pytest.raises(DataDirectoryUnusable, match=f"use by process {os.getpid()}; stop"):
                acquire(tmp_path)
        assert not is_held(tmp_path, SIGNS)
        with acquire(tmp_path):
            assert not is_held(tmp_path, SIGNS), "the next holder has noted nothing"

    def test_what_a_full_disk_did_not_take_is_noted_the_next_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_given: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        lock = attempt(tmp_path)
        assert lock is not None
        with lock:
            with monkeypatch.context() as patched:
                patched.setattr(os, "pwrite", full)
                lock.note(SIGNS)
            assert not is_held(tmp_path, SIGNS)
            lock.note(SIGNS)
            assert is_held(tmp_path, SIGNS)
