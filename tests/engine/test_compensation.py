"""Effects outside of the database are taken back item by item, and what is not is named."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from domain.commands import UndoJob, UndoSelection
from domain.compensation import Stage
from domain.errors import CommandRefused, NotReversible, StoreUnavailable
from domain.events import JobStatus
from domain.job import Job
from domain.outcomes import Conflicted, Failed, ItemStatus, Restored
from domain.records import Change, Writer
from domain.registry import Registry
from streams.failpoints import Failpoint, Failpoints
from streams.previewing import Page, Preview, Previewer, WantedUndo
from streams.queries import Queries
from streams.stores import compensations, migrate
from streams.stores.compensations import CompensationView
from streams.stores.database import Database
from streams.stores.records import SqlRecords
from tests.databases import database, database_url, sqlite_database
from tests.engine.post import Answer, Vendor
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url", "sqlite_database"]

BUSY = Failed("busy", "the vendor is busy", retryable=True)
NEVER = Failed("shipped", "it is on its way")
TAKEN = Conflicted("parcels/7", "the vendor", "sold")
THINGS = 5


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
async def stages(sqlite_database: Database, vendor: Vendor) -> Stages:
    return await _stages(sqlite_database, vendor)


@pytest.fixture
async def everywhere(database: Database, vendor: Vendor) -> Stages:
    """Once for each kind of database."""
    return await _stages(database, vendor)


async def _stages(database: Database, vendor: Vendor) -> Stages:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry([*operations, *vendor.operations()]))
    await stages.submit("stock.create", [{"name": "x"}] * THINGS)
    await stages.run_dry()
    return stages


async def done(stages: Stages, operation: str, ids: Sequence[int], **options: Any) -> str:
    """A job that has added 1 to each of the things."""
    items = [{"id": number} for number in ids]
    job_id = await stages.submit(operation, items, options=options)
    await stages.work_out()
    assert (await stages.job(job_id)).counts.succeeded == len(ids)
    return job_id


async def undo(stages: Stages, job_id: str, **fields: Any) -> Job:
    """The job after an undo."""
    decision = await stages.command(UndoJob, job_id, **fields)
    assert decision.problem is None, decision.problem
    await stages.work_out()
    return await stages.job(job_id)


async def amounts(stages: Stages) -> dict[int, int]:
    return {row[0]: row[1] for row in await stages.rows("SELECT id, amount FROM stock")}


async def preview(stages: Stages, job_id: str, **fields: Any) -> Preview:
    previewer = Previewer(stages.database, stages.registry)
    limit = fields.pop("limit", 1000)
    page = Page(limit=limit, after=fields.pop("after", -1))
    return await previewer.preview(await stages.job(job_id), page, WantedUndo(**fields))


async def named(
    stages: Stages, job_id: str, *stages_: Stage, limit: int = 1000
) -> list[CompensationView]:
    queries = Queries(stages.database, stages.jobs, stages.registry)
    wanted = stages_ or tuple(Stage)
    return await queries.compensations("local", job_id, wanted, after=-1, limit=limit)


KINDS = ("post.add", "post.add_all", "post.send")


@pytest.mark.parametrize("operation", KINDS)
async def test_effects_are_taken_back_in_the_reverse_order_with_keys_of_their_own(
    everywhere: Stages, vendor: Vendor, operation: str
) -> None:
    stages = everywhere
    job_id = await done(stages, operation, [1, 2, 3, 1, 2, 3, 1], chunk_size=3)
    seen = await preview(stages, job_id)
    assert (seen.exact, seen.compensated, seen.compensations) == (False, 7, [*range(7)])
    job = await undo(stages, job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 7)
    positions = [call.position for call in vendor.calls]
    assert sorted(positions) == [*range(7)]
    if operation != "post.send":
        assert positions == [*range(7)][::-1]
    assert all(call.key == f"{job_id}:{call.position}:undo" for call in vendor.calls)
    assert all(call.result == {"number": call.position} for call in vendor.calls)
    assert set((await amounts(stages)).values()) == {0}
    assert [view.tried.stage for view in await named(stages, job_id)] == [Stage.DONE] * 7


async def test_what_fails_is_tried_again_and_then_named_and_the_next_undo_takes_only_that(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add", [1, 2, 3, 4], chunk_size=2)
    vendor.answers[3] = [BUSY, RuntimeError("no line")]
    vendor.answers[1] = [BUSY, BUSY, BUSY, BUSY]
    vendor.answers[0] = [NEVER]
    job = await undo(stages, job_id)
    assert job.status is JobStatus.ROLLBACK_INCOMPLETE
    assert (job.counts.rolled_back, job.counts.succeeded) == (2, 2)
    assert [call.position for call in vendor.calls] == [3, 3, 3, 2, 1, 1, 1, 0]
    assert await amounts(stages) == {1: 1, 2: 1, 3: 0, 4: 0, 5: 0}
    left = {view.tried.position: view.tried for view in await named(stages, job_id, Stage.FAILED)}
    assert {p: tried.result for p, tried in left.items()} == {0: NEVER, 1: BUSY}
    assert {p: tried.attempts for p, tried in left.items()} == {0: 1, 1: 3}

    vendor.calls.clear()
    seen = await preview(stages, job_id)
    assert (seen.items, seen.compensations) == (2, [0, 1])
    job = await undo(stages, job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 4)
    assert [call.position for call in vendor.calls] == [1, 1, 0]
    assert set((await amounts(stages)).values()) == {0}
    assert not await named(stages, job_id, Stage.FAILED)


async def test_who_wrote_before_what_could_not_be_compensated_waits_and_is_not_asked(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add", [1, 1, 2, 1], chunk_size=1)
    vendor.answers[1] = [NEVER]
    job = await undo(stages, job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLBACK_INCOMPLETE, 2)
    assert [call.position for call in vendor.calls] == [3, 2, 1]
    assert (await amounts(stages))[1] == 2
    first, second = [view.tried for view in await named(stages, job_id, Stage.FAILED)]
    assert isinstance(first.result, Failed)
    assert (first.position, first.result.code, first.attempts) == (0, "written_later", 0)
    assert second.result == NEVER
    assert (await undo(stages, job_id)).status is JobStatus.ROLLED_BACK
    assert (await amounts(stages))[1] == 0


async def test_items_of_a_chunk_on_one_record_go_together(stages: Stages, vendor: Vendor) -> None:
    job_id = await done(stages, "post.add", [1, 1, 1, 2], chunk_size=4)
    vendor.answers[1] = [NEVER]
    job = await undo(stages, job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLBACK_INCOMPLETE, 1)
    assert [call.position for call in vendor.calls] == [3, 2, 1]
    assert await amounts(stages) == {1: 3, 2: 0, 3: 0, 4: 0, 5: 0}
    vendor.calls.clear()
    assert (await undo(stages, job_id)).status is JobStatus.ROLLED_BACK
    assert [call.position for call in vendor.calls] == [1, 0]
    assert set((await amounts(stages)).values()) == {0}


async def meddle(stages: Stages, *ids: int) -> None:
    changes = [Change(number, {"amount": 77}) for number in ids]
    await stages.database.write(
        lambda c: SqlRecords(c, Writer("local", "anna"), 0.0).update(stock, changes)
    )


async def test_nobody_outside_is_asked_where_the_record_is_in_conflict(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add", [1, 2, 3])
    await meddle(stages, 2)
    seen = await preview(stages, job_id)
    assert (seen.conflict, seen.compensations) == (1, [0, 2])
    assert [(one.position, one.by) for one in seen.obstructions] == [(1, "anna")]
    job = await undo(stages, job_id)
    assert (job.status, job.counts.conflict) == (JobStatus.ROLLED_BACK, 1)
    assert [call.position for call in vendor.calls] == [2, 0]
    assert (await amounts(stages))[2] == 77


async def test_by_force_the_record_is_overwritten_and_the_effect_taken_back(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add", [1, 2])
    await meddle(stages, 2)
    job = await undo(stages, job_id, force=True, reason="we know")
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 2)
    assert [call.position for call in vendor.calls] == [1, 0]
    assert (await amounts(stages))[2] == 0


async def test_a_conflict_outside_is_a_conflict(stages: Stages, vendor: Vendor) -> None:
    job_id = await done(stages, "post.add", [1, 2])
    vendor.answers[1] = [TAKEN]
    job = await undo(stages, job_id)
    assert (job.status, job.counts.conflict) == (JobStatus.ROLLED_BACK, 1)
    assert (await amounts(stages))[2] == 1
    (view,) = await named(stages, job_id, Stage.CONFLICT)
    assert view.tried.result == TAKEN


async def test_who_is_quicker_than_the_records_is_named_and_the_effect_stays_taken_back(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add_all", [1, 2], chunk_size=2)
    vendor.gate.clear()
    assert (await stages.command(UndoJob, job_id)).problem is None
    await stages.run_dry()
    await vendor.asked.wait()
    await meddle(stages, 1)
    vendor.gate.set()
    await stages.work_out()
    job = await stages.job(job_id)
    assert (job.status, job.counts.conflict) == (JobStatus.ROLLED_BACK, 1)
    assert vendor.taken_back == {0, 1}
    queries = Queries(stages.database, stages.jobs, stages.registry)
    (view,) = [v async for v in queries.items("local", job_id) if v.status is ItemStatus.CONFLICT]
    assert view.error is not None
    assert "effects outside were taken back already, by anna" in view.error.message


async def test_a_part_is_taken_back_and_then_the_rest(stages: Stages, vendor: Vendor) -> None:
    job_id = await done(stages, "post.send", [1, 2, 3, 4], chunk_size=4)
    select = UndoSelection(items=(1, 2))
    assert (await preview(stages, job_id, select=select)).compensations == [1, 2]
    job = await undo(stages, job_id, select=select)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLBACK_INCOMPLETE, 2)
    assert [call.position for call in vendor.calls] == [2, 1]
    assert (await undo(stages, job_id)).counts.rolled_back == 4
    assert [call.position for call in vendor.calls] == [2, 1, 3, 0]


async def test_what_was_compensated_is_not_done_again_by_an_undo_of_the_undo(
    stages: Stages,
) -> None:
    job_id = await done(stages, "post.add", [1])
    await undo(stages, job_id)
    refused = (await stages.command(UndoJob, job_id)).problem
    assert refused is not None
    assert refused["code"] == "not_reversible"


async def test_effects_outside_without_a_compensation_are_named(stages: Stages) -> None:
    job_id = await done(stages, "post.shout", [1])
    refused = (await stages.command(UndoJob, job_id)).problem
    assert refused is not None
    assert "post.shout has effects outside (noise and echo)" in refused["message"]
    with pytest.raises(NotReversible, match="no compensation, so they stay"):
        await preview(stages, job_id)
    begun = await stages.submit("post.shout", [{"id": 1}], options={"on_error": "roll_back"})
    assert stages.decisions[f"{begun}.submit"].problem is not None


async def test_only_a_job_with_records_has_a_use_for_force(stages: Stages) -> None:
    job_id = await done(stages, "post.send", [1])
    with pytest.raises(CommandRefused, match="undone by its compensation; it has no use for force"):
        await preview(stages, job_id, force=True)


async def test_previews_come_in_pages(stages: Stages) -> None:
    job_id = await done(stages, "post.add", [1, 2, 3, 4, 5])
    await meddle(stages, 3)
    seen: list[int] = []
    after = -1
    while True:
        page = await preview(stages, job_id, limit=2, after=after)
        assert (page.compensated, page.conflict) == (4, 1)
        seen += [note.position for note in page.notes]
        if not page.more:
            break
        after = page.notes[-1].position
    assert seen == [0, 1, 2, 3, 4]


async def test_a_zombie_s_word_does_not_count(stages: Stages, vendor: Vendor) -> None:
    job_id = await done(stages, "post.send", [1, 2], chunk_size=2)
    vendor.gate.clear()
    assert (await stages.command(UndoJob, job_id)).problem is None
    await stages.run_dry()
    zombie = stages.slow
    stages.restart()
    stages.clock.pass_seconds(6)
    stages.bus += await stages.sweep.sweep()
    await stages.run_dry()
    assert zombie.leased.in_flight == stages.slow.leased.in_flight == 1
    vendor.answers[1] = [Restored(), NEVER]
    vendor.gate.set()
    await stages.work_out()
    await zombie.leased.quiet()
    job = await stages.job(job_id)
    keys = {call.key for call in vendor.calls if call.position == 1}
    assert keys == {f"{job_id}:1:undo"}
    known = {view.tried.position: view.tried.stage for view in await named(stages, job_id)}
    assert job.counts.rolled_back == list(known.values()).count(Stage.DONE)
    assert job.counts.rolled_back + job.counts.succeeded == 2


async def test_a_worker_that_leaves_lets_the_call_end_and_begins_no_more(
    everywhere: Stages, vendor: Vendor
) -> None:
    stages = everywhere
    job_id = await done(stages, "post.send", [1, 2, 3], chunk_size=3)
    vendor.gate.clear()
    assert (await stages.command(UndoJob, job_id)).problem is None
    await stages.run_dry()
    await vendor.asked.wait()
    leaving = stages.slow
    drain = asyncio.create_task(leaving.drain(20.0))
    await asyncio.sleep(0.05)
    assert not drain.done()
    vendor.gate.set()
    await asyncio.wait_for(drain, 10.0)
    await leaving.close()
    assert [call.position for call in vendor.calls] == [2]
    stages.restart()
    stages.bus += await stages.sweep.sweep()
    await stages.work_out()
    job = await stages.job(job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 3)
    assert sorted(call.position for call in vendor.calls) == [0, 1, 2], "none was asked twice"


async def test_nobody_is_asked_twice_as_the_database_is_away_for_a_moment(
    stages: Stages, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await done(stages, "post.send", [1, 2, 3], chunk_size=3)
    away, note = iter(range(2)), compensations.note

    def tried(*given: Any) -> None:
        if next(away, None) is not None:
            raise StoreUnavailable("gone")
        note(*given)

    monkeypatch.setattr(compensations, "note", tried)
    async with asyncio.timeout(10):
        job = await undo(stages, job_id)
    assert (job.status, job.counts.rolled_back) == (JobStatus.ROLLED_BACK, 3)
    assert sorted(call.position for call in vendor.calls) == [0, 1, 2]


async def test_who_waits_for_a_place_has_not_begun_when_its_worker_leaves(
    everywhere: Stages, vendor: Vendor
) -> None:
    stages = everywhere
    jobs = [await done(stages, "post.send_one", [number], chunk_size=1) for number in (1, 2, 3)]
    vendor.gate.clear()
    for job_id in jobs:
        assert (await stages.command(UndoJob, job_id)).problem is None
    await stages.run_dry()
    await vendor.asked.wait()
    leaving = stages.slow
    assert leaving.leased.in_flight == len(jobs)
    # Until all of them have read what they need, and wait for the place.
    await asyncio.sleep(0.3)
    drain = asyncio.create_task(leaving.drain(20.0))
    await asyncio.sleep(0.05)
    vendor.gate.set()
    await asyncio.wait_for(drain, 10.0)
    assert len(vendor.calls) == 1
    await leaving.close()
    stages.restart()
    stages.bus += await stages.sweep.sweep()
    await stages.work_out()
    assert len(vendor.calls) == len({call.key for call in vendor.calls}) == len(jobs)


async def test_nothing_is_sent_again_while_somebody_outside_is_asked(
    stages: Stages, vendor: Vendor
) -> None:
    job_id = await done(stages, "post.add_all", [1, 2, 3], chunk_size=1)
    vendor.gate.clear()
    assert (await stages.command(UndoJob, job_id)).problem is None
    await stages.run_dry()
    await vendor.asked.wait()
    for _ in range(4):
        stages.clock.pass_seconds(1)
        assert await stages.sweep.sweep() == []
    open_chunks = await stages.rows("SELECT attempt FROM chunks WHERE open")
    assert open_chunks == [(1,)], "what cannot have its turn yet is not sent before"
    vendor.gate.set()
    await stages.work_out()
    job = await stages.job(job_id)
    assert (job.status, len(vendor.calls)) == (JobStatus.ROLLED_BACK, 3)


# -- random histories with deaths ------------------------------------------------------


class Death(asyncio.CancelledError):
    """The end of whoever works a chunk, as its task sees it."""


@dataclass
class Mortal(Failpoints):
    """Ends whoever gets to one of the places of an undo, now and then."""

    chance: random.Random
    left: int = 0
    deaths: int = 0

    def reach(self, place: Failpoint) -> None:
        if place not in _DEADLY or not self.left or self.chance.random() > 0.15:
            return
        self.left -= 1
        self.deaths += 1
        raise Death(place)


_DEADLY = (
    Failpoint.BEFORE_COMPENSATION,
    Failpoint.AFTER_COMPENSATION,
    Failpoint.COMPENSATION_STORED,
    Failpoint.BEFORE_RESTORE,
    Failpoint.AFTER_RESTORE,
    Failpoint.BEFORE_UNDO_COMMIT,
    Failpoint.AFTER_UNDO_COMMIT,
)


@dataclass
class History:
    """One job and its undos, with somebody outside who fails, and processes that die."""

    stages: Stages
    vendor: Vendor
    chance: random.Random
    job_id: str = ""
    items: list[Mapping[str, int]] = field(default_factory=list)
    mortal: Mortal = field(init=False)

    async def begin(self, operation: str) -> None:
        self.mortal = Mortal(self.chance)
        self.stages.worker_failpoints = self.mortal
        self.stages.restart()
        count = self.chance.randint(1, 12)
        self.items = [
            {"id": self.chance.randint(1, THINGS), "amount": self.chance.randint(1, 9)}
            for _ in range(count)
        ]
        options = {"chunk_size": self.chance.randint(1, 5)}
        self.job_id = await self.stages.submit(operation, self.items, options=options)
        await self.stages.work_out()

    async def round(self, *, mended: bool) -> Job:
        """One undo, and whether everything that is said of it is true."""
        calls, vendor = len(self.vendor.calls), self.vendor
        vendor.answers.clear()
        if not mended:
            for position in range(len(self.items)):
                vendor.answers[position] = self._answers()
        known = {v.tried.position for v in await named(self.stages, self.job_id, Stage.DONE)}
        self.mortal.left, before = 0 if mended else 3, self.mortal.deaths
        assert (await self.stages.command(UndoJob, self.job_id)).problem is None
        await self.stages.mend()
        fresh = vendor.calls[calls:]
        deaths = self.mortal.deaths - before
        assert not known & {call.position for call in fresh}, "what is done is asked for again"
        asked = Counter(call.position for call in fresh)
        assert all(times <= 3 + deaths for times in asked.values()), asked
        assert sum(max(times - 3, 0) for times in asked.values()) <= deaths
        assert all(call.key == f"{self.job_id}:{call.position}:undo" for call in fresh)
        return await self._judged()

    def _answers(self) -> list[Answer]:
        fails: list[Answer] = [BUSY, RuntimeError("no line")]
        some = [self.chance.choice(fails) for _ in range(self.chance.choice((0, 0, 0, 1, 2, 3)))]
        return [*some, NEVER] if self.chance.random() < 0.15 else some

    async def _judged(self) -> Job:
        stages, queries = (
            self.stages,
            Queries(self.stages.database, self.stages.jobs, self.stages.registry),
        )
        job = await stages.job(self.job_id)
        status = {view.position: view.status async for view in queries.items("local", job.id)}
        assert Counter(status.values()) == {name: count for name, count in job.counts if count}, (
            "counts add up"
        )
        stands = {p for p, one in status.items() if one is ItemStatus.SUCCEEDED}
        back = {p for p, one in status.items() if one is ItemStatus.ROLLED_BACK}
        assert back <= self.vendor.taken_back, "rolled back, but not taken back outside"
        ended = JobStatus.ROLLBACK_INCOMPLETE if stands else JobStatus.ROLLED_BACK
        assert job.status is ended
        tried = {view.tried.position: view.tried for view in await named(stages, self.job_id)}
        assert all(p in tried for p in status), "each item that was not put back is named"
        assert {p for p, one in tried.items() if one.stage is Stage.DONE} >= back
        if job.spec.operation != "post.send":
            expected = Counter(dict.fromkeys(range(1, THINGS + 1), 0))
            for position in stands:
                expected[self.items[position]["id"]] += self.items[position]["amount"]
            assert await amounts(stages) == dict(expected)
        return job


@pytest.mark.parametrize("operation", KINDS)
async def test_whatever_fails_and_dies_nothing_is_lost_and_nothing_is_taken_back_twice_knowingly(
    everywhere: Stages, operation: str, vendor: Vendor
) -> None:
    for seed in range(6):
        vendor.taken_back.clear()
        history = History(everywhere, vendor, random.Random(f"{seed} {operation}"))
        await history.begin(operation)
        job = await history.round(mended=False)
        while job.status is JobStatus.ROLLBACK_INCOMPLETE:
            job = await history.round(mended=history.chance.random() < 0.5)
        assert job.counts.rolled_back == len(history.items)
        assert set((await amounts(everywhere)).values()) == {0}
