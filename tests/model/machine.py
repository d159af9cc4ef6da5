"""The model as a hypothesis state machine: what processes, the bus and chance do to callers."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from domain.events import JobStatus
from tests.model.acting import at_rest
from tests.model.callers import Callers, coin, pick
from tests.model.coordinator import Crash
from tests.model.kinds import BEGIN
from tests.model.ledger import fold
from tests.model.loading import load
from tests.model.tables import JobTables

rooms = st.integers(0, 4)
fates = st.sampled_from((None, None, None, None, Crash.BEFORE_COMMIT, Crash.AFTER_COMMIT))


class EngineMachine(Callers):
    """Jobs of callers among processes that fail."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self.tally.runs += 1

    # -- the coordinators ---------------------------------------------------------------------

    @precondition(lambda self: self.store.commands)
    @rule(which=pick, process=st.integers(0, 1), room=rooms, crash=fates, again=coin)
    def coordinate(
        self, which: int, process: int, room: int, crash: Crash | None, again: bool
    ) -> None:
        """A message of the commands topic, in any order; ``again``: it will come once more."""
        at = which % len(self.store.commands)
        message = self.store.commands[at]
        # A process that dies has not acknowledged.
        if not again and crash is None:
            del self.store.commands[at]
        self.coordinators[process].handle(message, room=room, crash=crash)

    @rule(process=st.integers(0, 1), room=rooms)
    def sweep(self, process: int, room: int) -> None:
        """Look for what was lost."""
        self.coordinators[process].sweep(room=room)

    @rule(process=st.integers(0, 1))
    def fire_timers(self, process: int) -> None:
        """Jobs that wait for a moment are told when it has come."""
        self.coordinators[process].fire()

    @precondition(lambda self: any(map(_waits_for_a_moment, self.store.jobs.values())))
    @rule(process=st.integers(0, 1))
    def fire_in_vain(self, process: int) -> None:
        """Jobs come to wait for a moment; it comes, and what tells them of it is lost.

        Nothing else is under way that would tell them as well; before long they are told again.
        """
        for _ in range(30):
            waits = any(tables.timer is not None for tables in self.store.jobs.values())
            if waits and not self._busy():
                break
            self._round(room=2)
        else:
            return
        said = len(self.store.commands)
        self.store.now += 6
        self.coordinators[process].fire()
        del self.store.commands[said:]
        late = self._late()
        self._flow(4, room=2)
        assert not late & self._late(), "nobody has told a job that its moment has come"

    @rule(process=st.integers(0, 1))
    def restart(self, process: int) -> None:
        """A coordinator dies between two messages."""
        self.coordinators[process].crash()

    @precondition(lambda self: any(c.live for c in self.coordinators))
    @rule(which=pick, process=st.integers(0, 1))
    def snapshot(self, which: int, process: int) -> None:
        """A coordinator, perhaps one that is behind, stores a snapshot."""
        stored = [job_id for job_id, job in self.coordinators[process].live.items() if job.version]
        if stored:
            self.coordinators[process].snapshot(stored[which % len(stored)])

    # -- the workers ----------------------------------------------------------------------------

    @precondition(lambda self: self.store.work)
    @rule(which=pick, again=coin)
    def claim(self, which: int, again: bool) -> None:
        """A work message, in any order, maybe late, maybe twice."""
        at = which % len(self.store.work)
        self.workers.claim(self.store.work[at] if again else self.store.work.pop(at))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick, hint=coin)
    def progress(self, which: int, hint: bool) -> None:
        """The next transaction of a worker; without ``hint`` it dies right after."""
        self.workers.progress(self._task(which), hint=hint)

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def kill_worker(self, which: int) -> None:
        """A worker dies between two of its transactions."""
        self.workers.tasks.remove(self._task(which))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick, found=st.sampled_from((0, 0, 1, 500)))
    def stall(self, which: int, found: int) -> None:
        """A worker is silent until its leases have run out, and its message comes again.

        Meanwhile a sweep may have found some of its chunks, or all.
        """
        self._stall(self._task(which), found)

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def heartbeat(self, which: int) -> None:
        """A worker prolongs its leases; those of the others may run out while they live."""
        self.workers.beat(self._task(which))

    @precondition(lambda self: self.workers.tasks)
    @rule(which=pick)
    def drain_worker(self, which: int) -> None:
        """A worker stops in an orderly way."""
        self.workers.hand_back(self._task(which))

    # -- the world --------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 6)))
    def wait(self, seconds: int) -> None:
        """Time goes by; after six seconds every lease that is not prolonged has run out."""
        self.store.now += seconds

    @precondition(lambda self: self.store.commands)
    @rule(which=pick)
    def lose_command(self, which: int) -> None:
        """A message of the commands topic is lost."""
        del self.store.commands[which % len(self.store.commands)]

    @precondition(lambda self: self.store.work)
    @rule(which=pick)
    def lose_work(self, which: int) -> None:
        """A message of the work topic is lost."""
        del self.store.work[which % len(self.store.work)]

    @rule(rounds=st.sampled_from((1, 3, 10, 30)), room=rooms)
    def flow(self, rounds: int, room: int) -> None:
        """For a while nothing goes wrong, except what the items themselves do."""
        self._flow(rounds, room)

    # -- checks -----------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """All invariants of all jobs; also counts the step."""
        self.tally.steps += self._begun
        self._begun = True
        for tables in self.store.jobs.values():
            live = [c.live[tables.job_id] for c in self.coordinators if tables.job_id in c.live]
            self.oracle.check(tables, live, self._found(tables))
        self.order.check()
        self.allotted.check()

    def teardown(self) -> None:
        """Without faults from now on, every job comes to rest."""
        if sys.exc_info()[0] is not None:
            return  # a rule has failed already, and that is what is to be reported
        self._drain()
        self.holds()
        self.tally.steps -= 1
        self.tally.drained += len(self.store.jobs)
        for tables in self.store.jobs.values():
            self.tally.causes.update(row.cause.value for row in tables.chunks.values())
            rows = tables.outcomes.values()
            self.tally.closings.update(row.closed.closing.value for row in rows)
            self.tally.items.update(i.status.value for i in fold(tables, recorded=True))
            self.tally.timeouts += len(tables.errors)
        self.tally.full += self.allotted.full

    def _drain(self) -> None:
        rounds = 0
        while not all(at_rest(tables) for tables in self.store.jobs.values()):
            items = sum(len(tables.records) for tables in self.store.jobs.values())
            if rounds > 2 * (60 + 36 * items):
                resting = {t.job_id: t.status for t in self.store.jobs.values()}
                raise AssertionError(f"a job does not come to rest: {resting}")
            self._round(room=2)
            # Not each time: who is refused again and again would keep time from going by.
            if rounds % 2:
                self._callers_go_on()
            self.holds()
            self.tally.steps -= 1
            rounds += 1

    def _found(self, tables: JobTables) -> dict[int, int] | None:
        """What the filter of a job has found, by item."""
        if tables.manifest is None:
            return None
        return dict(enumerate(self.store.manifests[tables.manifest][1].values()))

    def _late(self) -> set[tuple[str, datetime]]:
        """Jobs with a moment that has come, and when that was: an attempt, or the timeout."""
        now, late = BEGIN + timedelta(seconds=self.store.now), set()
        for job_id, tables in self.store.jobs.items():
            job = load(tables)
            moments = [due for due in (job.next_due, job.ends_by) if due is not None]
            late |= {(job_id, due) for due in moments if due <= now}
        return late


def _waits_for_a_moment(tables: JobTables) -> bool:
    """Whether items of a job are tried again by itself, or it may take too long."""
    going_on = tables.status in (JobStatus.PENDING, JobStatus.RUNNING)
    options = tables.options
    return going_on and (options.retry is not None or options.timeout is not None)
