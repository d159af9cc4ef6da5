"""Earlier: the release of before, out of the history of this repository, at work in a stack.

It runs on the libraries of today, which it was not locked with: what is tried is how the two
understand one another, not how it was installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from tests.chaos.processes import Process, Supervisor
from tests.chaos.stack import CHECKOUT

COMMIT: Final = "7e066e9592cca32e383d0d82867a6a7c7454be0c"
"""Two migrations before the first release; its workers do not say what they hold, and its
processes notify one another in other words."""
SCHEMA: Final = "0032"
"""That of its database."""


def checked_out(folder: Path, commit: str = COMMIT) -> Path:
    """The tree of a commit; raises LookupError where the history does not reach so far back."""
    if _git(CHECKOUT, "cat-file", "-e", commit).returncode:
        raise LookupError(
            f"this clone has no commit {commit[:7]}; fetch all of the history: "
            "git fetch --unshallow"
        )
    _git(
        CHECKOUT, "clone", "--quiet", "--shared", "--no-checkout", ".", str(folder)
    ).check_returncode()
    _git(folder, "checkout", "--quiet", commit).check_returncode()
    return folder


def _git(tree: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, check=False)


class Member(Process):
    """Of the earlier release until it is ``renewed``: from its next start on."""

    def __init__(
        self,
        role: str,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        *,
        port: int = 0,
        earlier: Path,
    ) -> None:
        super().__init__(role, name, folder, environment, port=port)
        self._earlier = earlier
        self.renewed = False

    def _begun(
        self, arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
    ) -> Supervisor:
        if self.renewed:
            return super()._begun(arguments, log, environment)
        ours, *plugins = environment["PYTHONPATH"].split(os.pathsep)
        assert ours == str(CHECKOUT), ours
        path = os.pathsep.join([str(self._earlier), *plugins])
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli.main", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**environment, "PYTHONPATH": path},
            cwd=self._earlier,
        )
