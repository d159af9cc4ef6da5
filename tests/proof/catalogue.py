"""The proofs: which command each is, in full and as a quick sample, and how long it may take."""

from __future__ import annotations

import sys
from dataclasses import dataclass

_PYTEST = (sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider")
_MODEL = (sys.executable, "-m", "tests.model")

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof; time limits are in seconds."""

    name: str
    claim: str
    full: Command
    sample: Command
    full_limit: float = 3600.0
    sample_limit: float = 60.0

    def command(self, *, sample: bool) -> Command:
        """What to run."""
        return self.sample if sample else self.full

    def limit(self, *, sample: bool) -> float:
        """How long it may take, in seconds."""
        return self.sample_limit if sample else self.full_limit


def _tests(*paths: str, marker: str = "proof", chosen: str = "") -> Command:
    picked = ("-k", chosen) if chosen else ()
    return (*_PYTEST, *paths, "-m", marker, *picked)


def _acceptance(name: str, claim: str, marker: str = "proof") -> Proof:
    path = f"tests/acceptance/test_{name}.py"
    return Proof(
        name.replace("_", "-"),
        claim,
        full=_tests(path, marker=marker),
        sample=_tests(path, marker="not proof"),
        full_limit=600.0,
    )


PROOFS = (
    Proof(
        "failpoints",
        "SIGKILL at every failpoint, at first and later hits: nothing lost, nothing doubled",
        full=_tests("tests/crash/test_failpoints.py"),
        sample=_tests("tests/crash/test_failpoints.py", marker="not proof", chosen="sample"),
        full_limit=7200.0,
        sample_limit=90.0,
    ),
    Proof(
        "driver",
        "random commands to the real process, killed at random: what it says stays true",
        full=_tests("tests/crash/test_driver.py"),
        sample=_tests("tests/crash/test_driver.py", marker="not proof"),
        full_limit=7200.0,
    ),
    Proof(
        "model",
        "100,000 steps of the state machine with crashes, duplicates, reordering and loss",
        full=(*_tests("tests/model"),),
        sample=(*_MODEL, "--steps", "3000", "--seed", "1"),
        full_limit=1800.0,
    ),
    Proof(
        "audit",
        "200 versions of a job of 1,000 chunks equal a fold; every changed byte is found",
        full=_tests("tests/audit"),
        sample=_tests("tests/audit/test_flips.py", marker="not proof", chosen="sample"),
        full_limit=5400.0,
    ),
    # Quick enough to run at its full figure always: no test of it is marked as a long one.
    _acceptance(
        "undo_figure",
        "undo of 10,000 updates, 137 changed later: 9,863 as before, 137 named with who did it",
        marker="not proof",
    ),
    _acceptance(
        "sse_reconnect",
        "a client that drops 50 times over two kills sees every event once and in order",
    ),
    _acceptance(
        "slow_kill",
        "1,000 items of 200 ms: 50 times as fast as one by one; a kill repeats what was in flight",
    ),
    _acceptance(
        "plugin", "a plug-in of 25 lines gets submit, progress, retry, undo, audit", "not proof"
    ),
)
