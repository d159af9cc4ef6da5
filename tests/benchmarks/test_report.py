"""The benchmark command writes its whole report, and says what it left out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.contestants import HUEY, OURS, OURS_100, SCRIPTS

CHECKOUT = Path(__file__).parents[2]
SMALL = ("--items", "600", "--rounds", "1", "--jobs", "2", "--large", "0", "--slow-items", "5")


@pytest.mark.slow
def test_the_report_has_a_row_for_every_contestant(tmp_path: Path) -> None:
    report = tmp_path / "benchmark.md"
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--database", "sqlite"),
            *(*SMALL, "--report", str(report)),
        ],
        cwd=CHECKOUT,
        check=True,
        timeout=110,
    )
    text = report.read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    huey = ["Huey, tasks of 100", "Huey, tasks of 500"]
    assert rows == ["", *SCRIPTS.values(), *huey, OURS.name, OURS_100.name]
    assert "## Work that waits" in text


def test_a_queue_that_is_not_installed_is_named() -> None:
    absent = replace(HUEY, package="no_such_queue")
    assert absent.missing == "Huey is left out: no_such_queue is not installed"


def test_the_embedded_queue_is_there_where_its_package_is() -> None:
    said: list[str] = []
    assert [who.name for who in contestants.embedded_queues(said.append)]
    assert not said
