"""A missing service is a reason to skip, or a failure when services are required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import catalogue
from tests.services.catalogue import Service
from tests.services.switch import SWITCH, need

_CHECKOUT = Path(__file__).parents[2]
_ABSENT = Service(
    name="teapot", purpose="nobody makes tea", how_to_get="buy one", find=lambda: None
)
_PRESENT = Service(name="teapot", purpose="", how_to_get="", find=lambda: Path("/kitchen"))
_REASON = r"teapot is missing \(nobody makes tea\); to get it: buy one"


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_missing_service_skips(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    _set(monkeypatch, _ABSENT, value)
    with pytest.raises(pytest.skip.Exception, match=_REASON):
        need("teapot")


def test_a_missing_service_fails_when_services_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, _ABSENT, "1")
    with pytest.raises(pytest.fail.Exception, match=_REASON):
        need("teapot")


@pytest.mark.parametrize("value", [None, "1"])
def test_a_service_that_is_here_is_let_through(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    _set(monkeypatch, _PRESENT, value)
    need("teapot")


@pytest.mark.parametrize(
    ("switch", "status", "outcome"), [("0", 0, "1 skipped"), ("1", 1, "1 error")]
)
def test_the_marker_asks_before_any_fixture_is_set_up(
    tmp_path: Path, switch: str, status: int, outcome: str
) -> None:
    """A whole run of pytest with our conftest and a service that nobody can have."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = service\n")
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import *\n"
        "from tests.conftest import pytest_runtest_setup\n"
        "from tests.services.catalogue import SERVICES, Service\n"
        "SERVICES['teapot'] = Service('teapot', 'no tea', 'buy one', lambda: None)\n"
    )
    (tmp_path / "test_tea.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def kettle(): raise AssertionError('set up all the same')\n"
        "@pytest.mark.service('teapot')\n"
        "def test_tea(kettle): pass\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", tmp_path],
        env={**os.environ, "PYTHONPATH": str(_CHECKOUT), SWITCH: switch},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout
    assert outcome in run.stdout
    assert "teapot is missing (no tea); to get it: buy one" in run.stdout
    assert "set up all the same" not in run.stdout


def _set(monkeypatch: pytest.MonkeyPatch, service: Service, value: str | None) -> None:
    monkeypatch.setitem(catalogue.SERVICES, service.name, service)
    if value is None:
        monkeypatch.delenv(SWITCH, raising=False)
    else:
        monkeypatch.setenv(SWITCH, value)
