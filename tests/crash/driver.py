"""Driver: random commands to one engine that is killed at random times.

``python -m tests.crash.driver --steps N --seed S``. A walk begins on a fresh directory, gives
some fifty commands, lets every job come to rest and has the oracle judge.
"""

from __future__ import annotations

import argparse
import random
import secrets
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.failpoints import Failpoint
from tests.crash import oracle, promises, whims
from tests.crash.client import AT_REST, JOBS, Document
from tests.crash.scenarios import additions
from tests.crash.workshop import COUNTERS, Run, Task, Workshop, workshop

STEPS_A_WALK = 50
LIVES_A_WALK = 30
FAULTS = ("exit", "die", "cancel", "interrupt", "raise", "nonsense")
VERBS = ("pause", "resume", "cancel", "retry", "undo", "adjust")
HEARD_WITHIN = 20.0
LEASE = 1.0
_SETTINGS = {
    "COUNTERMAND_LEASE": str(LEASE),
    "COUNTERMAND_CLAIM_BY": str(LEASE),
    "COUNTERMAND_HEARTBEAT": "0.3",
    "COUNTERMAND_SWEEP": "0.2",
}
"""Short, so that what is lost is found within a walk."""
REFUSALS = ("wrong_state", "not_reversible", "invalid")


@dataclass
class Tally:
    """What the walks have seen."""

    steps: int = 0
    walks: int = 0
    kills: int = 0
    lives: int = 0
    unanswered: int = 0
    effects: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.steps:,} steps in {self.walks} walks, {self.lives} lives, {self.kills} kills, "
            f"{self.unanswered} requests without answer, {self.effects:,} effects; "
            f"{told(self.actions)}; jobs: {told(self.statuses)}; items: {told(self.items)}"
        )


