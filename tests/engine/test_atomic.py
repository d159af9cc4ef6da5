"""Atomic jobs: all of a job takes effect, or nothing of it, whoever looks and whatever fails."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Connection

from domain.commands import (
    AppendItems,
    CancelJob,
    InlineItems,
    JobSpec,
    OpenJob,
    PauseJob,
    ResumeJob,
    RetryJob,
    SealJob,
    Selection,
    UndoJob,
    UploadedItems,
)
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.operation import Context, operation
from domain.options import MAX_ATOMIC_BYTES, MAX_ATOMIC_ITEMS, JobOptions, Limit
from domain.outcomes import Done, ItemStatus, Result
from domain.records import Change, Deletion, Writer
from domain.registry import Registry
from streams.deciding import check_whole
from streams.envelope import decode_work
from streams.queries import ItemView, Queries
from streams.stores import migrate
from streams.stores.chunks import Claimed
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from streams.worker import AT_ONCE_ITEMS
from tests.databases import database, database_url
from tests.engine.conftest import Desk, desk, settings
from tests.engine.shelf import operations as shelf_operations
from tests.engine.shelf import shelves
from tests.engine.stages import Stages
from tests.engine.stock import Number, operations, stock
from tests.proof.figures import tell

__all__ = ["database", "database_url", "desk", "settings"]

ATOMIC: Mapping[str, Any] = {"atomic": True, "chunk_size": 4}
HERE = Writer(tenant="local", actor="somebody")


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def things(count: int, *, bad: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    return [{"name": "!" if n in bad else f"t{n}", "amount": 1} for n in range(count)]


def additions(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "amount": 10} for n in range(1, count + 1)]


async def stocked(stages: Stages, count: int) -> None:
    await stages.submit("stock.create", things(count))
    await stages.run_dry()


async def digest(rows: Callable[[str], Awaitable[list[tuple[Any, ...]]]]) -> str:
    found = [await rows(f"SELECT * FROM {name}") for name in ("stock", "history")]
    return hashlib.sha256(repr([sorted(some) for some in found]).encode()).hexdigest()


async def views(stages: Stages, job_id: str) -> list[ItemView]:
    queries = Queries(stages.database, stages.jobs, stages.registry)
    return [view async for view in queries.items("local", job_id)]


async def write(stages: Stages, work: Callable[[SqlRecords], object]) -> None:
    """Somebody writes by hand."""

    def records(connection: Connection) -> None:
        work(SqlRecords(connection, HERE, 0.0))

    await stages.database.write(records)


async def until_prepared(stages: Stages, job_id: str) -> None:
    """Deliver until the commit is what comes next."""
    while "job.prepared" not in await stages.kinds(job_id):
        await stages.deliver(stages.bus.pop(0))


# -- all ---------------------------------------------------------------------------------


async def test_all_items_take_effect_in_one_chunk_that_is_undone_in_one(stages: Stages) -> None:
    await stocked(stages, 10)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(10,)]
    job = await stages.job(job_id)
    assert (job.counts.pending, job.status) == (10, JobStatus.RUNNING)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 10)
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(110,)]
    assert [effect.items for effect in job.applied] == [10]
    assert await stages.rows("SELECT * FROM plan_targets") == []
    assert [view.result for view in await views(stages, job_id)] == [{"version": 2}] * 10

    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(10,)]
    rows = await stages.rows(f"SELECT cause FROM chunks WHERE job_id = '{job_id}' ORDER BY chunk")
    assert [cause for (cause,) in rows] == ["apply"] * 3 + ["commit", "rollback"]


async def test_ids_that_are_told_are_those_of_the_records(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", things(9), options=ATOMIC)
    await stages.run_dry()
    told = {view.result["id"]: f"t{view.position}" for view in await views(stages, job_id)}
    assert told == dict(await stages.rows("SELECT id, name FROM stock"))


async def test_items_that_are_skipped_are_so_at_the_commit(stages: Stages) -> None:
    await stocked(stages, 3)
    job_id = await stages.submit("stock.remove", additions(6), options=ATOMIC)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded, job.counts.skipped) == (JobStatus.COMPLETED, 3, 3)


async def test_items_of_a_job_that_meet_in_a_record_are_worked_in_their_order(
    stages: Stages,
) -> None:
    await stocked(stages, 2)
    items = [{"id": 1 + n % 2, "amount": n} for n in range(12)]
    job_id = await stages.submit("stock.add", items, options=ATOMIC)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(2 + sum(range(12)),)]


@pytest.mark.parametrize("items", [3, AT_ONCE_ITEMS + 1])
async def test_a_commit_has_more_time_than_a_chunk_however_few_it_commits(
    database: Database, items: int
) -> None:
    pauses: list[float] = []

    @operation("stock.tardy", item=Number, tables=[stock], timeout=2.0)
    def tardy(ctx: Context, item: Number) -> Result:
        time.sleep(pauses.pop() if pauses else 0.0)
        ctx.store.insert(stock, ["name", "amount"], [("n", item.number)], [ctx.position])
        return Done()

    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry([tardy]))
    numbers = [{"number": n} for n in range(items)]
    job_id = await stages.submit("stock.tardy", numbers, options={**ATOMIC, "chunk_size": 50})
    await until_prepared(stages, job_id)
    pauses += [1.2, 1.2]
    await stages.run_dry()
    assert stages.hung == []
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await stages.rows("SELECT count(*) FROM stock") == [(items,)]


async def test_a_draft_is_committed_when_it_is_sealed(stages: Stages) -> None:
    spec = JobSpec(
        operation="stock.create", options=JobOptions.model_validate({**ATOMIC, "start": "eager"})
    )
    await stages.command(OpenJob, "draft", spec=spec)
    for part in range(2):
        source = InlineItems(items=tuple(things(6)))
        await stages.command(AppendItems, "draft", part=part, source=source)
        await stages.run_dry()
    assert await stages.rows("SELECT * FROM stock") == []
    assert (await stages.job("draft")).status is JobStatus.RUNNING
    await stages.command(SealJob, "draft")
    await stages.run_dry()
    assert (await stages.job("draft")).counts.succeeded == 12


# -- or nothing ----------------------------------------------------------------------------


async def test_an_item_that_fails_while_it_is_prepared_leaves_all_as_it_was(
    stages: Stages,
) -> None:
    before = await digest(stages.rows)
    job_id = await stages.submit("stock.create", things(12, bad=(5, 11)), options=ATOMIC)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed, job.counts.skipped) == (JobStatus.FAILED, 2, 10)
    assert job.reason == "atomic: an item failed, so none takes effect"
    assert await digest(stages.rows) == before
    statuses = [view.status.value for view in await views(stages, job_id)]
    assert statuses == ["failed" if n in (5, 11) else "skipped" for n in range(12)]


async def test_a_limit_ends_it_before_all_is_prepared(stages: Stages) -> None:
    options = {**ATOMIC, "stop_on_error": True}
    job_id = await stages.submit("stock.create", things(40, bad=(1,)), options=options)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed, job.counts.skipped) == (JobStatus.FAILED, 1, 39)
    assert job.limit == Limit(failed=0)
    assert "atomic" not in job.reason
    assert await stages.rows("SELECT * FROM stock") == []


@pytest.mark.parametrize("gone", [False, True])
async def test_a_record_that_changed_after_it_was_prepared_is_named(
    stages: Stages, gone: bool
) -> None:
    await stocked(stages, 10)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    if gone:
        await write(stages, lambda records: records.delete(stock, [Deletion(7)]))
    else:
        await write(stages, lambda records: records.update(stock, [Change(7, {"amount": 5})]))
    before = await digest(stages.rows)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed, job.counts.skipped) == (JobStatus.FAILED, 1, 9)
    (failed,) = [v for v in await views(stages, job_id) if v.status is ItemStatus.FAILED]
    assert failed.position == 6
    assert failed.error is not None
    assert failed.error.code == "changed_since_prepared"
    assert "stock/7 was changed by somebody after the job had prepared it at version 1" in (
        failed.error.message
    )
    assert await digest(stages.rows) == before


async def test_what_only_the_commit_finds_out_takes_everything_back(database: Database) -> None:
    """Chunks do not see one another's changes while they are prepared."""
    migrate.create_missing(database, [shelves])
    stages = Stages(database, Registry(shelf_operations))
    items = [{"name": name} for name in ("a", "b", "c", "d", "e", "b")]
    job_id = await stages.submit("shelf.create_shelves", items, options=ATOMIC)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed, job.counts.skipped) == (JobStatus.FAILED, 1, 5)
    assert "job.prepared" in await stages.kinds(job_id)
    (failed,) = [v for v in await views(stages, job_id) if v.status is ItemStatus.FAILED]
    assert failed.position == 5
    for table in ("shelves", "history"):
        assert await stages.rows(f"SELECT * FROM {table}") == []


