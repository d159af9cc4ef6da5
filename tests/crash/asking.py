"""Asking: the jobs that a walk asks for, with all that can be said of one at its submit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tests.crash import whims
from tests.crash.client import JOBS
from tests.crash.scenarios import additions
from tests.crash.tally import Tally
from tests.crash.workshop import COUNTERS, Run, Task

FAULTS = ("exit", "die", "cancel", "interrupt", "raise", "nonsense")


class Asking:
    """Asks for jobs; what is done to them afterwards is a walk's."""

    def __init__(self, run: Run, chance: random.Random, tally: Tally) -> None:
        self._run = run
        self._chance = chance
        self._tally = tally
        self._dry: list[Task] = []
        """Dry runs that nobody has applied yet."""
        self._commands = 0

    def _add(self) -> None:
        self._submit("crash.add", self._additions(f"add-{len(self._run.tasks)}", 120))

    def _additions(self, name: str, most: int) -> list[dict[str, Any]]:
        counters = self._chance.sample(range(1, COUNTERS + 1), self._chance.randint(1, most))
        items = additions(name, counters)
        for item in items:
            if self._chance.random() < 0.05:
                item["fault"] = "bad luck"
            elif self._chance.random() < 0.1:
                # Once another job has added to it, a retry succeeds.
                item["needs"] = self._chance.randint(1, COUNTERS)
        return items

    def _create(self) -> None:
        number = len(self._run.tasks)
        count = self._chance.randint(1, 3000)
        self._submit("crash.create", [{"mark": f"create-{number}-{n}"} for n in range(count)])

    def _wait(self) -> None:
        number, most = len(self._run.tasks), self._chance.choice((2, 20, 200))
        takes = [self._chance.randint(0, most) for _ in range(self._chance.randint(1, 60))]
        items = [{"mark": f"wait-{number}-{n}-{ms}", "ms": ms} for n, ms in enumerate(takes)]
        params = {"journal": str(self._run.keeper.data_dir / "journal")}
        said = {"item_timeout": 0.05} if self._chance.random() < 0.5 else {}
        if said and self._chance.random() < 0.5:
            said["retry"] = {"attempts": 2, "delay": 0}
        self._tally.actions.update(f"with {name}" for name in said)
        self._submit("crash.wait", items, said, records=False, params=params)

    def _limit(self) -> None:
        """All jobs share what they may have in their queue, from now on."""
        self._share(self._chance.choice(whims.LIMITS))

    def _share(self, wanted: dict[str, Any]) -> None:
        self._tally.actions["limit"] += 1
        self._run.client.ask("POST", "/api/v1/limits/queue:crash", wanted)

    def _misbehave(self) -> None:
        """An item that does what no handler should, among a few others."""
        counters = self._chance.sample(range(1, COUNTERS + 1), self._chance.randint(1, 6))
        items = additions(f"misbehave-{len(self._run.tasks)}", counters)
        self._chance.choice(items)["fault"] = self._chance.choice(FAULTS)
        self._submit("crash.misbehave", items)

    def _whim(self) -> None:
        """A job of which more is said than its items."""
        number, count = len(self._run.tasks), self._chance.randint(1, 300)
        said = whims.options(self._chance, count, self._earlier())
        items = [{"mark": f"whim-{number}-{n}"} for n in range(count)]
        self._submit_said("crash.create", items, said)

    def _fail(self) -> None:
        """One of which some items may fail, and what it says of failures."""
        items = self._additions(f"add-{len(self._run.tasks)}", 80)
        said = whims.options(self._chance, len(items), self._earlier())
        self._submit_said("crash.add", items, said | whims.failures(self._chance, said))

    def _select(self) -> None:
        """One of the counters that a filter finds, at the versions that it has seen."""
        number, count = len(self._run.tasks), self._chance.randint(1, 60)
        first = self._chance.randint(1, COUNTERS - count)
        found = range(first, first + count)
        where = {"op": "range", "column": "id", "at_least": first, "below": found.stop}
        each = {"name": f"add-{number}"}
        select = {"table": "crash_counters", "where": where, "each": each}
        options = whims.options(self._chance, count, ())
        options.pop("dry_run", None)
        body = {"operation": "crash.touch", "select": select, "options": options}
        key = f"task-{number}"
        job = self._run.client.ask("POST", JOBS, body, key=key, status=202)
        self._run.adopt(job["job_id"], additions(f"add-{number}", found))
        self._tally.actions["by filter"] += 1

    def _earlier(self) -> list[str]:
        return [task.job_id for task in self._run.tasks[-4:]]

    def _submit_said(
        self, operation: str, items: list[dict[str, Any]], said: dict[str, Any]
    ) -> None:
        self._tally.actions.update(f"with {name}" for name in said.keys() - {"chunk_size"})
        self._run.submit(operation, items, options=said)
        if said.get("dry_run"):
            self._dry.append(self._run.tasks[-1])

    def _submit(
        self,
        operation: str,
        items: list[dict[str, Any]],
        said: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self._tally.actions[operation] += 1
        size = self._chance.choice(("auto", 1, 3, 10, 50))
        priority = self._chance.randint(0, 10)
        options = {"chunk_size": size, **(said or {})}
        self._run.submit(operation, items, options=options, priority=priority, **fields)

    def _batch(self) -> None:
        """Jobs as one, with an order."""
        self._tally.actions["batch"] += 1
        name = f"batch-{len(self._run.batches)}"
        self._run.submit_batch(
            whims.steps(
                self._chance,
                "crash.create",
                lambda step, count: [f"{name}-{step}-{n}" for n in range(count)],
                {},
            )
        )

    def _apply(self) -> None:
        """What a dry run has found is done for good, once."""
        if not self._dry:
            self._whim()
            return
        task = self._chance.choice(self._dry)
        self._commands += 1
        if self._run.apply(task, f"apply-{self._commands}"):
            self._dry.remove(task)
            self._tally.actions["apply"] += 1
        else:
            self._tally.actions["apply refused"] += 1
