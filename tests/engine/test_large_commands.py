"""Large commands: what is more than a message holds is refused before anything is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from domain.commands import JobSpec
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.outcomes import Done, Result
from domain.record_filter import RecordSelection
from domain.registry import Registry
from domain.steps import BATCH, Step
from streams import topics
from streams.bootstrap import embedded
from streams.envelope import encode
from streams.saying import More
from streams.settings import Settings
from tests.engine.conftest import CALLER, Desk, lines
from tests.engine.stock import operations

VALUES = 1000


class Question(BaseModel):
    n: int


class Prompt(BaseModel):
    prompt: str = ""


@operation("test.ask", item=Question, params=Prompt)
def ask(_ctx: Context, _item: Question) -> Result:
    """Nothing."""
    return Done()


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    async with embedded(settings, Registry([*operations, ask])) as engine:
        yield Desk(engine)


async def _kept(desk: Desk, table: str) -> int:
    count: int = (await desk.rows(f"SELECT count(*) FROM {table}"))[0][0]
    return count


async def _is_empty(desk: Desk) -> bool:
    return await _kept(desk, "reservations") == await _kept(desk, "uploads") == 0


def _filtered(size: int) -> JobSpec:
    """A job by a filter, of that many bytes without its items."""
    values = [f"{number:05}" for number in range(VALUES)]
    where: dict[str, Any] = {"op": "in", "column": "name", "values": values}
    said = {"table": "stock", "where": where, "each": {"amount": 1}, "confirm": "none"}

    def spec() -> JobSpec:
        return JobSpec(operation="stock.add", select=RecordSelection.model_validate(said))

    each, more = divmod(size - len(encode(spec())), VALUES)
    where["values"] = [
        value + "x" * (each + (number < more)) for number, value in enumerate(values)
    ]
    return spec()


@pytest.mark.parametrize("size", [topics.MAX_SPEC_BYTES + 1, 1_500_000])
async def test_a_filter_that_no_message_holds_is_refused(desk: Desk, size: int) -> None:
    spec = _filtered(size)

    with pytest.raises(InvalidCommand, match=rf"{size} bytes, .* fewer values") as refusal:
        await desk.engine.gateway.submit_selected(CALLER, spec, key="k")

    assert refusal.value.pointer == "/select"
    assert await _is_empty(desk)


async def test_the_largest_filter_travels(desk: Desk) -> None:
    spec = _filtered(topics.MAX_SPEC_BYTES)
    assert len(encode(spec)) == topics.MAX_SPEC_BYTES

    decision = await desk.engine.gateway.submit_selected(CALLER, spec, key="k")

    assert (await desk.settle(decision.job_id)).status is JobStatus.COMPLETED


def _batch(steps: int, size: int) -> JobSpec:
    return JobSpec(
        operation=BATCH,
        steps=tuple(
            Step(name=f"s{number}", operation="test.ask", params={"prompt": "p" * size})
            for number in range(steps)
        ),
    )


async def _submit(desk: Desk, spec: JobSpec) -> str:
    sent = [lines([{"n": number}]) for number in range(len(spec.steps))]
    decision = await desk.engine.gateway.submit_batch(CALLER, spec, sent, key="k")
    return decision.job_id


async def test_steps_that_no_message_holds_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidCommand, match="store what is large") as refusal:
        await _submit(desk, _batch(100, 12_000))

    assert refusal.value.pointer == "/steps/78"
    assert await _is_empty(desk)


async def test_the_most_and_largest_steps_travel_with_their_items(desk: Desk) -> None:
    spec = _batch(100, 9_000)
    room = topics.MAX_SPEC_BYTES - len(encode(spec))
    spec = _batch(100, 9_000 + room // 100)
    assert topics.MAX_SPEC_BYTES - 100 < len(encode(spec)) <= topics.MAX_SPEC_BYTES

    job = await desk.settle(await _submit(desk, spec))

    assert job.status is JobStatus.COMPLETED


async def test_what_is_asked_of_a_job_and_no_message_holds_keeps_no_key(desk: Desk) -> None:
    """Numbers are written at length: a body within the bounds of the edge becomes a larger one."""
    job_id = await desk.submit("test.ask", [{"n": "none"}])
    await desk.settle(job_id)
    edits = [{"item": 0, "body": {"n": [1e15] * 60_000}}]
    more = More.model_validate({"retry": {"edits": edits}})

    with pytest.raises(InvalidCommand, match="ask it of fewer items"):
        await desk.engine.gateway.command(CALLER, job_id, "retry", "", key="k", more=more)

    assert await _kept(desk, "reservations") == 0