async def test_it_is_tried_again_as_a_whole(stages: Stages) -> None:
    await stocked(stages, 10)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    await write(stages, lambda records: records.update(stock, [Change(7, {"amount": 5})]))
    await stages.run_dry()
    refused = await stages.command(RetryJob, job_id, select=Selection(items=(6,)))
    assert refused.problem is not None
    assert refused.problem["pointer"] == "/items"
    await stages.command(RetryJob, job_id)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.COMPLETED, 10)
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(114,)]


async def test_paused_before_its_commit_it_commits_when_it_is_resumed(stages: Stages) -> None:
    await stocked(stages, 10)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    await stages.command(PauseJob, job_id)
    await stages.run_dry()
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(10,)]
    await stages.command(ResumeJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.succeeded == 10


async def test_cancelled_before_its_commit_nothing_has_happened(stages: Stages) -> None:
    await stocked(stages, 10)
    before = await digest(stages.rows)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    await stages.command(CancelJob, job_id, roll_back=True)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert (job.status, job.counts.skipped) == (JobStatus.CANCELLED, 10)
    assert await digest(stages.rows) == before


async def test_a_commit_that_kills_its_workers_is_not_done_in_halves(stages: Stages) -> None:
    await stocked(stages, 10)
    job_id = await stages.submit("stock.add", additions(10), options=ATOMIC)
    await until_prepared(stages, job_id)
    for _ in range(3):
        # A worker begins, and is never heard of again.
        works = [o for o in stages.bus if o.topic.startswith("countermand.work.")]
        stages.bus.clear()
        claimed: list[Claimed] = []
        for work in map(decode_work, (out.value for out in works)):
            _, some = await stages.database.write(
                lambda connection, work=work: stages.worker._claim(work, connection)  # type: ignore[misc]
            )
            claimed += some
        assert [chunk.cause.value for chunk in claimed] == ["commit"]
        stages.clock.pass_seconds(6)
        stages.restart()
        stages.bus += await stages.sweep.sweep()
    await stages.mend()
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 10)
    (told,) = {view.error for view in await views(stages, job_id) if view.error}
    assert (told.code, told.message) == (
        "worker_died",
        "the worker died 3 times while it committed the job; its log says of what: mend that, then "
        "retry",
    )
    assert await stages.rows("SELECT sum(amount) FROM stock") == [(10,)]


