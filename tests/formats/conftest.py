"""Formats are read in flat memory, which is measured as Python by itself looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

_USUAL = (700, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Nothing is left lying for longer than it would be with whoever reads a file."""
    patient = gc.get_threshold()
    gc.set_threshold(*_USUAL)
    try:
        return (yield)
    finally:
        gc.set_threshold(*patient)
