"""The command ``countermand``: in a process of its own, in this one, or, to serve, in a fork."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final
from unittest import mock

import psutil

from streams.cli.main import main
from tests.nursery import Child, nursery

PATIENCE = 60
COMMAND: Final = (sys.executable, "-m", "streams.cli.main")


def environment(**variables: str) -> dict[str, str]:
    """Ours without our settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if "COUNTERMAND" not in name}
    return {**kept, **variables}


def countermand(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end; a traceback is never an answer."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**variables),
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def asked(*arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end in this very process, which has imported what it needs.

    A process of its own spends half a second of CPU on that.
    """
    words = ["countermand", *arguments]
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with (
        mock.patch.multiple(sys, argv=words, stdin=io.TextIOWrapper(io.BytesIO(given.encode()))),
        mock.patch.dict(os.environ, environment(**variables), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    out.flush()
    out.seek(0)
    return subprocess.CompletedProcess(words, code, out.read(), err.getvalue())


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """What was said by a command that refused in the proper way."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.startswith("countermand: ")
    return ended.stderr


class Service:
    """A verb that runs until it is told to stop, on a free port, and says its address first.

    It may be started again once it has ended. ``log`` has what all its lives have said.
    """

    def __init__(self, log: Path, *verb: str, **variables: str) -> None:
        self.log = log
        self._verb = verb
        self._environment = environment(**variables)
        self._process: Child | None = None
        self._url = ""

    @property
    def process(self) -> Child:
        """The supervisor."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where it listens; waits until it says so."""
        if not self._url:
            line = self.process.stdout.readline()
            assert line, f"{self._verb[0]} ended at its start:\n{self.log.read_text()[-3000:]}"
            self._url = json.loads(line)["url"]
        return self._url

    @property
    def engine(self) -> psutil.Process:
        """The supervised process, which does the work."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def start(self) -> None:
        """Start it, and wait for nothing."""
        self._url = ""
        with self.log.open("ab") as log:
            self._process = nursery().start(
                # A test run that is killed must not leave servers behind.
                [*self._verb, "--json", "--port", "0", "--end-with-input"],
                log,
                **self._environment,
            )

    def stop(self) -> int:
        """Ask it to end, unless it has ended, and return its exit code."""
        self.ask_to_stop()
        return self.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, if it runs."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code; what does not end in time is killed, and that is a failure."""
        with self.process as process:
            try:
                return process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_ready(service: Service, until: float) -> None:
    """Return when a process says that it takes work."""
    said = ""
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{service.url}/health/ready", timeout=5):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        except OSError as error:
            said = str(error)
        time.sleep(0.05)
    raise AssertionError(f"{service.log.name} is not ready: {said}\n{service.log.read_text()}")
