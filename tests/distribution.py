"""Who runs which tests when pytest runs in several processes (``-n``).

Tests that share an installation stay together, so that it is started once, and those of a file,
which share fixtures as well. The longest groups go first: with them at the end one process
would still be at work when all others have nothing left.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

LONGEST_FIRST: Final = (
    "tests/acceptance on scaled",
    "tests/chaos",
    "tests/acceptance on embedded",
    "tests/contracts/test_transport_kafka.py",
    "tests/model/test_teeth.py",
    "tests/kafka",
    "tests/crash",
    "tests/services/test_kafka_service.py",
    "tests/kafka/test_one_process.py",
    "tests/kafka/test_growth.py",
    "tests/acceptance/test_demo.py",
    "tests/acceptance/test_bad_input_storage.py",
    "tests/model/test_machine.py",
)
"""Then all others, those with the most tests first."""

_FOLDERS: Final = (
    "tests/chaos/",
    "tests/client/",
    "tests/crash/",
    "tests/dashboard/",
    "tests/kafka/",
)
_ALONE: Final = ("test_growth.py", "test_one_process.py", "test_proxy.py", "test_topics.py")
"""Files in these folders that have a broker or a server of their own."""
_STACK: Final = re.compile(r"^tests/acceptance/.*\[(embedded|scaled)\b")


def group_of(nodeid: str) -> str:
    """The tests that stay together with this one."""
    if stack := _STACK.match(nodeid):
        return f"tests/acceptance on {stack[1]}"
    file = nodeid.partition("::")[0]
    if file.startswith(_FOLDERS) and not file.endswith(_ALONE):
        return file.rpartition("/")[0]
    return file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute by groups, unless the command line says how."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class LongestFirst(LoadScopeScheduling):
        """Groups instead of scopes, in the order of their length as far as it is known."""

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(max(self.workqueue, key=self._weight), last=False)
            super()._assign_work_unit(node)

        def _weight(self, group: str) -> tuple[int, int]:
            place = LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)
            return -place, len(self.workqueue[group])

    return LongestFirst(config, log)
