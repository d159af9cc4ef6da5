"""Quotas: what a tenant may have is looked at before it is stored, and others do not notice."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection

from domain.commands import (
    AppendItems,
    ArchiveJob,
    InlineItems,
    JobSpec,
    OpenJob,
    UploadedItems,
)
from domain.errors import (
    CommandRefused,
    DecisionPending,
    IdempotencyConflict,
    JobNotFound,
    QuotaExceeded,
    WrongState,
)
from domain.options import JobOptions
from domain.registry import Registry
from domain.steps import BATCH, Step
from streams import uploading
from streams.admission import TENANTS_KEPT, Admission
from streams.bootstrap import embedded
from streams.callers import Caller
from streams.envelope import Outgoing
from streams.quotas import Quotas, QuotaTable
from streams.settings import Settings
from streams.stores import usage
from streams.stores.archives import Stage
from streams.stores.database import Database
from streams.stores.schema import payload_keys, uploads
from streams.stores.sealing import InstallationKey
from streams.stores.usage import Usage
from tests.databases import database_url, shared_database
from tests.engine.conftest import CALLER, Desk, lines
from tests.engine.keeping import NAMES, Keeping, kept
from tests.engine.roles import until
from tests.engine.stock import operations

__all__ = ["database_url", "shared_database"]

OTHERS = Caller("other", "eve")
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def strict(data_dir: Path) -> AsyncIterator[Desk]:
    """Ten items a day, three open jobs, and a kilobyte."""
    settings = Settings(
        data_dir=data_dir, quota_items_a_day=10, quota_open_jobs=3, quota_stored_bytes=1000
    )
    async with embedded(settings, Registry(operations)) as engine:
        yield Desk(engine)


def things(many: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"name": "x" * size} for _ in range(many)]


async def _sent(desk: Desk, items: list[Any], who: Caller = CALLER, key: str | None = None) -> str:
    spec = JobSpec(operation="stock.create")
    decision = await desk.engine.gateway.submit(who, spec, lines(items), key=key)
    return decision.job_id


async def test_items_of_a_day_are_counted_whichever_way_they_come(strict: Desk) -> None:
    gateway, spec = strict.engine.gateway, JobSpec(operation="stock.create")
    await strict.settle(await _sent(strict, things(3)))
    await strict.settle(await _sent(strict, things(3), key="stored"))
    draft = (await gateway.open(CALLER, spec, key=None)).job_id
    await gateway.append(CALLER, draft, 0, lines(things(2)))
    for key in (None, "another"):
        with pytest.raises(QuotaExceeded, match="may send 2 more items today") as caught:
            await _sent(strict, things(3), key=key)
        assert 0 < caught.value.retry_after <= 86_400
    with pytest.raises(QuotaExceeded):
        await gateway.append(CALLER, draft, 1, lines(things(3)))
    step = Step(name="a", operation="stock.create")
    batch = JobSpec(operation=BATCH, steps=(step,))
    with pytest.raises(QuotaExceeded):
        await gateway.submit_batch(CALLER, batch, [lines(things(3))], key=None)
    await _sent(strict, things(2))
    assert await _sent(strict, things(5), OTHERS), "another tenant has its own"


async def test_bytes_are_looked_at_while_they_come(strict: Desk) -> None:
    gateway, taken = strict.engine.gateway, 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b'{"name":"' + b"x" * 300_000 + b'"}\n'

    with pytest.raises(QuotaExceeded, match="bytes"):
        await gateway.submit(CALLER, JobSpec(operation="stock.create"), endless(), key=None)
    assert taken < 10
    with pytest.raises(QuotaExceeded, match="may store 1000 more bytes"):
        await _sent(strict, things(1, 2000))
    await _sent(strict, things(1))


@pytest.fixture
async def roomy(data_dir: Path) -> AsyncIterator[Desk]:
    """Eight megabytes, more than is stored at once."""
    settings = Settings(data_dir=data_dir, quota_stored_bytes=8_000_000)
    async with embedded(settings, Registry(operations)) as engine:
        yield Desk(engine)


async def _torn(*, whole: bool = False) -> AsyncIterator[bytes]:
    """More than is stored at once, and then the connection is gone, unless it is whole."""
    chance = Random(1)
    for _ in range(6):
        yield b'{"name":"' + chance.randbytes(450_000).hex().encode() + b'"}\n'
    if not whole:
        raise ConnectionResetError


async def test_what_was_broken_off_takes_its_room_until_it_is_cleaned_up(roomy: Desk) -> None:
    gateway, spec = roomy.engine.gateway, JobSpec(operation="stock.create")
    with pytest.raises(ConnectionResetError):
        await gateway.submit(CALLER, spec, _torn(), key=None)
    with pytest.raises(QuotaExceeded, match="bytes"):
        await gateway.submit(CALLER, spec, _torn(), key=None)
    assert await _sent(roomy, things(1))


async def test_what_is_sent_again_with_its_key_counts_once(strict: Desk) -> None:
    job_id = await _sent(strict, things(5), key="a")
    for _ in range(3):
        assert await _sent(strict, things(5), key="a") == job_id
    assert await _sent(strict, things(5), key="b")
    with pytest.raises(QuotaExceeded):
        await _sent(strict, things(1), key="c")


async def test_a_large_body_that_is_sent_again_leaves_nothing_behind(roomy: Desk) -> None:
    chance = Random(2)
    items = [{"name": chance.randbytes(450_000).hex()} for _ in range(6)]
    job_id = await _sent(roomy, items, key="large")
    stored = await roomy.rows("SELECT count(*) FROM payloads")
    assert await _sent(roomy, items, key="large") == job_id
    assert await roomy.rows("SELECT count(*) FROM payloads") == stored
    assert await roomy.rows("SELECT count(*) FROM uploads") == [(1,)]


async def test_a_known_key_opens_no_way_around_a_quota(strict: Desk) -> None:
    job_id = await _sent(strict, things(10), key="known")
    with pytest.raises(QuotaExceeded, match="may send 10 more items"):
        await _sent(strict, things(11), key="known")
    with pytest.raises(IdempotencyConflict):
        await _sent(strict, things(9), key="known")
    assert await _sent(strict, things(10), key="known") == job_id


async def test_so_many_jobs_are_open_and_those_that_have_ended_are_not(strict: Desk) -> None:
    gateway, spec = strict.engine.gateway, JobSpec(operation="stock.create")
    drafts = [(await gateway.open(CALLER, spec, key=None)).job_id for _ in range(3)]
    for attempt in (_sent(strict, things(1)), gateway.open(CALLER, spec, key=None)):
        with pytest.raises(QuotaExceeded, match="has 3 open jobs"):
            await attempt
    assert await _sent(strict, things(1), OTHERS)
    await gateway.command(CALLER, drafts[0], "cancel", "")
    assert await _sent(strict, things(1))


async def test_what_was_shredded_takes_no_room_and_was_sent_all_the_same(strict: Desk) -> None:
    job_id = await _sent(strict, things(2, 300))
    await strict.settle(job_id)
    with pytest.raises(QuotaExceeded, match="bytes"):
        await _sent(strict, things(1, 600))
    await strict.engine.gateway.command(CALLER, job_id, "shred", "a customer asked")
    await strict.settle(await _sent(strict, things(1, 600)))
    found = await strict.engine.database.read(lambda c: usage.before(c, CALLER.tenant, 0, math.inf))
    assert found.items_today == 3


@pytest.fixture(params=[None, InstallationKey(bytes(range(32)))], ids=["clear", "sealed"])
def keeping(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Keeping]:
    with Database(database_url, key=request.param) as database:
        yield kept(database, tmp_path)


async def _stored(keeping: Keeping) -> int:
    found = await keeping.stages.database.read(lambda c: usage.before(c, "local", 0, math.inf))
    assert found.items_today == 2 * len(NAMES), "it was sent all the same"
    return found.bytes


async def test_what_was_archived_takes_no_room_whether_it_is_sealed_or_not(
    keeping: Keeping,
) -> None:
    job_id, _ = await keeping.done(), await keeping.done()
    both = await _stored(keeping)
    (await keeping.stages.command(ArchiveJob, job_id, reason="")).accepted()
    await keeping.stages.run_dry()
    assert await _stored(keeping) == both, "no file has it yet"
    await keeping.archivist.look()
    await keeping.stages.run_dry()
    assert await keeping.stages.rows("SELECT stage FROM archives") == [(Stage.EMPTIED.value,)]
    assert await _stored(keeping) == both / 2
    await keeping.archive()
    assert await keeping.stages.rows("SELECT stage FROM archives") == [(Stage.CLEARED.value,)]
    assert await _stored(keeping) == both / 2


def _batch(steps: int) -> JobSpec:
    later = JobOptions(start_at=LATER)
    names = [f"s{number}" for number in range(steps)]
    made = [Step(name=name, operation="stock.create", options=later) for name in names]
    return JobSpec(operation=BATCH, steps=tuple(made))


async def _sent_batch(desk: Desk, steps: int, key: str | None = None) -> str:
    items = [lines(things(1)) for _ in range(steps)]
    decision = await desk.engine.gateway.submit_batch(CALLER, _batch(steps), items, key=key)
    return decision.job_id


async def test_a_batch_is_as_many_open_jobs_as_it_brings(strict: Desk) -> None:
    with pytest.raises(QuotaExceeded, match="brings 4 jobs, and the tenant may have 3 open ones"):
        await _sent_batch(strict, 3)
    assert await strict.rows("SELECT count(*) FROM uploads") == [(0,)]
    batch = await _sent_batch(strict, 2, key="a")
    open_jobs = await strict.engine.database.read(lambda c: usage.open_jobs(c, CALLER.tenant, 9))
    assert open_jobs == 3
    with pytest.raises(QuotaExceeded, match="has 3 open jobs"):
        await _sent_batch(strict, 1)
    assert await _sent_batch(strict, 2, key="a") == batch
    await strict.engine.gateway.command(CALLER, batch, "cancel", "")
    for _ in range(2):
        await strict.engine.gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)
    with pytest.raises(QuotaExceeded, match="tenant local has 2 open jobs, and may have 3"):
        await _sent_batch(strict, 1)


async def _used(desk: Desk) -> tuple[int, list[tuple[Any, ...]]]:
    """The items of today, and who has the uploads; a copy that was left has nobody."""
    found = await desk.engine.database.read(lambda c: usage.before(c, CALLER.tenant, 0, math.inf))
    rows = await desk.rows("SELECT job_id, items FROM uploads ORDER BY job_id, items")
    return found.items_today, rows


async def _batched(desk: Desk, *items: list[Any], key: str = "k") -> str:
    sent = [lines(each) for each in items]
    decision = await desk.engine.gateway.submit_batch(CALLER, _batch(len(sent)), sent, key=key)
    return decision.job_id


async def test_a_batch_that_is_sent_again_with_its_key_leaves_nothing_beside_it(
    strict: Desk,
) -> None:
    batch = await _batched(strict, things(2), things(3))
    kept = 5, [(f"{batch}-1", 2), (f"{batch}-2", 3)]
    assert await _used(strict) == kept
    for _ in range(3):
        assert await _batched(strict, things(2), things(3)) == batch
        assert await _used(strict) == kept
    for other in (things(4), things(10)):
        with pytest.raises(IdempotencyConflict):
            await _batched(strict, things(2), other)
        assert await _used(strict) == kept
    with pytest.raises(QuotaExceeded):
        await _batched(strict, things(2), things(11))
    assert await _used(strict) == kept
    await strict.engine.gateway.command(CALLER, batch, "cancel", "")
    assert await _sent(strict, things(5)), "there is room for what is new"


async def test_a_part_that_is_sent_again_counts_once_whatever_was_used_up(strict: Desk) -> None:
    gateway = strict.engine.gateway
    draft = (await gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)).job_id
    for number, many in enumerate((4, 6)):
        for _ in range(3):
            await gateway.append(CALLER, draft, number, lines(things(many)))
    kept = 10, [(draft, 4), (draft, 6)]
    assert await _used(strict) == kept
    with pytest.raises(IdempotencyConflict, match="part 0 of job"):
        await gateway.append(CALLER, draft, 0, lines(things(5)))
    with pytest.raises(QuotaExceeded, match="may send 10 more items"):
        await gateway.append(CALLER, draft, 0, lines(things(11)))
    with pytest.raises(QuotaExceeded, match="may send 0 more items"):
        await gateway.append(CALLER, draft, 2, lines(things(1)))
    assert await _used(strict) == kept


async def test_a_part_of_another_tenants_job_is_no_way_around_a_quota(strict: Desk) -> None:
    gateway = strict.engine.gateway
    draft = (await gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)).job_id
    await gateway.append(CALLER, draft, 0, lines(things(4)))
    with pytest.raises(JobNotFound):
        await gateway.append(OTHERS, draft, 0, lines(things(8)))
    with pytest.raises(QuotaExceeded, match="tenant other may send 2 more items today"):
        await gateway.append(OTHERS, draft, 0, lines(things(8)))


async def test_a_part_for_a_job_that_takes_none_is_no_way_around_a_quota(strict: Desk) -> None:
    """What a job was submitted with is its part 0, which a draft may have as well."""
    gateway = strict.engine.gateway
    whole = await _sent(strict, things(4))
    draft = (await gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)).job_id
    await gateway.append(CALLER, draft, 0, lines(things(2)))
    await gateway.command(CALLER, draft, "cancel", "")
    for many in (6, 7, 8):
        with pytest.raises(WrongState):
            await gateway.append(CALLER, whole, 0, lines(things(many)))
        with pytest.raises(IdempotencyConflict):
            await gateway.append(CALLER, draft, 0, lines(things(many)))
    assert await _used(strict) == (6, sorted([(whole, 4), (draft, 2)]))


async def test_what_was_refused_is_refused_again_and_leaves_nothing_more(strict: Desk) -> None:
    """Nobody takes what a refused command has brought; it counts until it is cleaned up."""
    gateway = strict.engine.gateway
    after = {"options": {"after": [{"job_id": "nobody"}]}}
    spec = JobSpec.model_validate({"operation": "stock.create"} | after)
    for _ in range(3):
        with pytest.raises(CommandRefused):
            await gateway.submit(CALLER, spec, lines(things(4)), key="refused")
        assert await _used(strict) == (4, [(None, 4)])


@pytest.fixture
def together(strict: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An engine that hears of two commands once both have brought their items."""
    send, held = strict.engine.gateway._send, list[Outgoing]()

    async def hold(outgoing: Outgoing) -> None:
        held.append(outgoing)
        if len(held) == 2:
            for each in held:
                await send(each)

    monkeypatch.setattr(strict.engine.gateway, "_send", hold)
    return strict


