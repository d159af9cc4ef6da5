from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import DataDirectoryUnusable
from streams.process_lock import acquire, attempt

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
