"""Members are killed and frozen: the work goes on by itself."""

from __future__ import annotations

import time

import pytest

from tests.chaos import figures
from tests.chaos.load import Load
from tests.chaos.processes import Victim
from tests.chaos.stack import Stack
from tests.crash.client import JOBS
from tests.proof.figures import tell

pytestmark = [pytest.mark.crash, pytest.mark.service("kafka", "postgresql")]

RECOVERY = 12.0
"""Seconds from a kill half way of a job to the job's end, at most."""
TRIALS = 10
FROZEN = 10.0
"""Seconds that a worker is frozen, at least."""
QUIET = 2.0
"""Seconds in which whatever was let loose would have done its harm."""
OVERDUE = 7.0
"""Seconds after which work that nobody began, or whose worker has died, was looked for again."""


def _killed_half_way(load: Load, role: str, victim: Victim) -> float:
    """Seconds from a kill of the member that matters to the end of the job."""
    job_id = load.submit_held(1000, ms=2.0)
    with load.half_way(job_id):
        if role == "worker":
            process = load.stack.owner_of(load.worker_on(job_id))
        else:
            process = load.stack.coordinator_of(job_id)
        process.kill(victim)
    begun = time.monotonic()
    load.all_done(job_id, RECOVERY)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("role", "victim"), [("worker", Victim.SUPERVISOR), ("coordinator", Victim.ENGINE)]
)
def test_one_member_is_killed_half_way(load: Load, role: str, victim: Victim) -> None:
    took = _killed_half_way(load, role, victim)
    tell(f"recovery from the death of a {role}'s {victim}", f"{took:.1f} s")
    load.judge()


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("victim", list(Victim))
@pytest.mark.parametrize("role", ["worker", "coordinator"])
def test_members_are_killed_half_way(load: Load, role: str, victim: Victim) -> None:
    found = []
    for _ in range(TRIALS):
        found.append(_killed_half_way(load, role, victim))
        load.stack.start()
    figures.recovery(f"the death of a {role}'s {victim}", found)
    load.judge()


def test_a_zombie_writes_nothing(stack: Stack, load: Load) -> None:
    job_id = load.submit_held(1000, ms=10.0)
    with load.half_way(job_id):
        zombie = stack.owner_of(load.worker_on(job_id))
        zombie.freeze()
    frozen = time.monotonic()
    load.client.command(job_id, "cancel", f"cancel-{job_id}")
    assert load.done(job_id, RECOVERY)["status"] == "cancelled"
    load.client.command(job_id, "undo", f"undo-{job_id}")
    assert load.done(job_id, RECOVERY)["status"] == "rolled_back"
    time.sleep(max(0.0, frozen + FROZEN - time.monotonic()))
    effects = load.effects(job_id)
    zombie.thaw()
    zombie.wait_ready()
    time.sleep(QUIET)
    changed = load.effects(job_id) - effects
    tell("effects that a worker made which was frozen meanwhile", changed, frozen=f"{FROZEN} s")
    assert not changed
    load.judge()


def test_paused_while_no_worker_was_there_nothing_runs(stack: Stack, load: Load) -> None:
    job_id = load.submit_held(1000, ms=5.0)
    with load.half_way(job_id):
        for worker in stack.workers:
            worker.kill(Victim.SUPERVISOR)
    load.named(job_id, "no_worker")
    load.client.command(job_id, "pause", f"pause-{job_id}")
    paused, runs = load.effects(job_id), load.runs(job_id)
    stack.start(*stack.workers)
    time.sleep(OVERDUE)
    assert load.client.job(job_id)["status"] == "paused"
    more = len(load.runs(job_id)) - len(runs)
    tell("items that ran though paused while no worker was there", more, seconds=OVERDUE)
    assert (load.effects(job_id), load.runs(job_id)) == (paused, runs)
    load.client.command(job_id, "resume", f"resume-{job_id}")
    load.all_done(job_id, 60)
    load.judge()


def test_cancelled_while_no_coordinator_was_there(stack: Stack, load: Load) -> None:
    # Workers go on with what was dispatched, so there must be more of it than they can do
    # while a caller waits for 503, a coordinator starts and the other's session runs out.
    job_id = load.submit(6000, ms=20.0)
    load.begun(job_id)
    for coordinator in stack.coordinators:
        coordinator.kill(Victim.SUPERVISOR)
    json = {"Content-Type": "application/json"}
    answer = load.client.once("POST", f"{JOBS}/{job_id}/cancel", b"{}", json)
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) > 0
    assert load.client.job(job_id)["status"] == "running"
    stack.start(stack.coordinators[1])
    # A process must start, and then have what the other one had when its session has run out.
    begun = time.monotonic()
    job = load.done(job_id, RECOVERY)
    tell("cancelled after a coordinator was started", f"{time.monotonic() - begun:.1f} s")
    assert job["status"] == "cancelled", job
    load.judge()
