"""Runs proofs one after another, each as a process with a limit of time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.proof.catalogue import Proof
from tests.proof.figures import Figure, found

CHECKOUT = Path(__file__).parents[2]
TAIL = 3000
"""Characters of the output that are kept of a proof that failed."""
_GRACE = 10.0
_SAID = re.compile(r"^\.?((?:model|driver): .*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a proof; ``fault`` is empty when it holds."""

    proof: Proof
    command: tuple[str, ...]
    seconds: float
    fault: str = ""
    output: str = field(default="", repr=False)
    tests: int = 0
    figures: tuple[Figure, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether it was proven."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class _Tests:
    """How many tests did what, as pytest's own report has it."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def run(proof: Proof, *, sample: bool, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run one to its end, or to the end of its time."""
    command, limit = proof.command(sample=sample), proof.limit(sample=sample)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="countermand-proof-") as folder:
        report = Path(folder, "report.xml")
        recorded = (*command, f"--junitxml={report}") if "pytest" in command else command
        code, output = _finished(recorded, limit, {**os.environ, **(environment or {})})
        tests = _counted(report) if "pytest" in command else None
    return Outcome(
        proof,
        command,
        time.monotonic() - started,
        fault=_fault(code, limit, tests),
        output=output[-TAIL:],
        tests=tests.passed if tests else 0,
        figures=tuple(found(output)),
        said=tuple(_SAID.findall(output)),
    )


def _finished(
    command: tuple[str, ...], limit: float, environment: Mapping[str, str]
) -> tuple[int | None, str]:
    """Exit code (None when time ran out) and all that it printed."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        code = _code(process, limit)
        output.seek(0)
        return code, output.read()


def _code(process: subprocess.Popen[bytes], limit: float) -> int | None:
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        # First so that it can end what it has started, then for certain.
        process.send_signal(signal.SIGINT)
    except BaseException:
        _kill(process)
        raise
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        _kill(process)
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _counted(report: Path) -> _Tests:
    if not report.exists():
        return _Tests()
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    counts = [{name: int(suite.get(name, "0")) for name in _COUNTS} for suite in suites]
    total = {name: sum(count[name] for count in counts) for name in _COUNTS}
    failed = total["failures"] + total["errors"]
    return _Tests(total["tests"] - failed - total["skipped"], failed, total["skipped"])


_COUNTS = ("tests", "failures", "errors", "skipped")


def _fault(code: int | None, limit: float, tests: _Tests | None) -> str:
    if code is None:
        return f"not done after {limit:.0f} s"
    if tests is not None and tests.failed:
        return f"{tests.failed} of {tests.failed + tests.passed} tests failed"
    if code:
        return f"ended with {code}"
    if tests is not None and tests.skipped:
        return f"{tests.skipped} tests were skipped"
    if tests is not None and not tests.passed:
        return "no test has run"
    return ""
