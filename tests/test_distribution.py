from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution import (
    COMPUTING,
    PATIENT,
    WAITING,
    Part,
    group_of,
    next_group,
    part_of,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("group", [*WAITING, *COMPUTING])
def test_each_group_that_is_named_is_there(group: str) -> None:
    folder, _, stack = group.partition(" on ")
    assert (ROOT / folder).exists()
    any_test = f"{folder}/test_x.py::test_x[{stack}]" if stack else f"{folder}/test_x.py::test_x"
    assert group_of(f"{group}::test_x" if group.endswith(".py") else any_test) == group


def test_one_process_waits_while_the_others_compute_and_then_all_help() -> None:
    left = dict.fromkeys(("tests/unit/b.py", "tests/kafka", "tests/chaos"), range(5))
    left |= {"tests/unit/a.py": range(9), "tests/model/test_teeth.py": range(2)}
    taken: dict[Part, list[str | None]] = {Part.WAITS: [], Part.COMPUTES: []}
    for part in (Part.WAITS, Part.COMPUTES, Part.COMPUTES, Part.WAITS, Part.COMPUTES):
        group = next_group(left, part)
        taken[part].append(group)
        del left[group]
    assert taken == {
        Part.WAITS: ["tests/chaos", "tests/kafka"],
        Part.COMPUTES: ["tests/model/test_teeth.py", "tests/unit/a.py", "tests/unit/b.py"],
    }
    assert next_group({"tests/chaos": [1]}, Part.COMPUTES) == "tests/chaos"
    assert next_group({"tests/unit/a.py": [1]}, Part.WAITS) == "tests/unit/a.py"


def test_who_fills_gaps_takes_only_what_has_time() -> None:
    left = {"tests/chaos": range(9), "tests/unit/cli/a.py": range(8), "tests/kit/a.py": range(2)}
    left |= {"tests/formats/b.py": range(3)}
    assert next_group(left, Part.FILLS) == "tests/formats/b.py"
    assert next_group({"tests/chaos": range(9)}, Part.FILLS) is None


@pytest.mark.parametrize("folder", PATIENT)
def test_each_folder_that_has_time_is_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not [group for group in WAITING if group.startswith(folder)]


def test_only_processes_beyond_the_processors_fill_gaps() -> None:
    two = [part_of(number, processors=2) for number in range(4)]
    assert two == [Part.WAITS, Part.COMPUTES, Part.FILLS, Part.FILLS]
    assert part_of(3, processors=4) is Part.COMPUTES
    # One processor has one process that waits and one that computes, as always.
    assert part_of(1, processors=1) is Part.COMPUTES
