"""Walk: one thread breaks whatever chance says, while another gives jobs and steers them.

``python -m tests.chaos.walk --kills N --items N --seed S``.
"""

from __future__ import annotations

import argparse
import random
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.load import CREATE, Load
from tests.chaos.processes import Process, Victim
from tests.chaos.proxy import Armed, Cut, Weather
from tests.chaos.stack import Stack, running_stack
from tests.crash import whims

PATIENCE = 120.0
LARGEST = 20_000
UNDER_WAY = 5
"""Jobs that are not waited for, at most."""
_WRITTEN = ("reservations", "events", "chunks", "outcomes")
_REFUSALS = ("wrong_state", "not_reversible", "invalid")
_VERBS = ("pause", "pause", "resume", "cancel", "undo", "undo", "retry", "adjust", "adjust")


@dataclass
class Tally:
    """What a walk has seen."""

    kills: int = 0
    """Of those that lived: a signal that met nobody is none."""
    cuts: int = 0
    """Commits that the proxy has cut, of those that it was told to."""
    faults: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """What jobs were said to be, besides their items."""
    statuses: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    mended: float = 0.0
    """Seconds from the end of all faults to the end of all jobs."""


class Breaker:
    """Breaks things until it is told to stop; puts back what it has taken away."""

    def __init__(self, stack: Stack, chance: random.Random, tally: Tally, *, kills: int) -> None:
        self._stack = stack
        self._chance = chance
        self._tally = tally
        self._wanted = kills
        self._stopped = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="breaker")

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    @property
    def satisfied(self) -> bool:
        """Whether it has killed as often as was wanted."""
        if self._failed is not None:
            raise self._failed
        return self._tally.kills >= self._wanted

    def stop(self) -> None:
        """Break no more, and have all members there again."""
        self._stopped.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        self._stack.proxy.disarm()
        self._stack.start()

    def _run(self) -> None:
        actions: dict[Callable[[], bool], int] = {
            self._kill_engine: 8,
            self._kill_supervisor: 4,
            self._freeze: 2,
            self._restart: 2,
            self._kill_broker: 1,
            self._kill_database: 1,
            self._cut_commits: 4,
            self._reset: 1,
            self._silence: 1,
            self._slow_down: 1,
        }
        try:
            while not self._stopped.wait(self._chance.uniform(0.1, 2.0)):
                (action,) = self._chance.choices(list(actions), list(actions.values()))
                happened = action()
                self._tally.faults[action.__name__.strip("_").replace("_", " ")] += happened
        except BaseException as failed:
            self._failed = failed

    def _member(self) -> Process:
        return self._chance.choice(list(self._stack.processes.values()))

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(self._chance.uniform(0, seconds))

    # -- what it does -----------------------------------------------------------------

    def _kill_engine(self) -> bool:
        return self._killed(self._member(), Victim.ENGINE)

    def _kill_supervisor(self) -> bool:
        member = self._member()
        killed = self._killed(member, Victim.SUPERVISOR)
        self._wait(8.0)
        member.start()
        return killed

    def _killed(self, member: Process, victim: Victim) -> bool:
        killed = member.kill(victim)
        self._tally.kills += killed
        return killed

    def _freeze(self) -> bool:
        member = self._member()
        frozen = member.freeze()
        self._wait(9.0)
        member.thaw()
        return frozen

    def _restart(self) -> bool:
        member = self._member()
        ran = member.is_running
        member.ask_to_stop()
        member.wait()
        member.start()
        return ran

    def _kill_broker(self) -> bool:
        self._stack.kafka.kill()
        self._tally.kills += 1
        self._wait(5.0)
        self._stack.kafka.start()
        return True

    def _kill_database(self) -> bool:
        self._stack.postgres.kill()
        self._tally.kills += 1
        self._wait(5.0)
        self._stack.postgres.start()
        return True

    def _cut_commits(self) -> bool:
        """Tells the proxy to; how many it has cut is counted in the end."""
        armed = [
            Armed(self._chance.choice(_WRITTEN), self._chance.choice(list(Cut))) for _ in range(3)
        ]
        self._stack.proxy.arm(*armed)
        return True

    def _reset(self) -> bool:
        return self._stack.proxy.reset_all() > 0

    def _silence(self) -> bool:
        return self._stack.proxy.silence() > 0

    def _slow_down(self) -> bool:
        weather = Weather(delay=0.02, jitter=0.05, stalls=0.01, stall=2.0)
        with self._stack.proxy.weather(weather):
            self._wait(5.0)
        return True


