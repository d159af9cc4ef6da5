"""The switch between skipping and failing what needs a service that is not here."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.services.catalogue import SERVICES

SWITCH: Final = "COUNTERMAND_REQUIRE_SERVICES"


def need(name: str) -> None:
    """Skip the running test if the service is missing, or fail it when services are required.

    An unknown name is a mistake in the test: the KeyError says which.
    """
    reason = SERVICES[name].missing
    if reason is None:
        return
    if services_required():
        pytest.fail(f"{reason} [{SWITCH} is set]", pytrace=False)
    pytest.skip(reason)


def services_required() -> bool:
    """Whether a missing service is a failure, as it is in continuous integration."""
    return os.environ.get(SWITCH, "") not in {"", "0"}