# -- refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["stock.wait", "stock.send", "stock.square"])
async def test_operations_that_do_more_than_write_records_are_refused(
    stages: Stages, operation: str
) -> None:
    job_id = await stages.submit(operation, [{"number": 1}], options={"atomic": True})
    problem = stages.decisions[f"{job_id}.submit"].problem
    assert problem is not None
    assert problem["pointer"] == "/options/atomic"
    assert "on_error roll_back" in problem["message"]


@pytest.mark.parametrize(("items", "size"), [(MAX_ATOMIC_ITEMS + 1, 0), (1, MAX_ATOMIC_BYTES + 1)])
def test_more_than_a_transaction_may_hold_is_refused(items: int, size: int) -> None:
    spec = JobSpec(operation="stock.create", options=JobOptions(atomic=True))
    check_whole(spec, MAX_ATOMIC_ITEMS, MAX_ATOMIC_BYTES)
    check_whole(JobSpec(operation="stock.create"), items, size)
    with pytest.raises(InvalidCommand, match="submit several, or use on_error") as refused:
        check_whole(spec, items, size)
    assert refused.value.pointer == "/items"


async def test_a_draft_that_grows_beyond_it_is_refused_the_part(stages: Stages) -> None:
    spec = JobSpec(operation="stock.create", options=JobOptions(atomic=True))
    await stages.command(OpenJob, "draft", spec=spec)
    source = UploadedItems(upload_id="u", items=MAX_ATOMIC_ITEMS + 1, size=10, sha256="0" * 64)
    refused = await stages.command(AppendItems, "draft", part=0, source=source)
    assert refused.problem is not None
    assert refused.problem["pointer"] == "/items"


