"""The command ``countermand`` as others run it: in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from streams.cli.main import main

PATIENCE = 60
COMMAND = (sys.executable, "-m", "streams.cli.main")


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


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """What was said by a command that refused in the proper way."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.startswith("countermand: ")
    return ended.stderr


@dataclass
class Server:
    """A running ``countermand serve``."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path

    def ask(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a verb that speaks to this server, in this very process, which is quick."""
        words = ["countermand", *arguments]
        variables = environment(COUNTERMAND_URL=self.url)
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with (
            mock.patch.multiple(
                sys, argv=words, stdin=io.TextIOWrapper(io.BytesIO(given.encode()))
            ),
            mock.patch.dict(os.environ, variables, clear=True),
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

    def json(self, *arguments: str) -> Any:
        """The one JSON document that a verb prints; it must succeed."""
        ended = self.ask(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def lines(self, *arguments: str) -> list[Any]:
        """The lines of JSON that a verb prints."""
        return [json.loads(line) for line in self.ask(*arguments, "--json").stdout.splitlines()]

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(data_dir: Path, **variables: str) -> Iterator[Server]:
    """A server on a free port, ended on the way out."""
    with (
        (data_dir / "server.log").open("ab") as log,
        subprocess.Popen(
            [
                *(*COMMAND, "serve", "--json", "--port", "0", "--data-dir", str(data_dir)),
                # A test run that is killed must not leave servers behind.
                "--end-with-input",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(**variables),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (data_dir / "server.log").read_text()
            yield Server(process, json.loads(line)["url"], data_dir)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
