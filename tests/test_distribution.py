from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution import COMPUTING, WAITING, group_of, next_group

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
    taken = {waits: [] for waits in (True, False)}
    for waits in (True, False, False, True, False):
        group = next_group(left, waits=waits)
        taken[waits].append(group)
        del left[group]
    assert taken == {
        True: ["tests/chaos", "tests/kafka"],
        False: ["tests/model/test_teeth.py", "tests/unit/a.py", "tests/unit/b.py"],
    }
    assert next_group({"tests/chaos": [1]}, waits=False) == "tests/chaos"
    assert next_group({"tests/unit/a.py": [1]}, waits=True) == "tests/unit/a.py"