# -- a large one, and who looks --------------------------------------------------------------

MANY = 10_000


async def seen_by_readers(desk: Desk, job_id: str, sql: str) -> Counter[tuple[Any, ...]]:
    """What two readers see again and again until the job is at rest, and how often."""
    seen: Counter[tuple[Any, ...]] = Counter()
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            seen.update(await desk.rows(sql))
            # As others do: whoever looks without a pause takes the processor from the job.
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as readers:
        readers.create_task(look())
        readers.create_task(look())
        try:
            await desk.settle(job_id, seconds=120)
        finally:
            done.set()
    return seen


def _dialect(desk: Desk) -> str:
    return desk.engine.database.read_now(lambda found: found.dialect.name)


async def test_readers_see_nothing_or_all_of_a_large_job(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", things(MANY)), seconds=60)
    items = [{"id": n, "amount": 11} for n in range(1, MANY + 1)]
    job_id = await desk.submit("stock.put", items, options={"atomic": True})
    seen = await seen_by_readers(desk, job_id, "SELECT count(*), sum(amount) FROM stock")
    assert (await desk.job(job_id)).status is JobStatus.COMPLETED
    none, whole = (MANY, MANY), (MANY, 11 * MANY)
    terms = {"database": _dialect(desk), "N": MANY}
    tell("looks that saw none of it", seen[none], **terms)
    tell("looks that saw all of it", seen[whole], **terms)
    tell("looks that saw a part of it", seen.total() - seen[none] - seen[whole], **terms)
    assert seen.keys() <= {none, whole}
    assert none in seen
    assert await desk.rows("SELECT sum(amount) FROM stock") == [(11 * MANY,)]


async def test_a_failure_at_the_end_of_a_large_job_leaves_all_as_it_was(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", things(MANY)), seconds=60)
    before = await digest(desk.rows)
    items = [{"id": n, "amount": 11} for n in range(1, MANY + 1)]
    items[9500]["id"] = MANY + 1
    job_id = await desk.submit("stock.put", items, options={"atomic": True})
    seen = await seen_by_readers(desk, job_id, "SELECT count(*), sum(amount) FROM stock")
    job = await desk.job(job_id)
    assert (job.status, job.counts.failed, job.counts.skipped) == (JobStatus.FAILED, 1, MANY - 1)
    after, none = await digest(desk.rows), (MANY, MANY)
    terms = {"database": _dialect(desk), "N": MANY, "failed_at": 9500}
    tell("looks during a failing job that saw what was before", seen[none], **terms)
    tell("looks during a failing job that saw anything else", seen.total() - seen[none], **terms)
    tell("the hash of records and history is as before", after == before, **terms)
    assert seen.keys() == {none}
    assert after == before
