"""Drafts in the engine: what is worked is what stands at the seal, what was sent stays known."""

from __future__ import annotations

from typing import Any

import pytest

from domain.commands import Editing, JobSpec
from domain.errors import InvalidCommand, JobNotFound, WrongState
from domain.outcomes import ItemStatus
from streams.callers import Caller
from streams.items import Wanted
from streams.stores.audit.verify import verify
from tests.databases import database_url
from tests.engine.conftest import CALLER, Desk, lines

__all__ = ["database_url"]

THINGS = [{"name": name} for name in "abcd"]


async def _draft(desk: Desk, **options: Any) -> str:
    spec = JobSpec.model_validate({"operation": "stock.create", "options": options})
    draft = (await desk.engine.gateway.open(CALLER, spec, key=None)).job_id
    await desk.engine.gateway.append(CALLER, draft, 0, lines(THINGS[:2]))
    await desk.engine.gateway.append(CALLER, draft, 1, lines(THINGS[2:]))
    return draft


async def _edit(desk: Desk, draft: str, caller: Caller = CALLER, **wanted: Any) -> None:
    editing = Editing.model_validate(wanted)
    await desk.engine.gateway.edit(caller, draft, editing)


async def test_what_is_worked_is_what_stands_at_the_seal(desk: Desk) -> None:
    draft = await _draft(desk)
    await _edit(desk, draft, edits=[{"item": 1, "body": {"name": "B"}}], drop=[2], reason="sale")
    await _edit(desk, draft, edits=[{"item": 1, "body": {"name": "BB"}}])
    await desk.engine.gateway.seal(CALLER, draft, 4)
    job = await desk.settle(draft)
    assert (job.counts.succeeded, job.counts.skipped) == (3, 1)
    names = await desk.rows("SELECT name FROM stock ORDER BY id")
    assert names == [("a",), ("BB",), ("d",)]
    past = await desk.engine.queries.item_past("local", draft, 1)
    assert past.bodies == [{"name": "b"}, {"name": "B"}, {"name": "BB"}]
    found = desk.engine.queries.items("local", draft, Wanted(code="dropped"))
    (dropped,) = [view async for view in found]
    assert (dropped.position, dropped.status, dropped.item) == (
        2,
        ItemStatus.SKIPPED,
        {"name": "c"},
    )
    report = await desk.engine.database.aside(
        lambda: verify(desk.engine.database, None, job_id=draft)
    )
    assert report.sound, report.findings
    assert report.parts >= 4


async def test_keys_are_those_of_the_bodies_that_stand(desk: Desk) -> None:
    draft = await _draft(desk, key="/name")
    await _edit(desk, draft, edits=[{"item": 3, "body": {"name": "a"}}])
    with pytest.raises(InvalidCommand, match=r"3 \(as 0\)"):
        await desk.engine.gateway.seal(CALLER, draft, None)
    await _edit(desk, draft, drop=[0])
    await desk.engine.gateway.seal(CALLER, draft, None)
    assert (await desk.settle(draft)).counts.succeeded == 3
    found = desk.engine.queries.items("local", draft, Wanted(key="a"))
    assert [view.position async for view in found] == [3]


async def test_edits_that_cannot_be_change_nothing(desk: Desk) -> None:
    draft = await _draft(desk)
    with pytest.raises(InvalidCommand, match="has no item 4"):
        await _edit(desk, draft, drop=[0, 4])
    with pytest.raises(JobNotFound):
        await _edit(desk, draft, Caller("other", "eve"), drop=[0])
    assert (await desk.job(draft)).counts.pending == 4
    await desk.engine.gateway.seal(CALLER, draft, None)
    with pytest.raises(WrongState, match="edit is not possible"):
        await _edit(desk, draft, drop=[0])
