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
from pathlib import Path
from signal import SIGKILL
from typing import Any

from streams.failpoints import Failpoint
from tests.crash import oracle, promises, whims
from tests.crash.arranging import Arranging
from tests.crash.client import AT_REST, JOBS, Document
from tests.crash.keeper import Life
from tests.crash.tally import Tally
from tests.crash.workshop import Run, Task, Workshop, workshop

STEPS_A_WALK = 50
LIVES_A_WALK = 30
VERBS = {
    "pause": 6,
    "resume": 6,
    "cancel": 6,
    "retry": 6,
    "undo": 6,
    "adjust": 6,
    "approve": 6,
    "reject": 2,
    "hold": 1,
    "release": 3,
    "shred": 1,
    "archive": 1,
}
"""What may be asked of a job, and how often it is; the last two are for good."""
DECIDING = ("approve", "reject")
WITH_REASON = (*DECIDING, "hold", "release", "shred", "archive")
HELP = {"paused": ("resume", "cancel"), "awaiting_approval": ("approve", "reject")}
"""What a job is told that waits for somebody, and what when that has not helped."""
PATIENT = 3
HEARD_WITHIN = 20.0
RESTS_WITHIN = 60.0
"""Seconds in which one of those that go on must have moved."""
SOMEBODY, ANOTHER = "ann", "bob"
LEASE = 1.0
_SETTINGS = {
    "COUNTERMAND_LEASE": str(LEASE),
    "COUNTERMAND_CLAIM_BY": str(LEASE),
    "COUNTERMAND_HEARTBEAT": "0.3",
    "COUNTERMAND_SWEEP": "0.2",
    "COUNTERMAND_ACTORS": "named",
    "COUNTERMAND_APPROVAL_ABOVE": "250",
}
"""Short times, so that what is lost is found within a walk; and large jobs must be approved."""
REFUSALS = ("wrong_state", "not_reversible", "invalid", "own_job", "plan_changed")


