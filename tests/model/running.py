"""Runs the machine for a number of steps, from a seed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.acting import Tally
from tests.model.batching import BatchingMachine
from tests.model.machine import EngineMachine
from tests.model.selecting import SelectingMachine

STEPS_A_RUN = 60
RUNS_A_BATCH = 50

MACHINES = (SelectingMachine, BatchingMachine)
"""All that may happen, and batches above all: of what may, little happens to them by chance."""

QUICK = 5_000
FULL = 100_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the model has seen."""

    seed: int
    seconds: float
    tally: Tally

    def document(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "seed": self.seed,
            "steps": self.tally.steps,
            "runs": self.tally.runs,
            "jobs": self.tally.drained,
            "seconds": round(self.seconds, 1),
            "edges": sorted(map(list, self.tally.edges)),
            "edges_of_batches": sorted(map(list, self.tally.of_batches)),
            "items": dict(self.tally.items),
            "causes": dict(self.tally.causes),
            "closings": dict(self.tally.closings),
            "timeouts": self.tally.timeouts,
            "full": self.tally.full,
        }

    def __str__(self) -> str:
        causes = ", ".join(f"{cause} {n}" for cause, n in sorted(self.tally.causes.items()))
        closings = ", ".join(f"{closing} {n}" for closing, n in sorted(self.tally.closings.items()))
        items = ", ".join(f"{status} {n}" for status, n in sorted(self.tally.items.items()))
        return (
            f"model: {self.tally.steps:,} steps in {self.tally.runs:,} runs from seed "
            f"{self.seed}, no invariant broken; {self.tally.drained:,} jobs came to rest; "
            f"{len(self.tally.edges)} edges of the drawing seen, and {len(self.tally.of_batches)} "
            f"of that of batches; items: {items}; "
            f"chunks: {causes}; closed: {closings}; {self.tally.timeouts:,} items took too long; "
            f"{self.tally.full:,} plans left nothing of a shared limit; {self.seconds:.0f} s"
        )


def run(
    steps: int,
    first_seed: int,
    *,
    machines: Sequence[type[EngineMachine]] = MACHINES,
    shrink: bool = True,
) -> Report:
    """At least ``steps`` steps, in batches with seeds from ``first_seed`` on, machines in turn.

    Raises what broke, with the seed of its batch and hypothesis' shortest story noted.
    """
    tally = Tally()
    begun = time.monotonic()
    batch = first_seed
    for machine in itertools.cycle(machines):
        if tally.steps >= steps:
            break
        seeded = seed(batch)(type(machine.__name__, (machine,), {"tally": tally}))
        try:
            run_state_machine_as_test(seeded, settings=_settings(steps - tally.steps, shrink))
        except BaseException as broken:
            broken.add_note(
                f"model: broken after {tally.steps:,} steps; again with "
                f"`python -m tests.model --steps {STEPS_A_RUN * RUNS_A_BATCH} --seed {batch}`"
            )
            raise
        batch += 1
    return Report(first_seed, time.monotonic() - begun, tally)


def _settings(steps_left: int, shrink: bool) -> settings:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    return settings(
        max_examples=max(1, min(RUNS_A_BATCH, -(-steps_left // STEPS_A_RUN))),
        stateful_step_count=STEPS_A_RUN,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
    )
