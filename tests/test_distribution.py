from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution import (
    COMPUTING,
    FILLING,
    PATIENT,
    TIMED,
    WAITING,
    Runner,
    group_of,
    next_group,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("group", [*WAITING, *COMPUTING])
def test_each_group_that_is_named_is_there(group: str) -> None:
    folder, _, stack = group.partition(" on ")
    assert (ROOT / folder).exists()
    any_test = f"{folder}/test_x.py::test_x[{stack}]" if stack else f"{folder}/test_x.py::test_x"
    assert group_of(f"{group}::test_x" if group.endswith(".py") else any_test) == group


@pytest.mark.parametrize("place", FILLING)
def test_each_place_of_those_that_may_take_long_is_there(place: str) -> None:
    assert (ROOT / place).is_dir() or (ROOT / place).is_file()


@pytest.mark.parametrize("file", [place for place in FILLING if place.endswith(".py")])
def test_a_file_of_the_engine_that_gives_way_has_its_time_in_its_own_hands(file: str) -> None:
    said = (ROOT / file).read_text()
    assert "Stages" in said or "HandClock" in said
    for clocked in ("Desk", "embedded(", "asyncio.timeout(", "sleep(", "monotonic", "perf_counter"):
        assert clocked not in said


@pytest.mark.parametrize("file", PATIENT)
def test_a_file_of_whole_engines_that_gives_way_looks_at_no_clock(file: str) -> None:
    said = (ROOT / file).read_text()
    for clocked in ("asyncio.timeout(", "wait_for(", "sleep(", "monotonic", "perf_counter"):
        assert clocked not in said
    assert next_group({file: range(9), "tests/unit/a.py": range(1)}, Runner.FILLS) != file
    assert next_group({file: range(9)}, Runner.FILLS) == file


@pytest.mark.parametrize("file", TIMED)
def test_a_file_with_bounds_of_time_is_there_and_gives_way_to_nobody(file: str) -> None:
    assert (ROOT / file).is_file()
    assert next_group({file: range(1)}, Runner.FILLS) is None
    assert next_group({file: range(1), "tests/unit/a.py": range(9)}, Runner.COMPUTES) == file


def test_one_process_waits_while_another_computes_and_both_help_in_the_end() -> None:
    left = dict.fromkeys(("tests/engine/b.py", "tests/kafka", "tests/chaos"), range(5))
    left |= {"tests/engine/a.py": range(9), "tests/model/test_machine.py": range(2)}
    left |= {"tests/unit/c.py": range(10)}
    taken: dict[Runner, list[str | None]] = {Runner.WAITS: [], Runner.COMPUTES: []}
    order = (Runner.WAITS, Runner.COMPUTES, Runner.COMPUTES, Runner.WAITS, Runner.COMPUTES)
    for runner in order:
        group = next_group(left, runner)
        taken[runner].append(group)
        del left[str(group)]
    assert taken == {
        Runner.WAITS: ["tests/chaos", "tests/kafka"],
        Runner.COMPUTES: ["tests/model/test_machine.py", "tests/engine/a.py", "tests/engine/b.py"],
    }
    left |= {"tests/crash": range(5)}
    assert next_group(left, Runner.COMPUTES) == "tests/crash"
    assert next_group({"tests/unit/a.py": [1]}, Runner.WAITS) == "tests/unit/a.py"


def test_the_one_that_gives_way_takes_nothing_that_waits_for_it() -> None:
    left = {"tests/chaos": range(9), "tests/model/test_machine.py": range(8)}
    left |= {"tests/engine/test_flow.py": range(7), "tests/unit/a.py": range(1)}
    left |= {"tests/api/annotations/test_seats.py": range(8)}
    assert next_group(left, Runner.FILLS) == "tests/unit/a.py"
    del left["tests/unit/a.py"]
    assert next_group(left, Runner.FILLS) is None
