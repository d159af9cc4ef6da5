"""Undo chunks share messages and transactions, and keep the order of undo all the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from pydantic import Field, field_validator
from sqlalchemy import Connection, event

from domain.commands import UndoJob
from domain.events import ChunksPlanned, JobStatus
from domain.registry import Registry
from streams import topics
from streams.envelope import Outgoing, Work, decode_work
from streams.queries import Queries
from streams.stores import chunks as chunk_store
from streams.stores import migrate
from streams.stores.chunks import Claimed
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import Number, operations, stock

__all__ = ["database", "database_url"]

SMALL = {"chunk_size": 1}


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


async def worked(stages: Stages, operation: str, items: list[dict[str, int]]) -> str:
    """A job in chunks of one item, done."""
    job_id = await stages.submit(operation, items, options=SMALL)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    return job_id


async def additions(stages: Stages, count: int, times: int = 1) -> str:
    """A job that has added 1 to each of ``count`` things, ``times`` times, in small chunks."""
    await stages.submit("stock.create", [{"name": "x"}] * count)
    await stages.run_dry()
    items = [{"id": n, "amount": 1} for _ in range(times) for n in range(1, count + 1)]
    return await worked(stages, "stock.add", items)


async def total(stages: Stages) -> int:
    ((amount,),) = await stages.rows("SELECT sum(amount) FROM stock")
    return int(amount)


def work_of(outgoing: Outgoing) -> Work | None:
    return decode_work(outgoing.value) if outgoing.topic.startswith(topics.work("")) else None


async def work_of_undo(stages: Stages, job_id: str) -> Work:
    """Undo, up to the first work message, which is taken off the bus."""
    await stages.command(UndoJob, job_id)
    (sent,) = [message for message in stages.bus if work_of(message)]
    stages.bus.remove(sent)
    return decode_work(sent.value)


async def claim(stages: Stages, work: Work, *numbers: int, worker: str) -> list[Claimed]:
    """Claim some chunks of a message as another worker, which does nothing more."""
    some = tuple(one for one in work.chunks if one.chunk in numbers)
    return await stages.database.write(
        lambda connection: chunk_store.claim(
            connection,
            work.model_copy(update={"chunks": some}),
            worker=worker,
            now=stages.clock.now().timestamp(),
            lease=5.0,
        )
    )


async def settlings(stages: Stages, job_id: str) -> list[tuple[int | None, str]]:
    """The targets of the undo chunks in the order of their outcomes, and how each was closed."""
    rows = await stages.rows(
        "SELECT c.target, o.closing FROM chunks c JOIN outcomes o "
        "ON o.job_id = c.job_id AND o.chunk = c.chunk "
        f"WHERE c.job_id = '{job_id}' AND c.target IS NOT NULL ORDER BY o.sequence, o.chunk"
    )
    return [(target, closing) for target, closing in rows]


async def test_an_undo_takes_as_few_transactions_as_the_work_took(stages: Stages) -> None:
    """Small chunks are packed on the way back as well; the ceiling is generous."""
    commits: Counter[str] = Counter()
    way = "forward"

    def committed(_: Connection) -> None:
        commits[way] += 1

    event.listen(stages.database.engine, "commit", committed)
    job_id = await additions(stages, 300)
    way = "back"
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).counts.rolled_back == 300
    assert await total(stages) == 0
    assert commits["back"] < 60, "of 300 chunks"
    assert commits["back"] <= 3 * commits["forward"], commits


async def test_later_writes_to_a_record_are_undone_first(stages: Stages) -> None:
    """Each thing was written by three chunks, which share a pack of the undo."""
    job_id = await additions(stages, 10, times=3)
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert await settlings(stages, job_id) == [(n, "done") for n in reversed(range(30))]
    assert (await stages.job(job_id)).counts.rolled_back == 30
    assert await total(stages) == 0
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.COMPLETED
    assert await total(stages) == 30


async def test_a_chunk_that_cannot_be_undone_leaves_its_neighbours_alone(stages: Stages) -> None:
    job_id = await additions(stages, 20)
    kept = await stages.rows(f"SELECT images FROM outcomes WHERE job_id = '{job_id}' AND chunk = 7")
    await _set_images(stages, job_id, b"damaged")
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert (job.counts.rolled_back, job.counts.succeeded) == (19, 1)
    assert await total(stages) == 1
    await _set_images(stages, job_id, bytes(kept[0][0]))
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK
    assert await total(stages) == 0


async def _set_images(stages: Stages, job_id: str, images: bytes) -> None:
    outcomes = chunk_store.outcomes
    await stages.database.write(
        lambda connection: connection.execute(
            outcomes.update()
            .where(outcomes.c.job_id == job_id, outcomes.c.chunk == 7)
            .values(images=images)
        )
    )


async def test_an_inverse_that_fails_does_not_take_its_neighbours_with_it(stages: Stages) -> None:
    job_id = await worked(stages, "stock.send", [{"number": n} for n in range(20)])
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    job = await stages.job(job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert (job.counts.rolled_back, job.counts.succeeded) == (19, 1)


class Narrower(Number):
    """What a later release takes; its own code fails for one number."""

    number: int = Field(le=4)

    @field_validator("number")
    @classmethod
    def known(cls, number: int) -> int:
        if number == 2:
            raise KeyError(number)
        return number


async def test_an_item_that_can_no_longer_be_read_keeps_no_other_from_its_inverse(
    stages: Stages,
) -> None:
    items = [{"number": number} for number in (0, 1, 2, 4, 5)]
    job_id = await stages.submit("stock.send", items)
    await stages.run_dry()
    (wide,) = (each for each in operations if each.kind == "stock.send")
    narrow = Stages(stages.database, Registry([replace(wide, item=Narrower)]), ids=stages.ids)
    await narrow.command(UndoJob, job_id)
    await narrow.run_dry()
    job = await narrow.job(job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert (job.counts.rolled_back, job.counts.succeeded) == (3, 2)
    assert await said(narrow, job_id, 2) == (
        "handler_error",
        "the item's model fails (KeyError: 2); mend it, and undo again",
    )
    assert await said(narrow, job_id, 4) == (
        "invalid",
        "the item can no longer be read: Input should be less than or equal to 4",
    )
    await stages.command(UndoJob, job_id)
    await stages.run_dry()
    assert (await stages.job(job_id)).status is JobStatus.ROLLED_BACK


async def said(stages: Stages, job_id: str, position: int) -> tuple[str, str]:
    """What the last chunk that had an item says of it."""
    queries = Queries(stages.database, stages.jobs, stages.registry)
    *_, last = (await queries.item_past("local", job_id, position)).attempts
    return last.entry.code, last.entry.message


async def test_an_undo_chunk_is_not_claimed_before_its_turn(stages: Stages) -> None:
    job_id = await additions(stages, 4)
    work = await work_of_undo(stages, job_id)
    first, second, third, fourth = (chunk.chunk for chunk in work.chunks)
    assert await claim(stages, work, second, worker="early") == []
    assert await claim(stages, work, second, third, fourth, worker="early") == []
    assert [c.chunk for c in await claim(stages, work, first, third, worker="gap")] == [first]
    assert await claim(stages, work, first, second, worker="late") == [], "the first is at work"
    starts = await stages.rows(
        f"SELECT chunk, starts FROM chunks WHERE job_id = '{job_id}' AND chunk >= {first}"
    )
    assert sorted(starts) == [(first, 1), (second, 0), (third, 0), (fourth, 0)]
    await stages.mend()
    assert (await stages.job(job_id)).counts.rolled_back == 4
    assert [target for target, _ in await settlings(stages, job_id)] == [3, 2, 1, 0]


async def test_who_has_lost_one_undo_of_a_message_does_not_go_on_with_the_others(
    stages: Stages,
) -> None:
    job_id = await additions(stages, 3)
    work = await work_of_undo(stages, job_id)
    numbers = [chunk.chunk for chunk in work.chunks]
    claimed = await claim(stages, work, *numbers, worker="frozen")
    assert [chunk.chunk for chunk in claimed] == numbers
    chunks = chunk_store.chunks
    await stages.database.write(
        lambda connection: connection.execute(
            chunks.update()
            .where(chunks.c.job_id == job_id, chunks.c.chunk == numbers[1])
            .values(attempt=2)
        )
    )
    held = await stages.database.write(lambda connection: chunk_store.held(connection, claimed))
    assert [chunk.chunk for chunk in held] == numbers[:1]


async def test_the_parts_of_an_undo_that_kills_go_before_those_behind_it(stages: Stages) -> None:
    await stages.submit("stock.create", [{"name": "x"}] * 10)
    await stages.run_dry()
    items = [{"id": n, "amount": 1} for n in range(1, 11)]
    job_id = await stages.submit("stock.add", items, options={"chunk_size": 2})
    await stages.run_dry()
    work = await work_of_undo(stages, job_id)
    killer, *behind = (chunk.chunk for chunk in work.chunks)
    for death in range(3):
        assert await claim(stages, work, killer, *behind, worker=f"dies-{death}")
        stages.clock.pass_seconds(6)
    stages.bus += await stages.sweep.sweep()
    await stages.mend()
    assert (await stages.job(job_id)).counts.rolled_back == 10
    assert await total(stages) == 0
    assert await settlings(stages, job_id) == [
        *((target, "revoked") for target in range(4)),
        (4, "died"),
        *((target, "done") for target in (4, 4, 3, 2, 1, 0)),
    ]
    planned = [
        told
        for told in await stages.database.read(
            lambda _: list(stages.jobs.events.get(job_id))  # type: ignore[arg-type]
        )
        if isinstance(told, ChunksPlanned) and told.generation == 1
    ]
    assert [len(told.chunks) for told in planned] == [5, 1, 1, 4], "suspects alone, then a pack"
