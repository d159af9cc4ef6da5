"""The benchmark command writes its whole report, and says what it left out."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks.__main__ as benchmark
import benchmarks.peers.__main__ as peers
from benchmarks import contestants, scaled, server, validation
from benchmarks.contestants import BATCHES, OURS, OURS_100, SCALED, SCRIPTS
from benchmarks.peers.catalogue import HUEY, ON_REDIS, PROCRASTINATE
from benchmarks.places import SqlitePlace
from tests.nursery import nursery

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 110.0
"""Seconds for a report."""
DURABLE = re.compile(r"synchronous=FULL|fsync on")
HUEY_RAN = "3.5.4"
"""Its release in the table of the report."""
SMALL = ("--items", "600", "--rounds", "1", "--jobs", "2", "--large", "0", "--slow-items", "5")

pytestmark = pytest.mark.timeout(PATIENCE + 30)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers in forks of a process that has all imported, which a command does for seconds."""
    for module in (server, scaled):
        monkeypatch.setattr(module, "process", _forked)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_the_report_has_a_row_for_every_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _written(monkeypatch, benchmark, tmp_path, "--database", "sqlite", *SMALL)
    huey = [f"{HUEY.label}, tasks of {size}" for size in BATCHES]
    assert _rows(text) == [*SCRIPTS.values(), *huey, OURS.name, OURS_100.name]
    assert "## Work that waits" in text


@pytest.mark.slow
@pytest.mark.service("kafka", "postgresql")
@pytest.mark.usefixtures("forked")
def test_the_report_of_the_scaled_stack_has_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _written(monkeypatch, benchmark, tmp_path, "--database", "kafka", *SMALL)
    assert [row for row in _rows(text) if row.startswith(SCALED)] == [
        SCALED,
        f"{SCALED}, chunks of 100",
    ]
    assert "First progress" in text
    assert "A job of one item" in text


@pytest.mark.slow
def test_validation_has_a_table_of_its_own(tmp_path: Path) -> None:
    small = ("--database", "sqlite", "--items", "100", "--rounds", "1")
    text = _reported(tmp_path, "benchmarks.validation", *small)
    assert _rows(text) == [who.name for who in validation.contestants()]
    assert "times as fast" in text


@pytest.mark.slow
@pytest.mark.service("postgresql")
@pytest.mark.usefixtures("forked")
def test_peers_have_rows_or_are_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _written(monkeypatch, peers, tmp_path, "--items", "300", "--rounds", "1")
    rows = _rows(text)
    for peer in (PROCRASTINATE, *ON_REDIS):
        own = [row for row in rows if row.startswith(peer.name)]
        left_out = any(peer.name in line and "left out" in line for line in text.splitlines())
        assert len(own) == (0 if left_out else len(BATCHES)), peer.name
    assert {SCRIPTS["100"], SCRIPTS["500"], OURS.name} <= set(rows)


def _written(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, folder: Path, *arguments: str
) -> str:
    """What a benchmark reports that is run in this process."""
    report = folder / "report.md"
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments, "--report", str(report)])
    module.main()
    return report.read_text()


def _reported(folder: Path, module: str, *arguments: str) -> str:
    report = folder / "report.md"
    command = [sys.executable, "-m", module, *arguments, "--report", str(report)]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=PATIENCE)
    return report.read_text()


@asynccontextmanager
async def _forked(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> AsyncIterator[tuple[int, str]]:
    """What the benchmark would start by its command: its id and its address."""
    with log.open("wb") as output:
        asked = (*arguments, "--json", "--port", "0")
        started = nursery().start(asked, output, **environment)
    with started:
        line = await asyncio.to_thread(started.stdout.readline)
        try:
            yield started.pid, json.loads(line)["url"]
        finally:
            started.terminate()
            await asyncio.to_thread(started.wait, PATIENCE)


def _rows(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [name for line in lines if (name := line.split("|")[1].strip())]


def test_a_queue_that_is_not_installed_is_named() -> None:
    absent = replace(HUEY, packages=("huey", "no_such_queue"))
    assert absent.missing == "Huey is left out: no_such_queue is not installed"


def test_the_embedded_queue_is_there_where_its_package_is() -> None:
    said: list[str] = []
    assert [who.name for who in contestants.embedded_queues(said.append)]
    assert not said


def test_every_report_says_which_commits_wait_for_the_disk() -> None:
    assert "chunks do not wait for the disk" in SqlitePlace.version
    for page in ("docs/benchmark.md", "docs/benchmark-validation.md"):
        text = (CHECKOUT / page).read_text()
        told = [line for line in text.splitlines() if DURABLE.search(line)]
        assert told, page
        assert all("do not wait for the disk" in line for line in told), page


def test_the_readme_has_the_rows_of_the_report_and_says_which_commits_wait() -> None:
    report = (CHECKOUT / "docs" / "benchmark.md").read_text()
    readme = (CHECKOUT / "README.md").read_text().partition("## How fast it is")[2]
    measured, told = _table(report), _table(readme.partition("\n## ")[0])
    assert told.keys() == {name.replace(f" {HUEY_RAN} ", " ") for name in measured}
    for name, (_, each, ratio, cpu, _) in measured.items():
        assert told[name.replace(f" {HUEY_RAN} ", " ")] == [each, ratio, cpu]
    assert "waits for the disk" in readme


def _table(text: str) -> dict[str, list[str]]:
    """The first table of a page: the cells of each row by its first one."""
    lines = text.partition("\n| | ")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return {name: cells for name, *cells in rows}
