"""A member says whether it lived when it was killed: who counts deaths must not count others."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.chaos.processes import Process, Victim

pytestmark = pytest.mark.crash

CHILDLESS = "import time; time.sleep(60)"
PARENT = 'import subprocess, time; child = subprocess.Popen(["sleep", "60"]); time.sleep(60)'
BEREAVED = 'import subprocess, time; child = subprocess.Popen(["true"]); time.sleep(60)'
"""Its child has died, and nobody has taken note of that."""


class Simple(Process):
    """A member that runs a few lines instead of an engine."""

    code = CHILDLESS

    def _begun(
        self, _arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", self.code], stderr=log, env=dict(environment), text=True
        )


@contextmanager
def _member(folder: Path, code: str) -> Iterator[Process]:
    member = Simple("worker", "worker-1", folder, {})
    member.code = code
    member.start()
    try:
        yield member
    finally:
        member.kill(Victim.SUPERVISOR)


def _engine_is(member: Process, *statuses: str) -> int:
    until = time.monotonic() + 30.0
    while True:
        engine = member.engine()
        if engine is not None and psutil.Process(engine).status() in statuses:
            return engine
        assert time.monotonic() < until, f"the child is not {statuses}"
        time.sleep(0.01)


@pytest.mark.parametrize("victim", list(Victim))
def test_nobody_was_killed_of_a_member_that_never_ran(tmp_path: Path, victim: Victim) -> None:
    assert not Process("worker", "worker-1", tmp_path, {}).kill(victim)


def test_no_engine_was_killed_or_frozen_between_two_lives(tmp_path: Path) -> None:
    with _member(tmp_path, CHILDLESS) as member:
        assert not member.kill(Victim.ENGINE)
        assert not member.freeze()
        assert member.kill(Victim.SUPERVISOR)


def test_an_engine_that_has_died_is_not_killed_again(tmp_path: Path) -> None:
    with _member(tmp_path, BEREAVED) as member:
        _engine_is(member, psutil.STATUS_ZOMBIE)
        assert not member.kill(Victim.ENGINE)


def test_an_engine_that_lives_was_killed(tmp_path: Path) -> None:
    with _member(tmp_path, PARENT) as member:
        engine = _engine_is(member, psutil.STATUS_SLEEPING)
        assert member.kill(Victim.ENGINE)
        assert _engine_is(member, psutil.STATUS_ZOMBIE) == engine


def test_who_was_killed_is_told_apart_from_who_ended_otherwise(tmp_path: Path) -> None:
    member = Process("worker", "worker-1", tmp_path, {})
    before = "countermand: the engine (process 11) ended: signal SIGKILL; starting it again\n"
    since = [
        "countermand: the engine (process 12) ended: exit code 1; starting it again",
        "countermand: the engine (process 13) ended: signal SIGTERM; starting it again",
        "countermand: the engine (process 14) ended: it took 900 MiB, more than 800 MiB; starting "
        "it again",
        "countermand: the engine (process 15) ended: signal SIGKILL; starting it again",
    ]
    member.log.write_text(before + "\n".join(since))
    assert member.killed_since(len(before)) == [15]
