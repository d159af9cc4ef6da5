"""Where figures are measured: on a disk, whatever the other tests use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import measure
from tests.proof.figures import tell

DISK = Path("/var/tmp")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a disk, where the servers of the test keep their data as well.

    Those of other tests may be in memory, where a commit costs next to nothing: whoever commits
    most would gain most.
    """
    with tempfile.TemporaryDirectory(prefix="countermand-figures-", dir=DISK) as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(DISK))
        yield Path(folder)


@pytest.fixture
def pace() -> None:
    """Tell how quick the machine is when a figure is measured."""
    tell("seconds of ten million additions, before", f"{measure.pace():.2f}")