class Walk(Arranging):
    """One walk; ``step`` takes one step, ``rest`` brings every job to rest."""

    def __init__(self, run: Run, chance: random.Random, tally: Tally) -> None:
        super().__init__(run, chance, tally)
        self._struck: list[Life] = []
        self._seen: dict[str, int] = {}
        self._quiet: dict[str, int] = {}

    @property
    def kills(self) -> int:
        """The lives that it has ended; a signal between two of them has met nobody."""
        return sum(life.status == -SIGKILL for life in self._struck)

    def step(self) -> None:
        """Something happens."""
        actions = {
            self._add: 5,
            self._create: 2,
            self._wait: 2,
            self._misbehave: 1,
            self._draft: 2,
            self._whim: 4,
            self._fail: 3,
            self._select: 2,
            self._schedule: 2,
            self._name: 3,
            self._take: 3,
            self._batch: 2,
            self._apply: 2,
            self._steer_batch: 2,
            self._limit: 2,
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
        """Let all jobs go on to their end; those that were paused are told to, none is limited."""
        self._share(whims.NO_LIMITS)
        for task in self._run.tasks:
            self._check_quiet(task)
        going_on = dict.fromkeys(self._all(), 0)
        moved, seen = time.monotonic(), {}
        while going_on:
            for job_id, helped in list(going_on.items()):
                job = self._run.client.job(job_id)
                self._note(job)
                if job["status"] in AT_REST:
                    del going_on[job_id]
                elif job["status"] == "pending" and job["start_at"] is not None:
                    self._start(job_id, helped)
                    going_on[job_id] += 1
                elif job["status"] in HELP:
                    self._help(job, helped)
                    going_on[job_id] += 1
            if seen != self._seen:
                moved, seen = time.monotonic(), dict(self._seen)
            stuck = time.monotonic() - moved > RESTS_WITHIN
            assert not stuck, f"jobs do not come to rest: {list(going_on)}"
            time.sleep(0.02)
        for batch in self._run.batches:
            self._until_heard(batch)

    def _help(self, job: Document, helped: int) -> None:
        """A job that waits for somebody goes on; after a few times, for limits pause it again."""
        verb, last = HELP[job["status"]]
        job_id, key = job["job_id"], f"rest-{job['job_id']}-{helped}"
        asked = verb if helped < PATIENT else last
        self._run.client.attempt(job_id, asked, key, REFUSALS, actor=ANOTHER)

    def _start(self, job_id: str, helped: int) -> None:
        """A job is not waited for whose moment is far."""
        said, key = {"lift": ["start_at"]}, f"start-{job_id}-{helped}"
        self._run.client.attempt(job_id, "adjust", key, REFUSALS, said)

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
        if options["start"] == "sealed" and self._chance.random() < 0.8:
            self._edit(draft, items)
        path, sealed = f"{JOBS}/{draft}/seal", {"items": len(items)}
        client.ask("POST", path, sealed, key=f"seal-{number}", status=202)
        self._run.adopt(draft, items)

    def _edit(self, draft: str, items: list[dict[str, Any]]) -> None:
        """Items of a draft are others than they were sent as, and some are left out."""
        self._tally.actions["edit"] += 1
        said = whims.edits(self._chance, [item["mark"] for item in items])
        key, path = f"edit-{len(self._run.tasks)}", f"{JOBS}/{draft}/edit"
        self._run.client.ask("POST", path, said, key=key, status=202)
        for edit in said["edits"]:
            items[edit["item"]] = edit["body"]

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
        # Whoever approves is somebody else, as far as it is meant to go well.
        other = verb in DECIDING and self._chance.random() < 0.8
        actor = ANOTHER if other else ""
        taken = self._run.client.attempt(job_id, verb, key, REFUSALS, said, actor=actor)
        self._tally.actions[f"{whom}{verb}" if taken else f"{whom}{verb} refused"] += 1
        return taken

    def _command(self) -> None:
        recent = self._run.tasks[-2:] if self._chance.random() < 0.7 else self._run.tasks
        task = self._chance.choice(recent)
        self._check_quiet(task)
        verb = self._verb(task)
        if verb == "archive" and not self._may_put_away(task):
            return
        self._run.look_up(task)
        self._quiet.pop(task.job_id, None)
        taken = self._tell(task.job_id, verb, self._said(task, verb))
        if taken and verb == "pause":
            self._quiet[task.job_id] = self._effects(task)
        if not taken and verb == "archive":
            task.items = None

    def _verb(self, task: Task) -> str:
        """Mostly one that the job may take, as far as a caller can know."""
        possible = [verb for verb in self._run.client.job(task.job_id)["possible"] if verb in VERBS]
        known = possible if possible and self._chance.random() < 0.8 else list(VERBS)
        return self._chance.choices(known, [VERBS[verb] for verb in known])[0]

    def _said(self, task: Task, verb: str) -> dict[str, Any]:
        """What is said with a command."""
        if verb == "retry" and task.marks:
            return whims.again(self._chance, task.marks)
        if verb == "undo" and self._chance.random() < 0.15:
            return whims.part(self._chance)
        said = whims.body(self._chance, verb, len(task.marks), shared=task.shared)
        return said | ({"reason": "a whim"} if verb in WITH_REASON else {})

    def _may_put_away(self, task: Task) -> bool:
        """Notes what is known of the items of a job at rest: there may soon be nobody to ask."""
        status = self._run.client.job(task.job_id)["status"]
        if not task.alone or status not in AT_REST or status == "archived":
            return False
        if task.items is None:
            self._run.note(task.job_id)
        return True

    def _look(self) -> None:
        task = self._chance.choice(self._run.tasks)
        self._check_quiet(task)
        self._note(self._run.client.job(task.job_id))

    def _kill(self) -> None:
        time.sleep(self._chance.random() * 0.2)
        life = self._run.keeper.lives[-1]
        if life.ended is None and life not in self._struck:
            self._struck.append(life)
        self._run.keeper.kill()

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
    with shop.running(environment=_SETTINGS, actor=SOMEBODY) as run:
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
    tally.kills += one.kills
    tally.effects += verdict.effects
    tally.walks += 1


def _count(run: Run, tally: Tally) -> None:
    tally.lives += len(run.keeper.lives)
    tally.unanswered += run.client.unanswered
    tally.actions["results taken"] += sum(len(task.marks) for task in run.tasks if task.source)
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
