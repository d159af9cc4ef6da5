"""A job with more failures than it tolerates stops at once, and what was left can be worked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.commands import ResumeJob, RetryJob, Selection, SubmitJob
from domain.errors import InvalidCommand, WrongState
from domain.events import JobStatus
from domain.ranges import Ranges
from domain.registry import Registry
from streams import topics
from streams.queries import Queries
from streams.stores import audit, migrate, payloads
from streams.stores.database import Database
from streams.stores.edits import BodyReader
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]


@pytest.fixture
def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def _things(count: int, *bad: int) -> list[dict[str, Any]]:
    return [{"name": "!" if n in bad else f"thing {n}"} for n in range(count)]


async def _retry(stages: Stages, job_id: str, **select: Any) -> None:
    """Ask for a retry; raises the refusal."""
    command = RetryJob(
        command_id=stages.ids.new(),
        job_id=job_id,
        tenant="local",
        actor="tester",
        select=Selection.model_validate(select),
    )
    stages.bus += await stages.coordinator.handle(command)
    stages.decisions[command.command_id].accepted()


def _damage(stages: Stages, job_id: str) -> list[str]:
    report = audit.verify(stages.database, None, job_id=job_id)
    return [finding.message for finding in report.findings]


async def _stock(stages: Stages) -> int:
    ((count,),) = await stages.rows("SELECT count(*) FROM stock")
    return int(count)


async def test_what_is_in_flight_is_revoked_and_has_no_effect(stages: Stages) -> None:
    options = {"chunk_size": 10, "stop_on_error": True}
    job_id = await stages.submit("stock.create", _things(400, 3), options=options)
    works = [message for message in stages.bus if message.topic != topics.OUTCOMES]
    stages.bus.clear()
    assert len(works) > 1, "several messages are in flight"
    first, *late = works
    stages.bus.append(first)
    await stages.run_dry()

    job = await stages.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.reason == "limit: an item failed"
    done = await _stock(stages)
    assert (job.counts.succeeded, job.counts.failed) == (done, 1)
    assert job.counts.skipped == 400 - done - 1
    for message in late:
        await stages.deliver(message)
    await stages.run_dry()
    assert await _stock(stages) == done, "nothing takes effect afterwards"
    assert await stages.rows("SELECT count(*) FROM chunks WHERE open") == [(0,)]


async def test_a_limit_that_pauses(stages: Stages) -> None:
    options = {"chunk_size": 10, "tolerate": [{"failed": 1, "codes": ["refused"], "then": "pause"}]}
    job_id = await stages.submit("stock.create", _things(1000, 3, 4), options=options)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.PAUSED, 2)
    assert job.reason == "limit: more than 1 items failed with refused"
    await stages.command(ResumeJob, job_id)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED_WITH_ERRORS, 998)


async def test_the_unattempted_are_worked_when_they_are_named(stages: Stages) -> None:
    options = {"chunk_size": 10, "tolerate": [{"failed": 1}]}
    job_id = await stages.submit("stock.create", _things(1000, 3, 4), options=options)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.FAILED
    left = job.counts.skipped
    assert left > 0

    await _retry(stages, job_id, unattempted=True)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED_WITH_ERRORS, 998)
    assert await _stock(stages) == 998
    assert job.dropped == Ranges()


async def test_the_failed_are_chosen_by_code_by_signature_or_by_name(stages: Stages) -> None:
    items: list[Any] = [{"id": n, "amount": 1} for n in range(1, 9)]
    items[2] = {"id": 1, "amount": "much"}
    items[5] = {"id": 1}
    job_id = await stages.submit("stock.add", items, options={"chunk_size": 3})
    await stages.run_dry()
    await stages.submit("stock.create", [{"name": "x"}] * 8)
    await stages.run_dry()

    with pytest.raises(WrongState, match="that have failed are invalid, missing"):
        await _retry(stages, job_id, codes=["mising"])
    with pytest.raises(WrongState, match="no such failed item"):
        await _retry(stages, job_id, codes=["invalid"], signatures=["there is no thing …"])
    with pytest.raises(InvalidCommand, match="four ways"):
        await _retry(stages, job_id, codes=["invalid"], items=[2])
    with pytest.raises(InvalidCommand, match="codes names nothing"):
        await _retry(stages, job_id, codes=[])

    await _retry(stages, job_id, items=[0, 7])
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == 2
    with pytest.raises(WrongState, match="item 7 has neither failed"):
        await _retry(stages, job_id, items=[1, 7])

    await _retry(stages, job_id, signatures=["Field required"])
    await stages.run_dry()
    before = await stages.rows("SELECT max(chunk) FROM chunks")
    assert (await stages.job(job_id)).counts.failed == 6

    await _retry(stages, job_id, codes=["missing"], signatures=["there is no thing …"])
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (6, 2)
    worked = await stages.rows(f"SELECT items FROM chunks WHERE chunk > {before[0][0]}")
    assert sum(len(Ranges.from_spans(orjson.loads(text))) for (text,) in worked) == 4


# -- edited ------------------------------------------------------------------------------


async def test_a_group_is_patched_and_worked_again_and_the_old_bodies_stay(stages: Stages) -> None:
    things = [{"name": "!" if n % 50 == 7 else "x", "amount": n} for n in range(200)]
    job_id = await stages.submit("stock.create", things, options={"chunk_size": 30})
    await stages.run_dry()
    bad = {7, 57, 107, 157}
    await _retry(stages, job_id, codes=["refused"], patch={"name": "!still"})
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.failed == 4

    await _retry(stages, job_id, codes=["refused"], patch={"name": "good", "amount": None})
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.edits) == (JobStatus.COMPLETED, 2)
    assert await stages.rows("SELECT amount FROM stock WHERE name = 'good'") == [(0,)] * 4

    queries = Queries(stages.database, stages.jobs, stages.registry)
    views = [view async for view in queries.items("local", job_id)]
    assert [v.item for v in views if v.position in bad] == [{"name": "good"}] * 4
    assert [v.item for v in views if v.position not in bad] == [
        thing for n, thing in enumerate(things) if n not in bad
    ]
    past = await queries.item_past("local", job_id, 57)
    assert past.bodies == [
        {"name": "!", "amount": 57},
        {"name": "!still", "amount": 57},
        {"name": "good"},
    ]
    assert (await queries.item_past("local", job_id, 58)).bodies == [{"name": "x", "amount": 58}]


async def test_items_get_bodies_of_their_own(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", _things(6, 1, 4))
    await stages.run_dry()
    with pytest.raises(WrongState, match="item 0 has neither"):
        await _retry(stages, job_id, edits=[{"item": 0, "body": {"name": "y"}}])
    assert await stages.rows("SELECT count(*) FROM uploads") == [(1,)], "nothing was stored"
    for wrong in (
        {"edits": [{"item": 1, "body": 1}, {"item": 1, "body": 2}]},
        {"edits": [{"item": 1, "body": 1}], "patch": {}},
        {"edits": [{"item": 1, "body": 1}], "codes": ["refused"]},
    ):
        with pytest.raises(InvalidCommand):
            await _retry(stages, job_id, **wrong)

    await _retry(stages, job_id, edits=[{"item": 4, "body": {"name": "four"}}])
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (5, 1)
    assert await stages.rows("SELECT count(*) FROM stock WHERE name = 'four'") == [(1,)]


async def test_an_edited_body_that_is_changed_afterwards_is_found(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", _things(6, 1))
    await stages.run_dry()
    await _retry(stages, job_id, patch={"name": "one"})
    await stages.run_dry()
    assert _damage(stages, job_id) == []
    await stages.database.write(
        lambda c: c.exec_driver_sql(
            "UPDATE uploads SET sha256 = 'changed' WHERE first_item > 1000000000"
        )
    )
    (fault,) = _damage(stages, job_id)
    assert "the upload is not the one that the event names" in fault


async def test_a_patch_leaves_numbers_as_long_as_they_are(stages: Stages) -> None:
    """They have come in a file: in a command they are refused."""
    line = b'{"name":"!","hash":340282366920938463463374607431768211455,"low":-9223372036854775809}'
    cutter = payloads.PartCutter()
    parts = [*cutter.feed(line + b"\n"), *cutter.finish()]
    upload, whole = cutter.upload("file"), payloads.store_whole
    await stages.database.write(lambda c: whole(c, upload, "local", 0.0, parts))
    job_id = stages.ids.new()
    spec = {"operation": "stock.create"}
    (await stages.command(SubmitJob, job_id, spec=spec, source=upload)).accepted()
    await stages.run_dry()
    await _retry(stages, job_id, patch={"name": "better"})
    (body,) = await stages.database.read(lambda c: [*BodyReader().each(c, job_id, Ranges.of([0]))])
    assert body == line.replace(b"!", b"better")
