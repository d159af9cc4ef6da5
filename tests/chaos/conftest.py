"""A stack for the tests of a module, whole again after each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos import figures
from tests.chaos.load import Load
from tests.chaos.stack import Stack, running_stack
from tests.crash import seeds
from tests.services.switch import need


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all; who breaks it may leave it broken."""
    need("kafka")
    need("postgresql")
    with running_stack(tmp_path_factory.mktemp("chaos"), seeds.SEED) as running:
        yield running


@pytest.fixture(scope="package")
def load(stack: Stack) -> Iterator[Load]:
    """What is asked of the one stack, with the sums of all tests at the end."""
    load = Load.on(stack)
    yield load
    figures.repeats(load)
    figures.outcome(load)


@pytest.fixture(autouse=True)
def _whole(request: pytest.FixtureRequest) -> None:
    """Begin with all members there, whatever the test before has done to them."""
    if "stack" in request.fixturenames:
        request.getfixturevalue("stack").start()
