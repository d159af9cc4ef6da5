"""The model has teeth: break one rule of ``docs/state-machine.md``, and it is found."""

from __future__ import annotations

import json

import pytest

from tests.model.broken import BROKEN
from tests.model.process import alone

SECONDS = 400.0
"""It takes half a minute by itself."""

pytestmark = pytest.mark.timeout(SECONDS)


@pytest.fixture(scope="module")
def found() -> dict[str, bool]:
    told: dict[str, bool] = json.loads(
        alone("tests.model.broken", timeout=SECONDS).splitlines()[-1]
    )
    return told


@pytest.mark.parametrize("broken", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_rule_is_found(broken: type, found: dict[str, bool]) -> None:
    assert found[broken.__name__]