@pytest.mark.parametrize("way", ["submit", "batch"])
async def test_who_is_not_answered_yet_and_asks_again_is_counted_once(
    together: Desk, way: str
) -> None:
    async def sent() -> str:
        if way == "batch":
            return await _batched(together, things(5))
        return await _sent(together, things(5), key="k")

    first, second = await asyncio.gather(sent(), sent())
    assert first == second
    used, ((job_id, items),) = await _used(together)
    assert (used, job_id, items) == (5, first if way == "submit" else f"{first}-1", 5)


@pytest.mark.parametrize("way", ["submit", "batch"])
async def test_who_asks_again_while_nobody_decides_is_counted_once_when_somebody_does(
    strict: Desk, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, held = strict.engine.gateway, list[Outgoing]()
    send = gateway._send

    async def hold(outgoing: Outgoing) -> None:
        held.append(outgoing)

    async def sent() -> str:
        return await (
            _batched(strict, things(3)) if way == "batch" else _sent(strict, things(3), key="k")
        )

    with monkeypatch.context() as nobody:
        nobody.setattr(gateway, "_send", hold)
        nobody.setattr("streams.gateway.DECISION_SECONDS", 0.1)
        for _ in range(2):
            with pytest.raises(DecisionPending):
                await sent()
    assert [items for _, items in (await _used(strict))[1]] == [3, 3]
    for each in held:
        await send(each)
    job_id = await sent()
    # The one that came second is decided a moment after the first, which is answered.
    await until(partial(_is_left_alone, strict))
    assert await _used(strict) == (3, [(job_id if way == "submit" else f"{job_id}-1", 3)])


async def _is_left_alone(desk: Desk) -> bool:
    return len((await _used(desk))[1]) == 1


async def test_a_part_that_is_not_answered_yet_and_comes_again_is_counted_once(
    strict: Desk, request: pytest.FixtureRequest
) -> None:
    gateway = strict.engine.gateway
    draft = (await gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)).job_id
    request.getfixturevalue("together")
    await asyncio.gather(*(gateway.append(CALLER, draft, 0, lines(things(4))) for _ in range(2)))
    assert await _used(strict) == (4, [(draft, 4)])


