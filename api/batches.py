"""Batches: jobs that come after one another, submitted as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from api import bodies, submissions
from api.edge import caller, edge
from api.models import checked, invalid
from api.parameters import Parameters
from api.requests import Batch, NewBatch
from api.submit import accepted, idempotency_key
from domain.commands import JobSpec
from domain.steps import BATCH
from streams.stores.decisions import Decision


@dataclass(frozen=True, slots=True)
class BatchSubmission:
    """A batch as a client describes it; of each step the items as NDJSON, None without any."""

    spec: JobSpec
    blocks: Sequence[Sequence[bytes] | None]


def from_body(text: bytes, depth: int) -> BatchSubmission:
    """``{name, tags, priority, steps: [{name, operation, items, params, after, ...}]}``.

    Raises RequestRefused that points to what is wrong.
    """
    body = bodies.parse(text)
    if not isinstance(body, dict) or not isinstance(body.get("steps"), list):
        raise invalid("a batch is an object with a list of steps", "/steps")
    blocks: list[Sequence[bytes] | None] = []
    steps: list[Any] = []
    for number, step in enumerate(body["steps"]):
        items = step.get("items") if isinstance(step, dict) else None
        pointer = f"/steps/{number}/items"
        blocks.append(None if items is None else submissions.item_blocks(items, depth, pointer))
        without = {key: step[key] for key in step if key != "items"} if items is not None else step
        steps.append(without)
    batch = checked(Batch, {**body, "steps": steps}, depth, whole=NewBatch)
    return BatchSubmission(JobSpec(operation=BATCH, **dict(batch)), blocks)


async def submit(request: web.Request) -> web.Response:
    """A batch; the answer is the job that stands for all of it."""
    # What was sent is let go of before anybody waits for the job.
    return await accepted(request, await _decided(request))


async def _decided(request: web.Request) -> Decision:
    own, who, key = edge(request), caller(request), idempotency_key(request)
    Parameters(request, ())
    read = partial(from_body, depth=own.limits.json_depth)
    async with bodies.taken(request, own.limits, own.limits.json_body, read) as wanted:
        lines = [None if each is None else submissions.streamed(each) for each in wanted.blocks]
        return await own.gateway.submit_batch(who, wanted.spec, lines, key=key)
