"""The two stacks: each test that takes ``stack`` runs on both, with the same code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.acceptance.embedded import serving
from tests.acceptance.plugins import all_plugins
from tests.acceptance.scaled import scaled
from tests.acceptance.stack import Stack
from tests.services.receiver import ALLOWED
from tests.services.switch import need

WORKER_MEMORY = "400"
"""MiB; little, so that a handler that eats memory is soon found."""

_SERVICES = ("kafka", "postgresql")
_STACKS = ("embedded", pytest.param("scaled", marks=pytest.mark.service(*_SERVICES)))


@pytest.fixture(scope="package", params=_STACKS)
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
    running: AbstractContextManager[Stack]
    if request.param == "embedded":
        running = serving(folder, **variables)
    else:
        for service in _SERVICES:
            need(service)
        postgres = request.getfixturevalue("postgres_process")
        running = scaled(folder, postgres, **variables)
    with running as started:
        yield started


@pytest.fixture(autouse=True)
def taking_work(request: pytest.FixtureRequest) -> None:
    """The test before may have killed a process of the stack."""
    if "stack" in request.fixturenames:
        shared: Stack = request.getfixturevalue("stack")
        shared.wait_ready()
