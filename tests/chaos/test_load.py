"""What is asked of a stack is noted so that a job told twice and a run made again are seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import figures
from tests.chaos.dying import ran_again
from tests.chaos.load import EARLIER, Load, left_behind, told_twice

pytestmark = pytest.mark.crash


@dataclass
class Folder:
    """What a load needs of a stack to submit."""

    folder: Path


@dataclass
class Teller:
    """A caller of an API that tells these jobs, one after the other."""

    jobs: list[str]
    keys: list[str] = field(default_factory=list)

    def submit(self, key: str, _operation: str, _items: list[Any], **_fields: Any) -> str:
        self.keys.append(key)
        return self.jobs[len(self.keys) - 1]


def _load(folder: Path, *jobs: str) -> Load:
    load = Load(Folder(folder), Teller(list(jobs)))  # type: ignore[arg-type]
    for _ in jobs:
        load.submit(1)
    return load


def test_two_submissions_that_were_told_the_same_job_are_a_fault(tmp_path: Path) -> None:
    load = _load(tmp_path, "one", "other", "one")
    assert load.client.keys == ["job-1", "job-2", "job-3"]  # type: ignore[attr-defined]
    assert told_twice(load.told) == ["the submissions job-1, job-3 were told the same job one"]


def test_submissions_that_were_told_jobs_of_their_own_are_none(tmp_path: Path) -> None:
    assert not told_twice(_load(tmp_path, "one", "other").told)


@pytest.mark.parametrize(
    ("runs", "left"),
    [
        ([(7, "a"), (8, "b")], {}),
        ([(7, "a"), (8, "b"), (8, "a")], {7: 1}),
        ([(EARLIER, "a"), (8, "a"), (8, "a")], {EARLIER: 1, 8: 1}),
        ([(7, "a"), (8, "a"), (9, "a"), (7, "b"), (7, "b")], {7: 2, 8: 1}),
    ],
    ids=["never", "once", "then by this release", "again and again"],
)
def test_a_run_that_was_made_again_is_laid_at_the_door_of_who_ran_it_before(
    runs: list[tuple[int, str]], left: dict[int, int]
) -> None:
    assert left_behind(runs) == left


def test_runs_are_read_with_and_without_their_process(tmp_path: Path) -> None:
    load = _load(tmp_path, "one")
    load.tasks["one"].notes.write_text("job-1-0\n12 job-1-0\n13 job-1-1\n")
    assert load.runs("one") == [(EARLIER, "job-1-0"), (12, "job-1-0"), (13, "job-1-1")]
    assert load.repeated("one") == 1
    with pytest.raises(AssertionError, match="repeated"):
        figures.unrepeated(load, ["one"])


@pytest.mark.parametrize(
    ("settled", "again"),
    [({}, []), ({"a": 1}, ["a"]), ({"a": 2, "b": 1}, []), ({"a": 1, "c": 0}, ["a", "c"])],
)
def test_what_runs_again_after_its_result_was_stored_is_seen(
    settled: dict[str, int], again: list[str]
) -> None:
    assert ran_again([(7, "a"), (7, "b"), (8, "a"), (8, "c")], settled) == again
