"""A refused command has changed nothing, and says so to those who look later."""

from __future__ import annotations

import pytest

from domain.commands import (
    AppendItems,
    InlineItems,
    JobSpec,
    OpenJob,
    SealJob,
    SubmitJob,
    UploadedItems,
)
from domain.registry import Registry
from streams import topics
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.decisions import Decision
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

ABSENT = UploadedItems(upload_id="absent", items=3, size=30, sha256="0" * 64)


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def decide(stages: Stages, kind: type, command_id: str, **fields: object) -> Decision:
    command = kind(command_id=command_id, job_id="job", tenant="local", actor="tester", **fields)
    stages.bus += await stages.coordinator.handle(command)
    return stages.decisions[command_id]


async def test_a_submit_without_its_upload_makes_no_job(stages: Stages) -> None:
    spec = JobSpec(operation="stock.create")
    refused = await decide(stages, SubmitJob, "submit", spec=spec, source=ABSENT)
    assert refused.problem is not None
    assert refused.version == 0
    assert await stages.rows("SELECT count(*) FROM events") == [(0,)]
    assert [sent.topic for sent in stages.bus] == [topics.OUTCOMES], "the answer alone"


async def test_a_part_without_its_upload_is_not_appended(stages: Stages) -> None:
    await decide(stages, OpenJob, "open", spec=JobSpec(operation="stock.create"))
    refused = await decide(stages, AppendItems, "append", part=0, source=ABSENT)
    assert refused.problem is not None
    assert (await stages.job("job")).counts.total == 0


async def test_a_part_said_again_with_other_items_is_refused(stages: Stages) -> None:
    await decide(stages, OpenJob, "open", spec=JobSpec(operation="stock.create"))
    first, other = (InlineItems(items=({"name": name},)) for name in ("first", "other"))
    assert (await decide(stages, AppendItems, "one", part=7, source=first)).problem is None
    assert (await decide(stages, AppendItems, "again", part=7, source=first)).problem is None
    refused = await decide(stages, AppendItems, "other", part=7, source=other)
    assert refused.problem is not None
    assert refused.problem["code"] == "idempotency_conflict"
    await decide(stages, SealJob, "seal", items=1)
    await stages.mend()
    assert await stages.rows("SELECT name FROM stock") == [("first",)]
    refused = await decide(stages, AppendItems, "late", part=7, source=other)
    assert refused.problem is not None
    assert (await decide(stages, AppendItems, "late again", part=7, source=first)).problem is None


async def test_a_job_id_said_again_for_another_job_is_refused(stages: Stages) -> None:
    spec, other = (JobSpec(operation="stock.create", name=name) for name in ("this", "that"))
    items, more = (InlineItems(items=({"name": "x"},) * count) for count in (2, 3))
    assert (await decide(stages, SubmitJob, "one", spec=spec, source=items)).problem is None
    assert (await decide(stages, SubmitJob, "again", spec=spec, source=items)).problem is None
    for kind, command_id, fields in (
        (SubmitJob, "items", {"spec": spec, "source": more}),
        (SubmitJob, "name", {"spec": other, "source": items}),
        (OpenJob, "draft", {"spec": spec}),
    ):
        refused = await decide(stages, kind, command_id, **fields)
        assert refused.problem is not None, command_id
        assert refused.problem["code"] == "idempotency_conflict"
    assert await stages.rows("SELECT job_id, items FROM uploads") == [("job", 2)], "a copy is left"
    await stages.mend()
    assert await stages.rows("SELECT count(*) FROM stock") == [(2,)]


async def test_a_draft_opened_again_is_the_same(stages: Stages) -> None:
    spec = JobSpec(operation="stock.create")
    items = InlineItems(items=({"name": "x"},))
    assert (await decide(stages, OpenJob, "one", spec=spec)).problem is None
    assert (await decide(stages, OpenJob, "again", spec=spec)).problem is None
    await decide(stages, AppendItems, "part", part=0, source=items)
    assert (await decide(stages, OpenJob, "late", spec=spec)).problem is None
    assert (await decide(stages, SubmitJob, "whole", spec=spec, source=items)).problem is not None
