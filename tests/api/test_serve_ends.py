"""How the process of an engine ends: in words where it is nobody's fault."""

from __future__ import annotations

import pytest

from api.serve import exit_code_of
from domain.errors import BrokerUnavailable, SettingsInvalid
from streams.supervisor import CHILD_MISCONFIGURED, CHILD_UNAVAILABLE


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


def test_a_fault_of_ours_is_not_hidden() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code_of(work)
