"""Random batches with failures, lost messages and dying processes keep their promises.

What must become of each step follows from the graph alone, and is worked out here without the
engine. Then a part of the batch, or all of it, is undone under the same conditions.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.commands import UndoJob
from domain.dependencies import SUITABLE
from domain.errors import CommandRefused
from domain.events import JobStatus
from domain.options import Ending
from domain.registry import Registry
from domain.steps import behind, to_undo
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import shared_database
from tests.engine.batches import children, step, submit
from tests.engine.stages import Counter, Stages
from tests.engine.stock import operations, stock
from tests.proof.figures import tell

__all__ = ["shared_database"]

ITEMS = {"good": ["x"] * 4, "mixed": ["x", "!", "x", "!"], "bad": ["!"] * 2}
ENDS = {
    "good": JobStatus.COMPLETED,
    "mixed": JobStatus.COMPLETED_WITH_ERRORS,
    "bad": JobStatus.FAILED,
}
PATIENCE = 60
_batches = itertools.count(1)
_ids = itertools.count(1)


class OneCount(Counter):
    """Ids that all batches on one database share."""

    def new(self) -> str:
        return f"id-{next(_ids):06d}"


@dataclass(frozen=True)
class Drawn:
    """A step as it was drawn: what becomes of its items, and what it comes after."""

    does: str
    after: tuple[tuple[int, Ending], ...]
    savepoint: bool


@st.composite
def graphs(draw: st.DrawFn) -> list[Drawn]:
    """Steps, of which each comes after some that were drawn before it."""
    many = draw(st.integers(1, 7))
    return [
        Drawn(
            does=draw(st.sampled_from(("good", "good", "mixed", "bad"))),
            after=tuple(
                (before, draw(st.sampled_from(Ending)))
                for before in sorted(draw(st.sets(st.integers(0, number - 1), max_size=3)))
            )
            if number
            else (),
            savepoint=draw(st.booleans()),
        )
        for number in range(many)
    ]


def expected(graph: list[Drawn]) -> list[JobStatus]:
    """How each step must end."""
    ends: list[JobStatus] = []
    for each in graph:
        suits = all(ends[before] in SUITABLE[ending] for before, ending in each.after)
        ends.append(ENDS[each.does] if suits else JobStatus.CANCELLED)
    return ends


def _steps(graph: list[Drawn], chance: random.Random) -> list[Any]:
    made = [
        step(
            f"s{number}",
            *({"step": f"s{before}", "end": ending} for before, ending in each.after),
            items=[{"name": name} for name in ITEMS[each.does]],
            savepoint=f"p{number}" if each.savepoint else None,
            options={"chunk_size": chance.choice((1, 3, "auto"))},
        )
        for number, each in enumerate(graph)
    ]
    chance.shuffle(made)
    return made


async def _until_rest(stages: Stages, batch: str, chance: random.Random) -> None:
    """Deliver, lose, double and disorder messages, and kill processes, until the batch rests."""
    for _ in range(PATIENCE):
        while stages.bus:
            message = stages.bus.pop(chance.randrange(len(stages.bus)))
            what = chance.choices(("deliver", "double", "lose", "kill"), (12, 1, 2, 1))[0]
            if what == "kill":
                stages.restart()
            elif what == "double":
                stages.bus.append(message)
            if what in ("deliver", "double"):
                await stages.deliver(message)
        if (await stages.job(batch)).status.terminal:
            return
        stages.clock.pass_seconds(6)
        stages.bus += await stages.sweep.sweep()
    raise AssertionError(f"batch {batch} comes to no rest")


async def _places(stages: Stages, alias: str, job_ids: list[str], pick: str) -> dict[str, int]:
    """Where in the order of all commits the first or the last such event of each job stands."""
    named = ", ".join(f"'{job_id}'" for job_id in job_ids)
    rows = await stages.rows(
        f"SELECT job_id, {pick}(id) FROM events WHERE alias IN ({alias}) "
        f"AND job_id IN ({named}) GROUP BY job_id"
    )
    return {job_id: int(place) for job_id, place in rows}


ENDED = "'job.finished', 'job.skipped', 'job.stopped', 'job.cancelled'"


async def _check_forward(stages: Stages, batch: str, graph: list[Drawn]) -> None:
    jobs = await children(stages, batch)
    wanted = expected(graph)
    assert len(jobs) == len(graph)
    assert [jobs[f"s{n}"].status for n in range(len(graph))] == wanted
    ids = [job.id for job in jobs.values()]
    began = await _places(stages, "'job.chunks_planned', 'job.skipped'", ids, "min")
    ended = await _places(stages, ENDED, ids, "max")
    for number, each in enumerate(graph):
        job = jobs[f"s{number}"]
        assert job.counts.total == len(ITEMS[each.does]), "no item is lost"
        for before, _ in each.after:
            if job.status is not JobStatus.CANCELLED:
                assert ended[jobs[f"s{before}"].id] < began[job.id]
        if job.status is JobStatus.CANCELLED:
            assert job.counts.skipped == job.counts.total
            guilty = [b for b, e in each.after if wanted[b] not in SUITABLE[e]]
            assert any(f"job {jobs[f's{b}'].id}," in job.reason for b in guilty)
    whole = await stages.job(batch)
    for name in ("succeeded", "failed", "skipped", "pending"):
        total = sum(getattr(job.counts, name) for job in jobs.values())
        assert getattr(whole.counts, name) == total
    if all(end is JobStatus.COMPLETED for end in wanted):
        assert whole.status is JobStatus.COMPLETED
    elif whole.counts.succeeded:
        assert whole.status is JobStatus.COMPLETED_WITH_ERRORS
    else:
        assert whole.status is JobStatus.FAILED


async def _undo(stages: Stages, batch: str, graph: list[Drawn], chance: random.Random) -> bool:
    """Undo all, behind a savepoint, or a branch; returns whether there was anything to undo."""
    number = chance.randrange(len(graph))
    savepoints = [n for n, each in enumerate(graph) if each.savepoint]
    to = f"p{chance.choice(savepoints)}" if savepoints and chance.random() < 0.4 else None
    branch = f"s{number}" if to is None and chance.random() < 0.5 else None
    steps = (await stages.job(batch)).spec.steps
    before = {name: job.counts.succeeded for name, job in (await children(stages, batch)).items()}
    chosen = {steps[n].name for n in to_undo(steps, to or "", branch or "")}
    asked = await stages.command(UndoJob, batch, batch={"to": to, "branch": branch})
    if not any(before[name] for name in chosen):
        with pytest.raises(CommandRefused, match="nothing to undo"):
            asked.accepted()
        return False
    asked.accepted()
    await _until_rest(stages, batch, chance)
    jobs = await children(stages, batch)
    for name, job in jobs.items():
        back = before[name] if name in chosen else 0
        assert (job.counts.rolled_back, job.counts.succeeded) == (back, before[name] - back)
    ids = [job.id for job in jobs.values()]
    began = await _places(stages, "'job.undo_started'", ids, "min")
    ended = await _places(stages, ENDED, ids, "max")
    for at, each in enumerate(steps):
        for other in behind(steps, [at]):
            first, second = jobs[steps[other].name].id, jobs[each.name].id
            if first in began and second in began:
                assert ended[first] < began[second], "what comes later is put back before"
    left = sum(job.counts.succeeded for job in jobs.values())
    status = JobStatus.ROLLBACK_INCOMPLETE if left else JobStatus.ROLLED_BACK
    assert (await stages.job(batch)).status is status
    return True


async def _play(database: Database, graph: list[Drawn], seed: int, *, shared: bool) -> None:
    chance = random.Random(seed)
    stages = Stages(database, Registry(operations), ids=OneCount(), shared=shared)
    stages.clock.pass_seconds(1e5 * next(_batches))
    batch = await submit(stages, *_steps(graph, chance))
    await _until_rest(stages, batch, chance)
    await _check_forward(stages, batch, graph)
    await _undo(stages, batch, graph, chance)
    for table in ("waits", "children WHERE moved"):
        assert await stages.rows(f"SELECT 1 FROM {table}") == []


def _played(database: Database, examples: int) -> int:
    migrate.create_missing(database, [stock])
    played = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        # To make a failing batch smaller takes minutes; it is small already.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(graph=graphs(), seed=st.integers(0, 2**32), shared=st.booleans())
    def play(graph: list[Drawn], seed: int, shared: bool) -> None:
        nonlocal played
        asyncio.run(_play(database, graph, seed, shared=shared))
        played += 1

    play()
    return played


def test_random_batches_keep_their_promises(shared_database: Database) -> None:
    assert _played(shared_database, 12) >= 12


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_many_random_batches_keep_their_promises(shared_database: Database) -> None:
    played = _played(shared_database, 500)
    assert played >= 500
    dialect = shared_database.read_now(lambda found: found.dialect.name)
    tell("random batches", played, database=dialect)
