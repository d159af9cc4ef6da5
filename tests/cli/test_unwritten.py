"""Output that cannot be written: a disk that is full, a pipe whose reader has gone, what is closed.

None of it is "the job failed", which exit code 1 says, and none ends a supervisor.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.supervised import EXIT_HUNG
from tests.buffered import buffered
from tests.cli.contract_server import FINISHED, KEY, Contract, counts, event, job

FULL = Path("/dev/full")
WELL: dict[str, Any] = {
    "status": "completed",
    "version": 5,
    "counts": counts(succeeded=10),
    "percent": 100.0,
}
STREAMS = (("items", "job-1", "--json"), ("events", "job-1"))
VERBS = (
    ("show", "job-1", "--json"),
    ("pause", "job-1"),
    ("--help",),
)
FOLLOWING = (("watch", "job-1", "--json"), ("resume", "job-1", "--watch"))


@pytest.fixture
def known(contract: Contract) -> Contract:
    contract.jobs = {"job-1": job()}
    contract.items = [{"position": n, "status": "succeeded", "result": None} for n in range(2)]
    contract.events = [event(3), event(4, percent=50.0), {**FINISHED, **WELL}]
    contract.after_stream = lambda: contract.jobs.update({"job-1": job(**WELL)})
    return contract


def _said(contract: Contract, *arguments: str, **options: Any) -> tuple[int, str]:
    """Exit code and words of the command line, as a process."""
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        env=buffered(COUNTERMAND_URL=contract.url, TZ="America/New_York"),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


@contextmanager
def _unread() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@pytest.mark.parametrize("verb", [*STREAMS, *VERBS, *FOLLOWING])
def test_a_full_disk_is_said_and_has_a_code_of_its_own(
    known: Contract, verb: tuple[str, ...]
) -> None:
    with FULL.open("wb") as full:
        code, said = _said(known, *verb, stdout=full)

    assert code == 4
    assert "cannot write to standard output (No space left on device)" in said


@pytest.mark.parametrize("verb", STREAMS)
def test_a_reader_that_has_seen_enough_is_no_error(known: Contract, verb: tuple[str, ...]) -> None:
    with _unread() as pipe:
        code, said = _said(known, *verb, stdout=pipe)

    assert code == 0
    assert "cannot" not in said


@pytest.mark.parametrize("verb", [*VERBS, *FOLLOWING])
def test_what_nobody_reads_is_neither_well_nor_failed(
    known: Contract, verb: tuple[str, ...]
) -> None:
    with _unread() as pipe:
        code, said = _said(known, *verb, stdout=pipe)

    assert code == 141
    assert ("the job goes on: countermand watch job-1" in said) == (verb in FOLLOWING)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_job_that_was_accepted_is_named_all_the_same(
    known: Contract, tmp_path: Path, form: tuple[str, ...]
) -> None:
    (tmp_path / "items.ndjson").write_text("{}\n")

    with FULL.open("wb") as full:
        code, said = _said(
            known, "submit", "notes.create", str(tmp_path / "items.ndjson"), *form, stdout=full
        )

    assert code == 4
    assert said.startswith("job job-1\n")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_key_whose_secret_was_lost_is_named(known: Contract, form: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        code, said = _said(known, "key", "create", "ci", "--role", "view", *form, stdout=full)

    assert code == 4
    assert str(KEY["key_id"]) in said
    assert "its secret is lost with that: give it another one" in said


def test_output_that_was_closed_from_the_start_goes_nowhere(known: Contract) -> None:
    code, said = _said(known, "show", "job-1", "--json", preexec_fn=lambda: os.close(1))

    assert (code, said) == (0, "")


@pytest.mark.parametrize("verb", [("submit", "notes.create"), ("batch",)])
def test_input_that_was_closed_is_told(known: Contract, verb: tuple[str, ...]) -> None:
    code, said = _said(known, *verb, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(0))

    assert code == 2
    assert "standard input is closed; name a file" in said
    assert known.requests == []


def test_a_moment_that_no_clock_shows_is_told(known: Contract) -> None:
    code, said = _said(
        known, "schedule", "job-1", "--deadline", "9999-12-31T23:59", stdout=subprocess.DEVNULL
    )

    assert code == 2
    assert "--deadline 9999-12-31T23:59: no clock shows that" in said


SUPERVISOR = """
import sys
from pathlib import Path
from streams.cli.supervising import _say_of_the_engine
from streams.standard_streams import end_in_silence
from streams.supervisor import Limits, Restarts, Supervisor

end_in_silence()
supervisor = Supervisor(
    lambda _pipes: ["/bin/sh", "-c", 'echo >> "$0"; exit 1', sys.argv[1]],
    limits=Limits(memory=2**40, drain=1.0),
    on_ready=lambda: None,
    say=_say_of_the_engine,
    restarts=Restarts(early_limit=2),
)
raise SystemExit(supervisor.run())
"""


def _lives(tmp_path: Path, **options: Any) -> tuple[int, int]:
    """Exit code of a supervisor whose engine dies at once, and how often it was started."""
    lives = tmp_path / "lives"
    ended = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(lives)],
        env=buffered(),
        timeout=60,
        check=False,
        **options,
    )
    return ended.returncode, len(lives.read_text().splitlines())


def test_a_supervisor_starts_its_engine_again_when_its_log_is_full(tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        assert _lives(tmp_path, stderr=full) == (1, 2)


def test_a_supervisor_starts_its_engine_again_when_nobody_reads_its_log(tmp_path: Path) -> None:
    with _unread() as pipe:
        assert _lives(tmp_path, stderr=pipe) == (1, 2)


def test_a_supervisor_starts_its_engine_again_when_it_has_no_log(tmp_path: Path) -> None:
    assert _lives(tmp_path, preexec_fn=lambda: os.close(2)) == (1, 2)


READY = """
import sys
from streams.cli.supervising import _say_ready
from streams.roles import Role
from streams.settings import load

_say_ready(Role.SERVE, "http://127.0.0.1:1", load(), as_json=sys.argv[1] == "json")
"""


@pytest.mark.parametrize("form", ["json", "words"])
def test_a_server_whose_output_is_full_goes_on(form: str) -> None:
    with FULL.open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", READY, form],
            env=buffered(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 0
    assert "it is ready, and cannot say so at its output (No space left" in ended.stderr


LAST_RESORT = """
import time
from streams.supervised import end_within

end_within(0.1)
time.sleep(30)
"""


def test_the_last_resort_of_a_process_needs_nobody_to_be_told() -> None:
    with FULL.open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", LAST_RESORT], stderr=full, timeout=20, check=False
        )

    assert ended.returncode == EXIT_HUNG
