"""Commands raced against the end of a job, and each other: what was confirmed holds."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter

import pytest

from domain.errors import WrongState
from domain.events import JobStatus
from domain.job import Job
from streams.saying import More, Verb
from tests.engine.conftest import CALLER, Desk
from tests.proof.figures import tell

ITEMS = (20, 100, 400)
"""Of the smallest all is done before any command is heard; the largest hardly ever end first."""
SAMPLE, ALL = 10, 200


class Race:
    """One job, and one command that comes some time between its begin and its end."""

    def __init__(self, desk: Desk, name: str, chance: random.Random) -> None:
        self.desk = desk
        self.name = name
        self._chance = chance
        self.items = chance.choice(ITEMS)
        self.job_id = ""
        self.refusals: list[str] = []

    async def run(self, verb: Verb, more: More | None = None) -> bool:
        """Whether the command was accepted; it is sent after some of the job's events."""
        await self.submit()
        return await self.ask(verb, more) is not None

    async def submit(self) -> None:
        """The job, of which some events are awaited."""
        items = [{"name": f"{self.name}-{n}.", "amount": 1} for n in range(self.items)]
        options = {"chunk_size": self._chance.choice((1, 4, 10))}
        self.job_id = await self.desk.submit("stock.create", items, options=options)
        await self._some_events(self._chance.randrange(5))

    async def ask(self, verb: Verb, more: More | None = None) -> Verb | None:
        """The command if it was accepted; who is refused is told the state and what is possible."""
        try:
            gateway = self.desk.engine.gateway
            await gateway.command(CALLER, self.job_id, verb, "", more=more or More())
        except WrongState as refused:
            self.refusals.append(refused.message)
            return None
        return verb

    async def _some_events(self, many: int) -> None:
        with self.desk.engine.hub.subscribe(self.job_id) as heard:
            for _ in range(many):
                if (await self.job()).status.terminal:
                    return
                await heard.next(0.02)

    async def job(self) -> Job:
        return await self.desk.job(self.job_id)

    async def written(self) -> int:
        """How many records of the job there are."""
        own = f"{self.name}-"
        ((many,),) = await self.desk.rows(
            f"SELECT count(*) FROM stock WHERE substr(name, 1, {len(own)}) = '{own}'"
        )
        return int(many)

    async def agree(self) -> Job:
        """The job, whose counts are those of its ledger and of its records."""
        job = await self.job()
        views = self.desk.engine.queries.items("local", self.job_id)
        ledger = Counter([view.status.value async for view in views])
        assert job.counts.total == self.items
        assert {name: n for name, n in job.counts.model_dump().items() if n} == ledger
        assert await self.written() == job.counts.succeeded
        return job


KINDS = {
    "at once": More(),
    "roll back": More(roll_back=True),
    "graceful": More(graceful=True),
}


async def _cancels(desk: Desk, races: int, kind: str, seed: int = 5) -> Counter[str]:
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    for number in range(races):
        race = Race(desk, f"cancel{number}", chance)
        accepted = await race.run("cancel", KINDS[kind])
        written = await race.written()
        await desk.settle(race.job_id)
        job = await race.agree()
        ends[job.status.value] += 1
        if not accepted:
            assert job.status is JobStatus.COMPLETED
        elif kind == "roll back":
            assert job.counts.succeeded == 0
            assert job.status in (JobStatus.ROLLED_BACK, JobStatus.CANCELLED)
        else:
            assert job.status is JobStatus.CANCELLED
            late = job.counts.succeeded - written
            assert kind == "graceful" or not late, "it took effect after it was confirmed"
    return ends


async def _pauses(desk: Desk, races: int, seed: int = 6) -> Counter[str]:
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    for number in range(races):
        race = Race(desk, f"pause{number}", chance)
        accepted = await race.run("pause")
        written = await race.written()
        ends["paused" if accepted else "completed"] += 1
        if accepted:
            # Whatever was in flight has had its time when another job is done.
            await desk.settle(await desk.submit("stock.create", [{"name": "other"}]))
            paused = await race.agree()
            assert (paused.status, paused.counts.succeeded) == (JobStatus.PAUSED, written)
            await desk.command(race.job_id, "resume")
        await desk.settle(race.job_id)
        job = await race.agree()
        assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, race.items)
    return ends


NOTED: dict[Verb, str] = {
    "pause": "job.paused",
    "resume": "job.resumed",
    "cancel": "job.cancelled",
    "undo": "job.undo_started",
    "retry": "job.retry_started",
}
"""The event of each command: one that was accepted has it, one that was refused has not."""
AT_ONCE = 5
SAID = re.compile(
    r"the job is [a-z_]+: [a-z]+ is not possible; possible: "
    r"|the job has changed nothing that stands|there is no such failed item"
)
"""What a refusal says: the state and what is possible, or what is missing."""


async def _against_each_other(desk: Desk, races: int, seed: int = 7) -> Counter[str]:
    """Commands that come together: each is accepted once, or told what is possible."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    for number in range(races):
        race = Race(desk, f"together{number}", chance)
        await race.submit()
        verbs = chance.choices(list(NOTED), k=AT_ONCE)
        taken = Counter(v for v in await asyncio.gather(*map(race.ask, verbs)) if v is not None)
        if (await race.job()).status is JobStatus.PAUSED:
            taken.update(v for v in [await race.ask("resume")] if v is not None)
        await desk.settle(race.job_id)
        job = await race.agree()
        rows = await desk.rows(f"SELECT alias FROM events WHERE job_id = '{race.job_id}'")
        stored = Counter(alias for (alias,) in rows)
        assert {verb: stored[NOTED[verb]] for verb in NOTED} == {v: taken[v] for v in NOTED}, verbs
        assert [said for said in race.refusals if not SAID.match(said)] == []
        ends[job.status.value] += 1
    return ends


async def test_commands_against_each_other(desk: Desk) -> None:
    assert sum((await _against_each_other(desk, 4)).values()) == 4


@pytest.mark.proof
@pytest.mark.timeout(900)
async def test_two_hundred_times_commands_against_each_other(desk: Desk) -> None:
    ends = await _against_each_other(desk, ALL)
    tell("times that commands raced against each other", dict(ends), N=ALL, at_once=AT_ONCE)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancel_against_the_end_of_a_job(desk: Desk, kind: str) -> None:
    assert sum((await _cancels(desk, SAMPLE, kind)).values()) == SAMPLE


async def test_a_pause_against_the_last_chunk(desk: Desk) -> None:
    assert sum((await _pauses(desk, SAMPLE)).values()) == SAMPLE


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
async def test_two_hundred_cancels_against_the_end_of_a_job(desk: Desk, kind: str) -> None:
    ends = await _cancels(desk, ALL, kind)
    tell("cancels raced against completion", dict(ends), N=ALL, kind=kind)
    assert len(ends) > 1, "no race was won, or none was lost"


@pytest.mark.proof
@pytest.mark.timeout(900)
async def test_two_hundred_pauses_against_the_last_chunk(desk: Desk) -> None:
    ends = await _pauses(desk, ALL)
    tell("pauses raced against the last chunk", dict(ends), N=ALL)
    assert len(ends) > 1, "no race was won, or none was lost"
