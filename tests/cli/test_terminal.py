"""What a person at a terminal sees."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

from tests.cli.contract_server import FINISHED, Contract, counts, event, job

WELL = {"status": "completed", "version": 5, "counts": counts(succeeded=10), "percent": 100.0}


def _on_terminal(*arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and all that a terminal of 100 columns was sent."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "100", **variables},
    ) as process:
        os.close(theirs)
        seen = bytearray()
        # The last one to close a terminal makes reading from the other side an error.
        try:
            while block := os.read(ours, 4096):
                seen += block
        except OSError:
            pass
        os.close(ours)
        return process.wait(30), seen.decode()


@pytest.fixture
def ending(contract: Contract) -> Contract:
    contract.jobs = {"job-1": job(name="all notes")}
    contract.events = [event(3), event(4, percent=50.0), {**FINISHED, **WELL}]
    contract.after_stream = lambda: contract.jobs.update({"job-1": job(name="all notes", **WELL)})
    return contract


def test_a_watched_job_is_a_bar_in_colour(ending: Contract) -> None:
    code, seen = _on_terminal("watch", "job-1", "--url", ending.url)

    assert code == 0
    last = seen.rpartition("all notes")[2]
    for part in ("completed", "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * 10, "100.0 %", "succeeded 10"):
        assert part in last
    assert "\x1b[32m" in last


def test_who_wants_no_colour_gets_none(ending: Contract) -> None:
    code, seen = _on_terminal("jobs", "--url", ending.url, NO_COLOR="1")

    assert code == 0
    assert "all notes" in seen
    for colour in range(30, 38):
        assert f"\x1b[{colour}m" not in seen


def test_json_is_the_same_on_a_terminal(ending: Contract) -> None:
    code, seen = _on_terminal("show", "job-1", "--json", "--url", ending.url)

    assert code == 0
    assert seen.startswith('{"job_id":"job-1"')
    assert "\x1b" not in seen


_CONTROLLED = (
    "import fcntl, os, signal, sys, termios\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
"""Ctrl-C is a signal for who has the terminal as theirs, and heeds it: tests that run in the
background may have been told to ignore it."""


@pytest.mark.parametrize(
    "arguments", [("submit", "notes.create"), ("append", "job-1", "--part", "1")]
)
@pytest.mark.parametrize("typed", [b"", b'{"a": 1}\n'])
def test_ctrl_c_ends_the_reading_of_items(
    contract: Contract, arguments: tuple[str, ...], typed: bytes
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "streams.cli.main", *arguments, "--url", contract.url]
    with subprocess.Popen(
        [sys.executable, "-c", _CONTROLLED, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = _until(ours, b"Ctrl-D ends them")
        os.write(ours, typed)
        # Nobody can see whether it reads by now; it ends before that as well.
        time.sleep(0.3)
        os.write(ours, b"\x03")
        try:
            assert process.wait(20) == 130
        finally:
            process.kill()
        seen += _until(ours, b"")
        os.close(ours)

    assert b"Traceback" not in seen
    assert b"Fatal" not in seen
    assert contract.requests == []


def test_one_ctrl_d_ends_the_items(contract: Contract) -> None:
    ours, theirs = pty.openpty()
    command = ("submit", "notes.create", "--url", contract.url)
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        _until(ours, b"Ctrl-D ends them")
        os.write(ours, b'{"a": 1}\n\x04')
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()
        os.close(ours)

    assert contract.bodies == [b'{"a": 1}\n']


def _until(terminal: int, word: bytes) -> bytes:
    """What a terminal shows, up to a word; without one, to the end."""
    seen = b""
    try:
        while not (word and word in seen) and (block := os.read(terminal, 4096)):
            seen += block
    except OSError:
        pass
    return seen
