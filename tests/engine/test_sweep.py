"""What the sweep cannot do anything about keeps it from nothing that it can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from domain.commands import PauseJob, UndoJob
from domain.events import JobStatus
from domain.options import JobOptions
from domain.planning import MAX_STARTS
from domain.registry import Registry
from streams import sweep, topics
from streams.envelope import Outgoing, decode_work
from streams.stores import migrate
from streams.stores.database import Database
from streams.stores.overdue import FOUND_AT_ONCE
from streams.stores.schema import chunks, outcomes
from tests.databases import damage, database, database_url
from tests.engine import batches
from tests.engine.stages import Stages
from tests.engine.stock import create, operations, stock

__all__ = ["database", "database_url"]

WITHOUT_CREATE = [operation for operation in operations if operation is not create]
Neglect = Callable[[Stages], Awaitable[str]]
TORN = b"torn"
LONG = 6
"""Seconds after which nobody has claimed what was sent."""


@pytest.fixture
async def stages(database: Database) -> Stages:
    migrate.create_missing(database, [stock])
    return Stages(database, Registry(operations))


def lose(stages: Stages) -> list[str]:
    """Whose work was on the bus, which is empty now."""
    lost = work_on(stages)
    stages.bus.clear()
    return lost


def work_on(stages: Stages) -> list[str]:
    return [
        decode_work(one.value).job_id for one in stages.bus if one.topic == topics.work("stock")
    ]


async def look(stages: Stages) -> list[str]:
    """Whose work the next sweep sends."""
    stages.clock.pass_seconds(LONG)
    stages.bus += await stages.sweep.sweep()
    return lose(stages)


def install(stages: Stages, registry: Registry) -> None:
    """Start again, with other operations."""
    stages.registry = registry
    stages.restart()


async def one_item_chunks(stages: Stages, many: int) -> str:
    """A job of which so many chunks are dispatched, and their messages lost."""
    items = [{"name": "x"}] * 4 * many
    job_id = await stages.submit("stock.create", items, options=JobOptions(chunk_size=1))
    while await open_chunks(stages, job_id) <= many:
        await stages.deliver(stages.bus.pop(0))
    stages.bus.clear()
    return job_id


async def open_chunks(stages: Stages, job_id: str) -> int:
    rows = await stages.rows(f"SELECT count(*) FROM chunks WHERE open AND job_id = '{job_id}'")
    return int(rows[0][0])


async def test_a_lost_chunk_is_found_beside_any_number_whose_operation_is_gone(
    stages: Stages,
) -> None:
    # As processes are that have a PostgreSQL database.
    stages.shared = not stages.database.is_sqlite
    stages.restart()
    await one_item_chunks(stages, FOUND_AT_ONCE)
    install(stages, Registry(WITHOUT_CREATE))
    other = await stages.submit("stock.add", [{"id": 1, "amount": 1}])
    assert lose(stages) == [other]
    assert await look(stages) == [other]


async def test_the_name_that_an_operation_had_is_installed(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    lose(stages)
    renamed = replace(create, kind="stock.make", formerly=(create.kind,))
    install(stages, Registry([*WITHOUT_CREATE, renamed]))
    assert await look(stages) == [job_id]
    await stages.mend()
    assert (await stages.job(job_id)).counts.succeeded == 1


async def test_a_killer_is_ended_though_its_operation_is_gone(stages: Stages) -> None:
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    install(stages, Registry(WITHOUT_CREATE))
    await kill_workers(stages, job_id)
    lose(stages)
    assert await look(stages) == []
    job = await stages.job(job_id)
    assert (job.status, job.counts.failed) == (JobStatus.FAILED, 1)


async def test_a_killer_is_counted_by_who_finds_it(stages: Stages) -> None:
    """Whoever works it has died, and what it has counted is gone."""

    def counted() -> float | None:
        shown = stages.metrics.registry.get_sample_value
        return shown("countermand_chunk_killers_total", {"operation": "stock.create"})

    items = [{"name": "x"}] * 2
    job_id = await stages.submit("stock.create", items, options=JobOptions(chunk_size=2))
    lose(stages)
    await look(stages)
    assert not counted(), "nobody has begun it"

    # The whole of it, and then each half by itself.
    for number in (1, 2, 3):
        await kill_workers(stages, job_id)
        lose(stages)
        await look(stages)
        assert counted() == number
    assert (await stages.job(job_id)).counts.failed == 2


async def kill_workers(stages: Stages, job_id: str) -> None:
    """Have a job's chunk be one whose workers have all died."""
    killers = update(chunks).where(chunks.c.job_id == job_id, chunks.c.open)
    await stages.database.write(lambda c: c.execute(killers.values(starts=MAX_STARTS)))


