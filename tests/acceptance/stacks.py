"""Stacks: the two that tests run on, by name; a fixture that has them as parameters starts one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.embedded import serving
from tests.acceptance.scaled import scaled
from tests.acceptance.stack import Stack
from tests.services.switch import need

_SERVICES: Final = ("kafka", "postgresql")
STACKS: Final = ("embedded", pytest.param("scaled", marks=pytest.mark.service(*_SERVICES)))


def running(
    request: pytest.FixtureRequest, folder: Path, **variables: str
) -> AbstractContextManager[Stack]:
    """The stack that the fixture's parameter names, in that folder, with those settings."""
    return _STARTS[request.param](request, folder, variables)


def _embedded(
    _request: pytest.FixtureRequest, folder: Path, variables: Mapping[str, str]
) -> AbstractContextManager[Stack]:
    return serving(folder, **variables)


def _scaled(
    request: pytest.FixtureRequest, folder: Path, variables: Mapping[str, str]
) -> AbstractContextManager[Stack]:
    for service in _SERVICES:
        need(service)
    return scaled(folder, request.getfixturevalue("postgres_process"), **variables)


_Start = Callable[[pytest.FixtureRequest, Path, Mapping[str, str]], AbstractContextManager[Stack]]
_STARTS: Final[Mapping[str, _Start]] = {"embedded": _embedded, "scaled": _scaled}
