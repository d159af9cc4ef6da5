"""Batches for tests: steps in few words, and what became of them."""

from __future__ import annotations

from typing import Any

from domain.commands import InlineItems, SentStep, SubmitBatch
from domain.job import Job
from tests.engine.stages import Stages

GOOD = ({"name": "x"},) * 3
BAD = ({"name": "!"},) * 3


def step(name: str, *after: Any, items: Any = GOOD, **fields: Any) -> SentStep:
    """A step that makes things; ``items`` None when it has them from another step."""
    source = None if items is None else InlineItems(items=tuple(items))
    said = {"operation": "stock.create", "name": name, "after": after, **fields}
    return SentStep.model_validate(said | {"source": source})


async def submit(stages: Stages, *steps: SentStep, job_id: str = "", **fields: Any) -> str:
    """A batch; raises the refusal."""
    job_id = job_id or stages.ids.new()
    who = {"tenant": "local", "actor": "tester"} | fields
    command = SubmitBatch(command_id=f"{job_id}.submit", job_id=job_id, steps=steps, **who)
    stages.bus += await stages.coordinator.handle(command)
    stages.decisions[command.command_id].accepted()
    return job_id


async def children(stages: Stages, batch: str) -> dict[str, Job]:
    """The jobs of a batch, by the names of their steps."""
    job = await stages.job(batch)
    return {
        each.name: await stages.job(child.job_id)
        for each, child in zip(job.spec.steps, job.children, strict=True)
    }


async def statuses(stages: Stages, batch: str) -> dict[str, str]:
    """How the steps are."""
    return {name: job.status.value for name, job in (await children(stages, batch)).items()}
