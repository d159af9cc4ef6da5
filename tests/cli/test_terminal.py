"""What a person at a terminal sees."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

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
