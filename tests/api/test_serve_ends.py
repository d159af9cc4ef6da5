"""How the process of an engine ends: in words where it is nobody's fault."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from api.serve import exit_code_of
from domain.errors import BrokerUnavailable, SettingsInvalid
from streams.supervisor import CHILD_MISCONFIGURED, CHILD_UNAVAILABLE, EXIT_FAILED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerUnavailable("no broker answers"), CHILD_UNAVAILABLE),
        (SettingsInvalid("no such system"), CHILD_MISCONFIGURED),
    ],
)
def test_what_it_lacks_is_said_without_a_traceback(
    capfd: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def work() -> None:
        raise error

    assert exit_code_of(work) == code
    said = "".join(capfd.readouterr())
    assert str(error) in said
    assert "Traceback" not in said


REFUSED = """
import sys
from sqlalchemy.exc import IntegrityError
from api import serve

def refused(_arguments):
    row = Exception("duplicate key\\nDETAIL:  Failing row contains (canary).")
    raise IntegrityError("INSERT INTO outcomes", {"summary": "canary"}, row)

serve._run = refused
sys.exit(serve.main([]))
"""


def test_a_fault_of_ours_is_a_line_of_the_log_that_repeats_no_row() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, check=False, timeout=60, text=True
    )

    assert (ended.returncode, ended.stdout) == (EXIT_FAILED, "")
    (line,) = ended.stderr.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"]) == ("uncaught", "critical")
    (error,) = entry["exception"]
    assert (error["exc_type"], "duplicate key" in error["exc_value"]) == ("IntegrityError", True)
    assert "refused" in [frame["name"] for frame in error["frames"]]
    assert "canary" not in line
    assert '"uncaught"' in line, "what the proofs of crashes look for"