async def test_what_is_broken_off_under_a_known_key_leaves_nothing(roomy: Desk) -> None:
    """It counts nothing beforehand, and so it must take no room afterwards."""
    gateway, spec = roomy.engine.gateway, JobSpec(operation="stock.create")
    job_id = await _sent(roomy, things(1), key="known")
    begun = (await gateway.open(CALLER, spec, key=None)).job_id
    await gateway.append(CALLER, begun, 0, lines(things(1)))
    with pytest.raises(ConnectionResetError):
        await gateway.submit(CALLER, spec, _torn(), key="known")
    with pytest.raises(ConnectionResetError):
        await gateway.append(CALLER, begun, 0, _torn())
    with pytest.raises(IdempotencyConflict):
        await gateway.submit(CALLER, spec, _torn(whole=True), key="known")
    with pytest.raises(IdempotencyConflict):
        await gateway.append(CALLER, begun, 0, _torn(whole=True))
    assert await _used(roomy) == (2, sorted([(begun, 1), (job_id, 1)]))
    assert await roomy.rows("SELECT count(*) FROM payloads") == [(2,)]


async def test_whoever_is_cancelled_while_items_are_stored_leaves_nothing_either(
    roomy: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be cancelled: what it stores must be there before it is removed."""
    await _sent(roomy, things(1), key="known")
    store, storing, go_on = uploading._flush_so_far, threading.Event(), threading.Event()

    def slowly(*given: Any) -> None:
        storing.set()
        go_on.wait(20)
        store(*given)

    monkeypatch.setattr(uploading, "_flush_so_far", slowly)
    spec = JobSpec(operation="stock.create")
    task = asyncio.create_task(roomy.engine.gateway.submit(CALLER, spec, _torn(), key="known"))
    assert await asyncio.to_thread(storing.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    for name in ("uploads", "payloads"):
        assert await roomy.rows(f"SELECT count(*) FROM {name}") == [(1,)]


async def test_what_comes_again_leaves_nothing_where_nothing_is_limited(desk: Desk) -> None:
    gateway = desk.engine.gateway
    draft = (await gateway.open(CALLER, JobSpec(operation="stock.create"), key=None)).job_id
    batch = await _batched(desk, things(2), things(3))
    for _ in range(3):
        await gateway.append(CALLER, draft, 0, lines(things(4)))
        assert await _batched(desk, things(2), things(3)) == batch
    took = sorted([(draft, 4), (f"{batch}-1", 2), (f"{batch}-2", 3)])
    assert sorted((await _used(desk))[1]) == took


async def test_a_part_that_comes_again_by_another_command_leaves_no_copy(keeping: Keeping) -> None:
    """So it is where the decision on the first was forgotten, and of what Kafka brings."""
    stages, spec = keeping.stages, JobSpec(operation="stock.create")
    (await stages.command(OpenJob, "draft", spec=spec)).accepted()
    first, other = (InlineItems(items=({"name": name},)) for name in ("first", "other"))
    for _ in range(3):
        (await stages.command(AppendItems, "draft", part=7, source=first)).accepted()
    refused = await stages.command(AppendItems, "draft", part=7, source=other)
    assert refused.problem is not None
    assert await stages.rows("SELECT job_id, part FROM uploads") == [("draft", 7)]
    ((mine,),) = await stages.rows("SELECT upload_id FROM uploads")
    ((size, sha256),) = await stages.rows("SELECT size, sha256 FROM uploads")
    same = UploadedItems(upload_id=mine, items=1, size=size, sha256=sha256)
    (await stages.command(AppendItems, "draft", part=7, source=same)).accepted()
    assert await stages.rows("SELECT upload_id FROM uploads") == [(mine,)], "it has it"


async def test_what_a_job_takes_from_another_is_not_refused_and_counts(strict: Desk) -> None:
    job_id = await _sent(strict, things(7))
    await strict.settle(job_id)
    after = {"job_id": job_id, "end": "any", "consume": {"name": "name"}}
    spec = JobSpec.model_validate({"operation": "stock.create", "options": {"after": [after]}})
    fed = (await strict.engine.gateway.open(CALLER, spec, key=None)).job_id
    assert (await strict.settle(fed)).counts.total == 7, "more than it may send today"
    found = await strict.engine.database.read(lambda c: usage.before(c, CALLER.tenant, 0, math.inf))
    assert found.items_today == 14
    with pytest.raises(QuotaExceeded, match="may send 0 more items today"):
        await _sent(strict, things(1))


async def test_who_repeats_a_key_is_told_of_the_job_whatever_it_has_used_up(strict: Desk) -> None:
    gateway, spec = strict.engine.gateway, JobSpec(operation="stock.create")
    drafts = [(await gateway.open(CALLER, spec, key=f"{n}")).job_id for n in range(3)]
    assert (await gateway.open(CALLER, spec, key="1")).job_id == drafts[1]
    with pytest.raises(QuotaExceeded):
        await gateway.open(CALLER, spec, key="3")
    for job_id in drafts:
        await gateway.command(CALLER, job_id, "cancel", "")
    job_id = await _sent(strict, things(10), key="all")
    assert await _sent(strict, things(10), key="all") == job_id


class Watch:
    """At any moment."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


def _put(database: Database, upload_id: str, tenant: str, at: datetime, items: int) -> None:
    row = {"upload_id": upload_id, "tenant": tenant, "created_at": at.timestamp()}
    row |= {"items": items, "size": 10 * items, "sha256": "0" * 64, "complete": True}
    key = {"upload_id": upload_id, "algorithm": "none", "key": b""}
    database.write_now(lambda found: found.execute(uploads.insert().values(row)))
    database.write_now(lambda found: found.execute(payload_keys.insert().values(key)))


async def test_a_day_ends_at_midnight_in_utc(shared_database: Database) -> None:
    noon = datetime(2030, 5, 17, 12, tzinfo=UTC)
    _put(shared_database, "u", "daily", noon, 7)
    watch = Watch(noon)
    quotas = QuotaTable(Quotas(items_a_day=10, stored_bytes=100))
    admission = Admission(shared_database, Registry(operations), watch, quotas)

    today = await admission.allowance("daily")
    watch.moment = datetime(2030, 5, 18, 0, 0, 1, tzinfo=UTC)
    tomorrow = await admission.allowance("daily")

    assert (today.items, today.size, today.until) == (3, 30, 43_200)
    assert (tomorrow.items, tomorrow.size) == (10, 30)
    nobody = await shared_database.read(lambda found: usage.before(found, "nobody", 0, math.inf))
    assert (nobody.items_today, nobody.bytes) == (0, 0)


async def test_what_is_older_is_summed_once_a_minute_and_what_is_new_each_time(
    shared_database: Database,
) -> None:
    watch, hour = Watch(datetime(2030, 5, 17, 12, tzinfo=UTC)), timedelta(hours=1)
    quotas = QuotaTable(Quotas(items_a_day=100, stored_bytes=1000))
    admission = Admission(shared_database, Registry(operations), watch, quotas)

    async def left() -> tuple[int | None, int | None]:
        allowed = await admission.allowance("often")
        return allowed.items, allowed.size

    _put(shared_database, "yesterday", "often", watch.moment - 24 * hour, 30)
    _put(shared_database, "early", "often", watch.moment - hour, 20)
    assert await left() == (80, 500)
    _put(shared_database, "unseen", "often", watch.moment - hour, 5)
    _put(shared_database, "now", "often", watch.moment, 10)
    assert await left() == (70, 400), "what other processes have stored now counts at once"
    _put(shared_database, "ahead", "often", watch.moment + hour, 1)
    assert await left() == (69, 390), "whatever the clock of another machine says"
    watch.moment += timedelta(seconds=59)
    assert await left() == (69, 390)
    watch.moment += timedelta(seconds=2)
    assert await left() == (64, 340)
    watch.moment -= hour
    assert await left() == (64, 340), "a clock that is set back"
    watch.moment += 13 * hour
    assert await left() == (100, 340), "another day"


async def test_many_who_ask_at_once_have_the_older_summed_once(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed: list[str] = []
    before = usage.before

    def noted(connection: Connection, tenant: str, *moments: float) -> Usage:
        summed.append(tenant)
        return before(connection, tenant, *moments)

    monkeypatch.setattr(usage, "before", noted)
    watch = Watch(datetime(2030, 5, 17, 12, tzinfo=UTC))
    quotas = QuotaTable(Quotas(items_a_day=100))
    admission = Admission(shared_database, Registry(operations), watch, quotas)
    await asyncio.gather(*(admission.allowance(who) for who in ("one", "two") * 10))
    assert sorted(summed) == ["one", "two"]
    for number in range(TENANTS_KEPT):
        await admission.allowance(f"other {number}")
    assert len(summed) == TENANTS_KEPT + 2
    await admission.allowance("one")
    assert len(summed) == TENANTS_KEPT + 3, "it has forgotten who has not asked for long"


async def test_nobody_else_waits_while_the_older_is_summed_anew(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(datetime(2030, 5, 17, 12, tzinfo=UTC))
    quotas = QuotaTable(Quotas(items_a_day=100))
    admission = Admission(shared_database, Registry(operations), watch, quotas)
    await admission.allowance("large")
    _put(shared_database, "fresh", "large", watch.moment, 10)
    watch.moment += timedelta(seconds=61)
    before, begun, go_on = usage.before, threading.Event(), threading.Event()

    def slow(connection: Connection, tenant: str, *moments: float) -> Usage:
        begun.set()
        assert go_on.wait(60)
        return before(connection, tenant, *moments)

    monkeypatch.setattr(usage, "before", slow)
    unlucky = asyncio.create_task(admission.allowance("large"))
    assert await asyncio.to_thread(begun.wait, 60)
    assert (await admission.allowance("large")).items == 90
    go_on.set()
    assert (await unlucky).items == 90


async def test_a_tenant_may_have_other_quotas(tmp_path: Path) -> None:
    """What is not said of it is as it is for everybody; null is no limit."""
    said = '{"other": {"items_a_day": 2, "stored_bytes": null}, "third": {"open_jobs": 0}}'
    settings = Settings(
        data_dir=tmp_path, quota_items_a_day=10, quota_stored_bytes=1000, quotas=said
    )
    table = settings.quota_table
    assert table.of("local") == Quotas(items_a_day=10, stored_bytes=1000)
    assert table.of("other") == Quotas(items_a_day=2)
    assert table.of("third") == Quotas(items_a_day=10, stored_bytes=1000, open_jobs=0)
    async with embedded(settings, Registry(operations)) as engine:
        desk = Desk(engine)
        await _sent(desk, things(3))
        with pytest.raises(QuotaExceeded, match="may send 2 more items today"):
            await _sent(desk, things(3), OTHERS)
        await _sent(desk, things(2, size=1500), OTHERS)
        with pytest.raises(QuotaExceeded, match="has 0 open jobs"):
            await _sent(desk, things(1), Caller("third", "tim"))