@pytest.fixture
async def sick(stages: Stages) -> str:
    """A job whose undo has killed its workers, and what it is to undo cannot be read."""
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.run_dry()
    await stages.command(UndoJob, job_id)
    lose(stages)
    await kill_workers(stages, job_id)
    store_ledger(stages, TORN + stored_ledger(stages))
    return job_id


def stored_ledger(stages: Stages) -> bytes:
    """Of the only chunk that has been worked."""
    return bytes(stages.database.read_now(lambda c: c.scalar(select(outcomes.c.ledger))) or b"")


def store_ledger(stages: Stages, ledger: bytes) -> None:
    damage(stages.database, update(outcomes).values(ledger=ledger))


async def test_a_killer_that_cannot_be_ended_stops_no_other_job_and_no_start(
    stages: Stages, sick: str
) -> None:
    well = await stages.submit("stock.create", [{"name": "x"}])
    lose(stages)
    stages.restart()
    with capture_logs() as logs:
        stages.bus += await stages.sweep.recover()
        found = [lose(stages), await look(stages)]
    assert [well] in found
    assert [entry["job_id"] for entry in logs if entry["event"] == "job_left"] == [sick]


async def test_jobs_that_stay_overdue_are_passed_in_turn(
    stages: Stages, sick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "FOUND_AT_ONCE", 1)
    well = await stages.submit("stock.create", [{"name": "x"}])
    lose(stages)
    assert [await look(stages), await look(stages)] == [[], [well]]
    store_ledger(stages, stored_ledger(stages).removeprefix(TORN))
    await look(stages)
    await look(stages)
    assert await open_chunks(stages, sick) == 0, "it was come back to"


async def _unrecorded(stages: Stages) -> str:
    """A job whose work is done, and whose hint is lost."""
    job_id = await stages.submit("stock.create", [{"name": "x"}])
    await stages.deliver(stages.bus.pop(0))
    stages.bus.clear()
    return job_id


async def _unheard(stages: Stages) -> str:
    """A batch whose job has moved, of which it has not heard."""
    batch = await batches.submit(stages, batches.step("one"))
    await stages.command(PauseJob, f"{batch}-1")
    stages.bus.clear()
    return batch


@pytest.mark.parametrize("neglected", [_unrecorded, _unheard])
async def test_jobs_that_are_found_again_keep_nobody_from_being_found(
    stages: Stages, neglected: Neglect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a later release are, whose outcomes this one cannot record."""
    monkeypatch.setattr(sweep, "FOUND_AT_ONCE", 1)
    first, second = await neglected(stages), await neglected(stages)
    looks: list[str] = []

    async def in_vain(job_id: str) -> list[Outgoing]:
        looks.append(job_id)
        return []

    stages.restart()
    swept = sweep.Sweep(
        database=stages.database,
        registry=stages.registry,
        clock=stages.clock,
        claim_by=LONG,
        neglected=lambda connection: (),
        look=in_vain,
    )
    for _ in range(4):
        await swept.sweep()
    assert looks == [first, second, first]
