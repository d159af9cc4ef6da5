"""Who runs which tests when pytest runs in several processes (``-n``).

Tests that share an installation stay together, so that it is started once, and those of a file,
which share fixtures as well. Some of these groups wait most of their time, for processes that
die and come back and for seconds in which nothing may happen; others only compute. The first
process takes those that wait, one after the other, so that there is something to do for the
processors all the while; the others compute, and help the first one when they are done. A third
process is the last that gets a processor: it computes when neither of the first two does, and takes
nothing in which anybody waits for it.

The longest groups go first: with them at the end one process would still be at work when all
others have nothing left.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sized
from enum import Enum, auto
from typing import Any, Final

import pytest

WAITING: Final = (
    "tests/acceptance on scaled",
    "tests/acceptance on embedded",
    "tests/chaos",
    "tests/kafka",
    "tests/crash",
    "tests/dashboard/test_large.py",
    "tests/kafka/test_starting.py",
    "tests/contracts/test_transport_kafka.py",
    "tests/services/test_kafka_service.py",
    "tests/kafka/test_one_process.py",
    "tests/kafka/test_membership.py",
    "tests/kafka/test_growth.py",
)
"""The groups that wait, the longest first."""
COMPUTING: Final = (
    "tests/dashboard",
    "tests/benchmarks/test_report.py",
    "tests/acceptance/test_bad_input_storage.py",
    "tests/unit/streams/transport/test_kafka_transport.py",
    "tests/openapi/test_trying.py",
    "tests/acceptance/test_demo.py",
    "tests/deploy/test_running.py",
    "tests/client",
    "tests/acceptance/test_neighbours.py",
    "tests/model/test_machine.py",
)
"""Those of the others that take long with few tests; then all others, those with the most first."""

FILLING: Final = (
    "tests/unit/",
    "tests/formats/",
    "tests/contracts/",
    "tests/kit/",
    "tests/audit/",
    "tests/systems/",
    "tests/cli/",
    "tests/asyncapi/",
    *(
        f"tests/engine/test_{what}.py"
        for what in (
            "attempts",
            "batches",
            "batches_at_random",
            "busy_workers",
            "called_back",
            "changed_items",
            "databases_of_handlers",
            "dry_run_is_true",
            "left_behind",
            "limits",
            "live_reader",
            "messages",
            "moments",
            "rolling_back",
            "shared_limits",
            "short_work",
            "situation",
            "snapshots",
            "step_terms",
            "strangers",
            "sweep",
            "undo_in_turn",
            "undo_packs",
            "undo_parts",
            "undo_preview",
            "unreadable",
        )
    ),
)
"""Where those are that may take as long as they like, but for some.

Of the engine's those whose time a test moves by hand. Not those of the edge and of whole engines:
whoever commands is told after five seconds that it is not decided yet, and as the last in turn
an engine needs them.
"""
PATIENT: Final = tuple(
    f"tests/{where}/test_{what}.py"
    for where, names in {
        "api": ("hardening", "large_pages", "moments", "packing", "tenants"),
        "api/annotations": ("exporting", "file_names", "importing", "records", "values"),
        "engine": (
            "archiving",
            "diffs",
            "dry_run",
            "following",
            "item_queries",
            "keys",
            "large_commands",
            "large_edits",
            "plans",
            "project_reports",
            "races",
            "renaming",
            "repeats",
            "results_after_undos",
            "selecting",
            "shredding",
            "undo_again",
        ),
        "model": ("teeth",),
    }.items()
    for what in names
)
"""Files of whole engines, or of a model of one, in which no test looks at the clock.

The process that gives way takes them when nothing else is left for it: there is a processor for it
then, while one of the other two waits.
"""
TIMED: Final = (
    "tests/contracts/test_listening.py",
    "tests/contracts/test_ownership.py",
    "tests/contracts/test_read_model.py",
    "tests/contracts/test_records_scale.py",
    "tests/contracts/test_transport_memory.py",
    "tests/systems/annotations/validation/test_large_store.py",
    "tests/unit/streams/test_app.py",
    "tests/unit/streams/test_deadletters.py",
    "tests/unit/streams/test_intake.py",
    "tests/unit/streams/transport/test_memory_consumer.py",
    "tests/unit/streams/transport/test_memory_transport.py",
)
"""Files in these folders that say how long something may take by the clock on the wall."""
_LAST_IN_TURN: Final = 10
"""How nice the process is that gives way: a tenth of a processor if others want it."""

_FOLDERS: Final = (
    "tests/chaos/",
    "tests/client/",
    "tests/crash/",
    "tests/dashboard/",
    "tests/kafka/",
)
_ALONE: Final = (
    "test_growth.py",
    "test_large.py",
    "test_membership.py",
    "test_one_process.py",
    "test_proxy.py",
    "test_standing.py",
    "test_starting.py",
    "test_topics.py",
)
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


class Runner(Enum):
    """What kind of groups a process takes."""

    WAITS = auto()
    COMPUTES = auto()
    FILLS = auto()


_NAMED: Final = {Runner.WAITS: WAITING, Runner.COMPUTES: COMPUTING}
_ORDERS: Final = {
    Runner.WAITS: (Runner.WAITS, Runner.COMPUTES, None, Runner.FILLS),
    # Two that wait in the end leave the processors to none: so this one begins with it sooner.
    Runner.COMPUTES: (Runner.COMPUTES, None, Runner.WAITS, Runner.FILLS),
    Runner.FILLS: (Runner.FILLS,),
}
_RUNNERS: Final = {"gw0": Runner.WAITS, "gw2": Runner.FILLS}
"""By the names that xdist gives its processes; all others compute."""


def next_group(groups: Mapping[str, Sized], runner: Runner) -> str | None:
    """Which of the groups that are left a process takes; None if it has nothing to do any more."""

    def rank(group: str) -> tuple[int, int, int]:
        kind = _kind_of(group)
        place = _NAMED[kind].index(group) if kind in _NAMED else int(group in PATIENT)
        return _ORDERS[runner].index(kind), place, -len(groups[group])

    fit = [group for group in groups if _kind_of(group) in _ORDERS[runner]]
    return min(fit, key=rank, default=None)


def _kind_of(group: str) -> Runner | None:
    """Whom it suits; None where that does not matter."""
    for runner, named in _NAMED.items():
        if group in named:
            return runner
    fills = group in PATIENT or (group.startswith(FILLING) and group not in TIMED)
    return Runner.FILLS if fills else None


def give_way(config: pytest.Config) -> None:
    """Get a processor after all others, if this is the process that only fills."""
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    if _RUNNERS.get(worker) is Runner.FILLS:
        os.nice(_LAST_IN_TURN)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute by groups, unless the command line says how."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroups(LoadScopeScheduling):
        """Groups instead of scopes, each to whom it suits."""

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def _reschedule(self, node: Any) -> None:
            if next_group(self.workqueue, _runner(node)) is None:
                node.shutdown()
            else:
                super()._reschedule(node)

        def _assign_work_unit(self, node: Any) -> None:
            # With nothing for it the process is told to end when it is asked again (_reschedule).
            if group := next_group(self.workqueue, _runner(node)):
                self.workqueue.move_to_end(group, last=False)
                super()._assign_work_unit(node)

    return ByGroups(config, log)


def _runner(node: Any) -> Runner:
    return _RUNNERS.get(node.gateway.id, Runner.COMPUTES)