def told(counted: Counter[str]) -> str:
    """As words: each name with its count."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))


class Walk:
    """One walk; ``step`` takes one step, ``rest`` brings every job to rest."""

    def __init__(self, run: Run, chance: random.Random, tally: Tally) -> None:
        self._run = run
        self._chance = chance
        self._tally = tally
        self._seen: dict[str, int] = {}
        self._quiet: dict[str, int] = {}
        self._dry: list[Task] = []
        """Dry runs that nobody has applied yet."""
        self._commands = 0

    def step(self) -> None:
        """Something happens."""
        actions = {
            self._add: 5,
            self._create: 2,
            self._wait: 2,
            self._misbehave: 1,
            self._draft: 2,
            self._whim: 5,
            self._batch: 2,
            self._apply: 2,
            self._steer_batch: 2,
            self._command: 12,
            self._look: 3,
            self._kill: 3,
            self._arm: 1,
            self._freeze: 1,
            self._pause_for_breath: 4,
        }
        (action,) = self._chance.choices(list(actions), list(actions.values()))
        if action in (self._command, self._look) and not self._run.tasks:
            action = self._add
        action()
        self._tally.steps += 1

    def rest(self) -> None:
        """Let all jobs go on to their end; those that were paused are told to."""
        for task in self._run.tasks:
            self._check_quiet(task)
        for job_id in self._all():
            self._run.client.attempt(job_id, "resume", f"rest-{job_id}", REFUSALS)
        for job_id in self._all():
            self._note(self._run.settle(job_id))
        for batch in self._run.batches:
            self._until_heard(batch)

    def _all(self) -> list[str]:
        return [*(task.job_id for task in self._run.tasks), *self._run.batches]

    def _until_heard(self, batch: str) -> None:
        """A batch that rests has heard of its jobs within a second or two."""
        until = time.monotonic() + HEARD_WITHIN
        while time.monotonic() < until:
            whole = self._run.client.job(batch)
            steps = [self._run.client.job(step["job_id"]) for step in whole["steps"]]
            if not list(promises.broken_whole(whole, {job["job_id"]: job for job in steps})):
                return
            time.sleep(0.1)

    # -- actions ----------------------------------------------------------------------

    def _add(self) -> None:
        count = self._chance.randint(1, 120)
        counters = self._chance.sample(range(1, COUNTERS + 1), count)
        items = additions(f"add-{len(self._run.tasks)}", counters)
        for item in items:
            if self._chance.random() < 0.05:
                item["fault"] = "bad luck"
            elif self._chance.random() < 0.1:
                # Once another job has added to it, a retry succeeds.
                item["needs"] = self._chance.randint(1, COUNTERS)
        self._submit("crash.add", items)

    def _create(self) -> None:
        number = len(self._run.tasks)
        count = self._chance.randint(1, 3000)
        self._submit("crash.create", [{"mark": f"create-{number}-{n}"} for n in range(count)])

    def _wait(self) -> None:
        number, most = len(self._run.tasks), self._chance.choice((2, 20, 200))
        items = [
            {"mark": f"wait-{number}-{n}", "ms": self._chance.randint(0, most)}
            for n in range(self._chance.randint(1, 60))
        ]
        params = {"journal": str(self._run.keeper.data_dir / "journal")}
        self._submit("crash.wait", items, records=False, params=params)

    def _misbehave(self) -> None:
        """An item that does what no handler should, among a few others."""
        counters = self._chance.sample(range(1, COUNTERS + 1), self._chance.randint(1, 6))
        items = additions(f"misbehave-{len(self._run.tasks)}", counters)
        self._chance.choice(items)["fault"] = self._chance.choice(FAULTS)
        self._submit("crash.misbehave", items)

    def _draft(self) -> None:
        """Items in parts, each sent once or twice; it may begin before it is sealed."""
        self._tally.actions["draft"] += 1
        client, number = self._run.client, len(self._run.tasks)
        options = {"start": self._chance.choice(("eager", "sealed")), "chunk_size": 7}
        body = {"operation": "crash.create", "draft": True, "options": options}
        draft = client.ask("POST", JOBS, body, key=f"draft-{number}", status=202)["job_id"]
        items = [{"mark": f"draft-{number}-{n}"} for n in range(self._chance.randint(1, 60))]
        for part, first in enumerate(range(0, len(items), 25)):
            for _ in range(self._chance.randint(1, 2)):
                path = f"{JOBS}/{draft}/items?part={part}"
                client.ask("POST", path, items[first : first + 25], status=202)
            if self._chance.random() < 0.2:
                self._kill()
        path, sealed = f"{JOBS}/{draft}/seal", {"items": len(items)}
        client.ask("POST", path, sealed, key=f"seal-{number}", status=202)
        self._run.adopt(draft, items)

    def _whim(self) -> None:
        """A job of which more is said than its items."""
        number, count = len(self._run.tasks), self._chance.randint(1, 300)
        earlier = [task.job_id for task in self._run.tasks[-4:]]
        said = whims.options(self._chance, count, earlier)
        self._tally.actions.update(f"with {name}" for name in said.keys() - {"chunk_size"})
        items = [{"mark": f"whim-{number}-{n}"} for n in range(count)]
        self._run.submit("crash.create", items, options=said)
        if said.get("dry_run"):
            self._dry.append(self._run.tasks[-1])

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

    def _steer_batch(self) -> None:
        """What is asked of a batch is asked of all its jobs."""
        if not self._run.batches:
            self._batch()
            return
        batch, steps = self._chance.choice(list(self._run.batches.items()))
        verb = self._chance.choice(("pause", "resume", "resume", "cancel", "undo", "undo"))
        said: dict[str, Any] = {}
        if verb == "undo":
            said = whims.batch_undo(self._chance, steps)
        elif verb == "cancel":
            said = whims.body(self._chance, verb, 0)
        # Its jobs may be moved by it from now on.
        self._quiet.clear()
        self._tell(batch, verb, said, "batch ")

    def _tell(self, job_id: str, verb: str, said: dict[str, Any], whom: str = "") -> bool:
        """Whether a command was taken."""
        self._commands += 1
        key = f"{verb}-{self._commands}"
        taken = self._run.client.attempt(job_id, verb, key, REFUSALS, said)
        self._tally.actions[f"{whom}{verb}" if taken else f"{whom}{verb} refused"] += 1
        return taken

    def _submit(self, operation: str, items: list[dict[str, Any]], **fields: Any) -> None:
        self._tally.actions[operation] += 1
        size = self._chance.choice(("auto", 1, 3, 10, 50))
        priority = self._chance.randint(0, 10)
        options = {"chunk_size": size}
        self._run.submit(operation, items, options=options, priority=priority, **fields)

    def _command(self) -> None:
        recent = self._run.tasks[-2:] if self._chance.random() < 0.7 else self._run.tasks
        task = self._chance.choice(recent)
        self._check_quiet(task)
        verb = self._verb(task)
        self._quiet.pop(task.job_id, None)
        shared = task.marks[0].startswith(("add", "misbehave"))
        said = whims.body(self._chance, verb, len(task.marks), shared=shared)
        if self._tell(task.job_id, verb, said) and verb == "pause":
            self._quiet[task.job_id] = self._effects(task)

    def _verb(self, task: Task) -> str:
        """Mostly one that the job may take, as far as a caller can know."""
        possible = [verb for verb in self._run.client.job(task.job_id)["possible"] if verb in VERBS]
        return self._chance.choice(possible if possible and self._chance.random() < 0.8 else VERBS)

    def _look(self) -> None:
        task = self._chance.choice(self._run.tasks)
        self._check_quiet(task)
        self._note(self._run.client.job(task.job_id))

    def _kill(self) -> None:
        time.sleep(self._chance.random() * 0.2)
        self._run.keeper.kill()
        self._tally.kills += 1

    def _arm(self) -> None:
        """The next life ends by itself, soon after it has begun."""
        point = self._chance.choice(list(Failpoint))
        self._run.keeper.arm(f"{point}:{self._chance.randint(1, 5)}")
        self._kill()

    def _freeze(self) -> None:
        """Leases run out while their worker believes that it holds them."""
        self._tally.actions["freeze"] += 1
        self._run.keeper.freeze(LEASE + self._chance.random())

    def _pause_for_breath(self) -> None:
        time.sleep(self._chance.random() * 0.3)

    # -- what must hold at any time ---------------------------------------------------

    def _note(self, job: Document) -> None:
        """Counts add up, and what a caller has seen is never taken back."""
        counts = dict(job["counts"])
        total = counts.pop("total")
        assert sum(counts.values()) == total, job
        assert min(counts.values()) >= 0, job
        assert job["version"] >= self._seen.get(job["job_id"], 0), job
        self._seen[job["job_id"]] = job["version"]

    def _check_quiet(self, task: Task) -> None:
        """After a pause was confirmed, nothing takes effect until the next command."""
        if task.job_id in self._quiet:
            assert self._effects(task) == self._quiet[task.job_id], f"{task.job_id} is paused"

    def _effects(self, task: Task) -> int:
        with self._run.place.opened() as connection:
            return oracle.effects_of(connection, task.marks)


def walk(shop: Workshop, seed: int, steps: int, tally: Tally) -> None:
    """One walk of so many steps; raises AssertionError that names the seed."""
    chance = random.Random(seed)
    with shop.running(environment=_SETTINGS) as run:
        try:
            one = Walk(run, chance, tally)
            for _ in range(steps):
                one.step()
            one.rest()
            verdict = shop.verdict(run)
            assert not verdict.faults, verdict
            assert len(run.keeper.lives) < LIVES_A_WALK * 2, "it died more often than it was killed"
        except BaseException as broken:
            broken.add_note(
                f"again with `python -m tests.crash.driver --steps {steps} --seed {seed}`; "
                f"the data is in {run.keeper.data_dir}"
            )
            raise
        _count(run, tally)
    tally.effects += verdict.effects
    tally.walks += 1


def _count(run: Run, tally: Tally) -> None:
    tally.lives += len(run.keeper.lives)
    tally.unanswered += run.client.unanswered
    for account in run.judged:
        assert account.job["status"] in AT_REST
        tally.statuses[account.job["status"]] += 1
        tally.items.update(account.statuses)


def drive(shop: Workshop, steps: int, seed: int) -> Tally:
    """Walk until so many steps are taken, each walk from a seed of its own."""
    tally = Tally()
    while tally.steps < steps:
        walk(shop, seed + tally.walks, min(STEPS_A_WALK, steps - tally.steps), tally)
    return tally


def main() -> None:
    """Run as asked; the seed is printed before, so that it is known if the run is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.driver", description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS_A_WALK)
    parser.add_argument("--seed", type=int, help="a random one otherwise")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
    print(f"driver: {asked.steps:,} steps from seed {seed}", flush=True)
    with workshop(Path(tempfile.mkdtemp(prefix="countermand-crash-"))) as shop:
        print(drive(shop, asked.steps, seed))


if __name__ == "__main__":
    main()