class Caller:
    """Gives jobs and steers them; whatever becomes of its requests, each is one request."""

    def __init__(self, load: Load, chance: random.Random, tally: Tally) -> None:
        self._load = load
        self._chance = chance
        self._tally = tally
        self._under_way: list[str] = []
        self._commands = 0

    def step(self, most: int) -> None:
        """One more job, of so many items at most; now and then a command to one before."""
        # Few large ones and many small ones.
        count = max(1, int(most * self._chance.random() ** 2))
        (give,) = self._chance.choices(
            (self._plain, self._fitful, self._whimsical, self._batch), (4, 3, 3, 1)
        )
        give(count)
        while self._chance.random() < 0.4:
            self._command()
        while len(self._under_way) > UNDER_WAY:
            self._settle(self._under_way.pop(0))

    def rest(self) -> None:
        """Let all jobs come to rest."""
        while self._under_way:
            self._settle(self._under_way.pop(0))

    # -- what it gives -----------------------------------------------------------------

    def _plain(self, count: int) -> None:
        self._under_way.append(self._load.submit(count))

    def _fitful(self, count: int) -> None:
        self._under_way.append(self._load.submit_fitful(count))

    def _whimsical(self, count: int) -> None:
        """A job of which more is said; a dry run is applied once it has ended."""
        said = whims.options(self._chance, count, self._under_way[-3:])
        if said.get("dry_run"):
            # It is waited for at once, and one that it comes after may be paused.
            said.pop("after", None)
        self._tally.said.update(said.keys() - {"chunk_size"})
        job_id = self._load.submit_whimsical(count, said)
        self._under_way.append(job_id)
        if said.get("dry_run"):
            self._settle(job_id)
            self._under_way.remove(job_id)
            self._commands += 1
            applied = self._load.apply(job_id, f"apply-{self._commands}")
            self._tally.said["apply"] += applied is not None
            if applied is not None:
                self._under_way.append(applied)

    def _batch(self, _count: int) -> None:
        key = f"batch-{len(self._load.batches) + 1}"
        steps = whims.steps(
            self._chance,
            CREATE,
            lambda number, count: [f"{key}-{number}-{n}" for n in range(count)],
            {},
        )
        self._tally.said["batch"] += 1
        self._under_way.append(self._load.submit_batch(steps))

    # -- what it asks for --------------------------------------------------------------

    def _command(self) -> None:
        job_id, verb = self._chance.choice(self._under_way), self._chance.choice(_VERBS)
        steps = self._load.batches.get(job_id)
        if steps is None:
            said = whims.body(self._chance, verb, len(self._load.tasks[job_id].marks))
        else:
            said = whims.batch_undo(self._chance, steps) if verb == "undo" else {}
        self._commands += 1
        key = f"{verb}-{self._commands}"
        taken = self._load.client.attempt(job_id, verb, key, _REFUSALS, said)
        self._tally.faults[verb if taken else f"{verb} refused"] += 1

    def _settle(self, job_id: str) -> None:
        self._load.client.attempt(job_id, "resume", f"rest-{job_id}", _REFUSALS)
        job = self._load.done(job_id, PATIENCE)
        counts = dict(job["counts"])
        assert counts.pop("total") == sum(counts.values()), job
        if job_id in self._load.batches:
            # Its items are those of its jobs.
            for step in job["steps"]:
                self._settle(step["job_id"])
            return
        self._tally.statuses[job["status"]] += 1
        self._tally.items.update(counts)


def walk(load: Load, *, kills: int, items: int, largest: int, seed: int) -> Tally:
    """Go on until so many were killed and so many items were given; the load is to be judged."""
    tally = Tally()
    breaker = Breaker(load.stack, random.Random(seed), tally, kills=kills)
    caller = Caller(load, random.Random(seed + 1), tally)
    given, cuts = load.items, load.stack.proxy.cuts.total()
    breaker.start()
    try:
        while load.items - given < items or not breaker.satisfied:
            caller.step(largest)
    finally:
        breaker.stop()
    tally.cuts = load.stack.proxy.cuts.total() - cuts
    whole = time.monotonic()
    caller.rest()
    tally.mended = time.monotonic() - whole
    return tally


def main() -> None:
    """Run as asked; the seed is printed before, so that it is known if the run is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.walk", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--seed", type=int, help="a random one otherwise")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
    folder = Path(tempfile.mkdtemp(prefix="countermand-chaos-"))
    print(f"walk: seed {seed}, logs in {folder}", flush=True)
    with running_stack(folder, seed) as stack:
        load = Load.on(stack)
        print(walk(load, kills=asked.kills, items=asked.items, largest=LARGEST, seed=seed))
        print(load.verdict())


if __name__ == "__main__":
    main()
