"""Failing: one engine, killed at one failpoint while a caller goes through one scenario.

``python -m tests.crash.failing POINT SCENARIO HIT`` tries one by itself.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from streams.failpoints import Failpoint
from tests.crash.keeper import Life
from tests.crash.oracle import Verdict
from tests.crash.scenarios import SCENARIOS
from tests.crash.workshop import Run, Workshop, workshop

RECOVERY = 5.0
"""Seconds from the start of the next process to the end of whatever is waited for, at most."""
IDLE = 3.0
"""Seconds within which what runs on the clock comes by, such as the save of the outbox."""

_COLUMNS = (
    *("work", "pack", "retry", "undo", "slow", "parts", "steer", "long", "longer"),
    *("in_part", "rollback", "whole", "family", "compensate"),
)
_PASSED: dict[Failpoint, tuple[int, ...]] = {
    Failpoint.PAYLOAD_STORED: (1, 1, 2, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1),
    Failpoint.RESERVED: (1, 1, 2, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1),
    Failpoint.COMMAND_SENT: (1, 1, 3, 3, 1, 5, 4, 150, 0, 4, 1, 1, 3, 2),
    Failpoint.BEFORE_APPEND: (2, 4, 5, 6, 3, 6, 4, 150, 0, 8, 4, 4, 28, 6),
    Failpoint.AFTER_APPEND: (2, 4, 5, 6, 3, 6, 4, 150, 0, 8, 4, 4, 28, 6),
    Failpoint.AFTER_CHUNK_ROWS: (1, 2, 3, 3, 2, 1, 1, 1, 0, 4, 3, 2, 6, 5),
    Failpoint.BEFORE_DECISION: (1, 1, 3, 3, 1, 5, 4, 150, 0, 4, 1, 1, 3, 2),
    Failpoint.AFTER_DECISION: (1, 1, 3, 3, 1, 5, 4, 150, 0, 4, 1, 1, 3, 2),
    Failpoint.COORDINATOR_COMMITTED: (2, 4, 5, 6, 3, 6, 4, 150, 0, 8, 4, 4, 22, 6),
    Failpoint.HEADS_SIGNED: (2, 4, 5, 6, 3, 6, 3, 150, 0, 8, 4, 4, 18, 6),
    Failpoint.BEFORE_SNAPSHOT: (0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0),
    Failpoint.AFTER_SNAPSHOT: (0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0),
    Failpoint.BEFORE_DISPATCH_SEND: (1, 3, 3, 3, 3, 1, 1, 1, 0, 4, 3, 3, 12, 5),
    Failpoint.AFTER_DISPATCH_SEND: (1, 3, 3, 3, 3, 1, 1, 1, 0, 4, 3, 3, 12, 5),
    Failpoint.BEFORE_CLAIM: (1, 3, 3, 3, 3, 1, 1, 1, 0, 4, 3, 3, 6, 5),
    Failpoint.AFTER_CLAIM: (1, 3, 3, 3, 3, 1, 1, 1, 0, 4, 3, 3, 6, 5),
    Failpoint.BEFORE_HANDLER: (6, 20, 8, 10, 40, 1, 0, 1, 0, 6, 20, 13, 3, 4),
    Failpoint.AFTER_HANDLER: (6, 20, 8, 10, 40, 1, 0, 1, 0, 6, 20, 13, 3, 4),
    Failpoint.BEFORE_IMAGES: (1, 3, 3, 3, 0, 1, 0, 1, 0, 4, 3, 3, 6, 5),
    Failpoint.BEFORE_EFFECT_COMMIT: (1, 3, 3, 1, 3, 1, 0, 1, 0, 1, 2, 2, 3, 1),
    Failpoint.AFTER_EFFECT_COMMIT: (1, 3, 3, 1, 0, 1, 0, 1, 0, 1, 2, 2, 3, 1),
    Failpoint.AFTER_PREPARE: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0),
    Failpoint.WITHIN_ATOMIC_COMMIT: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0),
    Failpoint.BEFORE_ATOMIC_COMMIT: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),
    Failpoint.AFTER_ATOMIC_COMMIT: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),
    Failpoint.BEFORE_ITEM_RESULTS: (0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    Failpoint.AFTER_ITEM_RESULTS: (0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    Failpoint.BEFORE_COMPENSATION: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24),
    Failpoint.AFTER_COMPENSATION: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24),
    Failpoint.COMPENSATION_STORED: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24),
    Failpoint.BEFORE_RESTORE: (0, 0, 0, 20, 0, 0, 0, 0, 0, 15, 20, 0, 3, 4),
    Failpoint.AFTER_RESTORE: (0, 0, 0, 20, 0, 0, 0, 0, 0, 15, 20, 0, 3, 4),
    Failpoint.BEFORE_UNDO_COMMIT: (0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 1, 0, 3, 4),
    Failpoint.AFTER_UNDO_COMMIT: (0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 1, 0, 3, 4),
    Failpoint.BEFORE_OUTCOME_SEND: (1, 3, 2, 3, 3, 0, 1, 2, 0, 4, 3, 3, 6, 5),
    Failpoint.AFTER_OUTCOME_SEND: (1, 3, 2, 3, 3, 0, 1, 2, 0, 4, 3, 3, 6, 5),
    Failpoint.BEFORE_ACK: (8, 12, 13, 13, 15, 11, 10, 180, 0, 15, 12, 8, 32, 15),
    Failpoint.BEFORE_OUTBOX_SEND: (8, 12, 15, 12, 10, 12, 10, 150, 0, 14, 6, 6, 40, 10),
    Failpoint.AFTER_OUTBOX_SEND: (8, 12, 15, 12, 10, 12, 10, 150, 0, 14, 6, 6, 40, 10),
    Failpoint.AFTER_OUTBOX_SAVE: (1, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1, 1, 1, 1),
    Failpoint.BEFORE_PROJECTION: (1, 1, 1, 1, 1, 1, 1, 5, 0, 1, 1, 1, 1, 1),
}
"""How often each scenario passes each failpoint, at least, in the order of the columns.

