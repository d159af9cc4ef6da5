"""Processes: each role, a supervisor and its engine (forks that run them), killed and frozen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.nursery import Child, nursery

PATIENCE: Final = 60.0

_KILLED: Final = re.compile(r"the engine \(process (?P<engine>\d+)\) ended: signal SIGKILL;")
"""What a supervisor says of it (streams/supervisor.py)."""

Supervisor = Child | subprocess.Popen[str]


class Victim(StrEnum):
    """Which of the two processes of a role a signal goes to."""

    ENGINE = "engine"
    SUPERVISOR = "supervisor"


class Process:
    """One member of the installation; it may be started again once it has ended.

    ``log`` has what all its lives have said.
    """

    def __init__(
        self, role: str, name: str, folder: Path, environment: Mapping[str, str], *, port: int = 0
    ) -> None:
        self.role = role
        self.name = name
        self.log = folder / f"{name}.log"
        self._port = port
        self._environment = dict(environment)
        self._supervisor: Supervisor | None = None
        self._url = ""

    # -- its life -----------------------------------------------------------------------

    def start(self, **variables: str) -> None:
        """Start it, and wait for nothing; ``variables`` hold for this life and its engines."""
        assert not self.is_running, f"{self.name} runs already"
        named = () if self.role == "api" else ("--instance", self.name)
        options = (*named, "--port", str(self._port), "--json", "--end-with-input")
        self._url = ""
        with self.log.open("ab") as log:
            self._supervisor = self._begun(
                [self.role, *options], log, {**self._environment, **variables}
            )

    def _begun(
        self, arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
    ) -> Supervisor:
        return nursery().start(arguments, log, **environment)

    @property
    def is_running(self) -> bool:
        """Whether its supervisor lives."""
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def url(self) -> str:
        """Where it listens; waits until it says so."""
        if not self._url:
            out = self._running().stdout
            assert out is not None
            line = out.readline()
            assert line, f"{self.name} ended at its start:\n{self.tail}"
            self._url = json.loads(line)["url"]
        return self._url

    def killed_since(self, byte: int) -> list[int]:
        """The engines that its supervisor has seen die of SIGKILL, past that byte of its log.

        One that it killed itself, that ended by itself or that was told to end is none of them.
        """
        with self.log.open("rb") as log:
            log.seek(byte)
            said = log.read().decode(errors="replace")
        return [int(found["engine"]) for found in _KILLED.finditer(said)]

    @property
    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def wait_ready(self, seconds: float = PATIENCE) -> None:
        """Return when it takes work."""
        until = time.monotonic() + seconds
        while (said := self.not_ready()) is not None:
            assert time.monotonic() < until, f"{self.name} is not ready: {said}\n{self.tail}"
            time.sleep(0.05)

    def not_ready(self) -> str | None:
        """Why it does not take work now; None when it does."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5):
                return None
        except urllib.error.HTTPError as error:
            return error.read().decode(errors="replace")
        except OSError as error:
            return str(error)

    def counted(self, metric: str) -> float:
        """What its metric of that name comes to, over all labels; 0 if it has none yet."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = (sample for family in families for sample in family.samples)
            return sum(sample.value for sample in samples if sample.name == metric)

    def ask_to_stop(self) -> None:
        """SIGTERM, as a rolling restart sends it."""
        if self.is_running:
            self._running().terminate()

    def wait(self) -> int:
        """Its exit code, 0 if it never ran; what does not end in time is killed: a failure."""
        if self._supervisor is None:
            return 0
        with self._running() as supervisor:
            try:
                return supervisor.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill(Victim.SUPERVISOR)
                raise

    # -- what happens to it -------------------------------------------------------------

    def engine(self) -> int | None:
        """The id of the process that does the work; None between two lives."""
        if not self.is_running:
            return None
        with contextlib.suppress(psutil.Error):
            return next(iter(c.pid for c in psutil.Process(self._running().pid).children()), None)
        return None

    def kill(self, victim: Victim) -> bool:
        """SIGKILL, and whether somebody lived who got it.

        An engine does not outlive its supervisor, whose address it had.
        """
        if victim is Victim.ENGINE:
            return self._signal(signal.SIGKILL)
        if not self.is_running:
            return False
        engine = self.engine()
        self._running().kill()
        with self._running() as supervisor:
            supervisor.wait(PATIENCE)
        if engine is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(engine).wait(PATIENCE)
        return True

    def freeze(self) -> bool:
        """SIGSTOP to the engine, as a paused machine; whether there was one.

        Its connections stay open.
        """
        return self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, the end of a freeze."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> bool:
        """Whether an engine got it: between two lives there is none, or a dead one."""
        engine = self.engine()
        if engine is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if psutil.Process(engine).status() != psutil.STATUS_ZOMBIE:
                os.kill(engine, number)
                return True
        return False

    def _running(self) -> Supervisor:
        assert self._supervisor is not None, f"{self.name} was never started"
        return self._supervisor
