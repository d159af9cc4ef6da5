"""Windows of fewer items: there is more than one of them sooner."""

from __future__ import annotations

import pytest

from streams import diffs, items, keyed_diffs
from streams.stores import survey

WINDOW = 600


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all that reads items by windows, for the module that imports it."""
    for module in (survey, items, diffs, keyed_diffs):
        monkeypatch.setattr(module, "WINDOW", WINDOW)