What is gathered for a moment before it is sent or listed goes in fewer turns on a busy machine.
"""
_ALONE: dict[str, dict[Failpoint, int]] = {
    "archive": {
        Failpoint.BEFORE_ARCHIVE: 1,
        Failpoint.ARCHIVE_WRITTEN: 1,
        Failpoint.ARCHIVE_NAMED: 1,
        Failpoint.WITHIN_CLEARING: 3,
    },
    "told": {
        Failpoint.BEFORE_WEBHOOK: 3,
        Failpoint.WEBHOOK_SENT: 3,
        Failpoint.WEBHOOK_NOTED: 3,
    },
}
"""The same of scenarios that alone pass some."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Where and when to die; ``hit`` counts from 1."""

    point: Failpoint
    scenario: str
    hit: int

    def __str__(self) -> str:
        return f"{self.point} {self.scenario} {self.hit}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial; ``recovery`` is the seconds from the restart to the job's end.

    It is None when nobody waited for anything by then.
    """

    trial: Trial
    verdict: Verdict
    recovery: float | None


def passed() -> Iterator[tuple[Failpoint, str, int]]:
    """Every failpoint with each scenario that passes it, and how often at least."""
    for point, row in _PASSED.items():
        for scenario, times in zip(_COLUMNS, row, strict=True):
            if times:
                yield point, scenario, times
    for scenario, points in _ALONE.items():
        for point, times in points.items():
            yield point, scenario, times


def firsts() -> list[Trial]:
    """The first hit of every failpoint in every scenario."""
    return [Trial(point, scenario, 1) for point, scenario, _ in passed()]


def laters(chance: random.Random) -> list[Trial]:
    """A later hit of every failpoint in every scenario that has one."""
    return [
        Trial(point, scenario, chance.randint(2, times))
        for point, scenario, times in passed()
        if times > 1
    ]


def pairs(chance: random.Random) -> list[Trial]:
    """Every failpoint at its first and at a later hit, each in a scenario that chance picks."""
    found: dict[tuple[Failpoint, bool], list[Trial]] = {}
    for trial in (*firsts(), *laters(chance)):
        found.setdefault((trial.point, trial.hit > 1), []).append(trial)
    return [chance.choice(trials) for trials in found.values()]


def sample(chance: random.Random, count: int) -> list[Trial]:
    """Of so many failpoints, the first or a later hit in one of the quick scenarios."""
    found: dict[Failpoint, list[Trial]] = {}
    for trial in (*firsts(), *laters(chance)):
        if not trial.scenario.startswith("long"):
            found.setdefault(trial.point, []).append(trial)
    return [chance.choice(found[point]) for point in chance.sample(sorted(found), count)]


def attempt(shop: Workshop, trial: Trial) -> Outcome:
    """Go through a scenario, die on the way, and judge what is left."""
    with shop.running(f"{trial.point}:{trial.hit}") as run:
        SCENARIOS[trial.scenario](run)
        _see_dead(run)
        second = run.keeper.wait_for(2)
        recovery = longest(run.client.waits, second.started)
        verdict = shop.verdict(run)
        took = _longest_of_all(run, second)
    verdict.require(len(run.keeper.lives) == 2, f"it had {len(run.keeper.lives)} lives")
    verdict.require(took < RECOVERY, f"somebody waited for {took:.1f} s after the restart")
    return Outcome(trial, verdict, recovery)


def _see_dead(run: Run) -> None:
    """See that it was killed; what runs on the clock may let us wait."""
    first = run.keeper.lives[0]
    until = time.monotonic() + IDLE
    while first.ended is None and time.monotonic() < until:
        time.sleep(0.02)
    assert first.ended is not None, "the failpoint was not reached"
    assert first.status == -SIGKILL, f"it ended with {first.status}:\n{run.keeper.log[-3000:]}"


def longest(waits: Iterable[tuple[float, float]], restart: float) -> float | None:
    """The longest wait, as far as it lay behind the restart; None when there was none."""
    return max((end - max(begun, restart) for begun, end in waits if end > restart), default=None)


def _longest_of_all(run: Run, second: Life) -> float:
    """That of the judge as well, and of whoever waits until the engine is ready."""
    ready = second.ready or time.monotonic()
    return longest([*run.client.waits, (second.started, ready)], second.started) or 0.0


if __name__ == "__main__":
    with workshop(Path(tempfile.mkdtemp(prefix="countermand-crash-"))) as opened:
        print(attempt(opened, Trial(Failpoint(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
