"""The two stacks: each test that takes ``stack`` runs on both, with the same code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.plugins import all_plugins
from tests.acceptance.stack import Stack
from tests.acceptance.stacks import STACKS, running
from tests.services.receiver import ALLOWED

WORKER_MEMORY = "400"
"""MiB; little, so that a handler that eats memory is soon found."""


@pytest.fixture(scope="package", params=STACKS)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with every plug-in of the tests, which all tests of this folder share."""
    folder = tmp_path_factory.mktemp(request.param)
    variables = {
        "PYTHONPATH": all_plugins(folder / "site"),
        "COUNTERMAND_WORKER_MEMORY": WORKER_MEMORY,
        "COUNTERMAND_ARCHIVE_DIR": str(folder / "archives"),
        **ALLOWED,
    }
    with running(request, folder, **variables) as started:
        yield started


@pytest.fixture(autouse=True)
def taking_work(request: pytest.FixtureRequest) -> None:
    """The test before may have killed a process of the stack."""
    if "stack" in request.fixturenames:
        shared: Stack = request.getfixturevalue("stack")
        shared.wait_ready()
