"""Quotas: what a tenant may have is looked at before it is stored, and others do not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from domain.commands import ArchiveJob, JobSpec
from domain.errors import IdempotencyConflict, QuotaExceeded
from domain.options import JobOptions
from domain.registry import Registry
from domain.steps import BATCH, Step
from streams.admission import Admission
from streams.bootstrap import embedded
from streams.callers import Caller
from streams.quotas import Quotas, QuotaTable
from streams.settings import Settings
from streams.stores import usage
from streams.stores.archives import Stage
from streams.stores.database import Database
from streams.stores.sealing import InstallationKey
from tests.databases import database_url, shared_database
from tests.engine.conftest import CALLER, Desk, lines
from tests.engine.keeping import NAMES, Keeping, kept
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


async def test_what_was_broken_off_takes_its_room_until_it_is_cleaned_up(roomy: Desk) -> None:
    chance = Random(1)

    async def torn() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b'{"name":"' + chance.randbytes(450_000).hex().encode() + b'"}\n'
        raise ConnectionResetError

    gateway, spec = roomy.engine.gateway, JobSpec(operation="stock.create")
    with pytest.raises(ConnectionResetError):
        await gateway.submit(CALLER, spec, torn(), key=None)
    with pytest.raises(QuotaExceeded, match="bytes"):
        await gateway.submit(CALLER, spec, torn(), key=None)
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
    found = await strict.engine.database.read(lambda c: usage.of(c, CALLER.tenant, 0))
    assert found.items_today == 3


@pytest.fixture(params=[None, InstallationKey(bytes(range(32)))], ids=["clear", "sealed"])
def keeping(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Keeping]:
    with Database(database_url, key=request.param) as database:
        yield kept(database, tmp_path)


async def _stored(keeping: Keeping) -> int:
    found = await keeping.stages.database.read(lambda c: usage.of(c, "local", 0))
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
    await _sent(strict, things(1))
    await _sent(strict, things(1))
    with pytest.raises(QuotaExceeded, match="tenant local has 2 open jobs, and may have 3"):
        await _sent_batch(strict, 1)


async def test_what_a_job_takes_from_another_is_not_refused_and_counts(strict: Desk) -> None:
    job_id = await _sent(strict, things(7))
    await strict.settle(job_id)
    after = {"job_id": job_id, "end": "any", "consume": {"name": "name"}}
    spec = JobSpec.model_validate({"operation": "stock.create", "options": {"after": [after]}})
    fed = (await strict.engine.gateway.open(CALLER, spec, key=None)).job_id
    assert (await strict.settle(fed)).counts.total == 7, "more than it may send today"
    found = await strict.engine.database.read(lambda c: usage.of(c, CALLER.tenant, 0))
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


async def test_a_day_ends_at_midnight_in_utc(shared_database: Database) -> None:
    from streams.stores.schema import payload_keys, uploads

    noon = datetime(2030, 5, 17, 12, tzinfo=UTC)
    row = {"upload_id": "u", "tenant": "daily", "created_at": noon.timestamp(), "complete": True}
    row |= {"items": 7, "size": 70, "sha256": "0" * 64}
    key = {"upload_id": "u", "algorithm": "none", "key": b""}
    shared_database.write_now(lambda found: found.execute(uploads.insert().values(row)))
    shared_database.write_now(lambda found: found.execute(payload_keys.insert().values(key)))
    watch = Watch(noon)
    quotas = QuotaTable(Quotas(items_a_day=10, stored_bytes=100))
    admission = Admission(shared_database, Registry(operations), watch, quotas)

    today = await admission.allowance("daily")
    watch.moment = datetime(2030, 5, 18, 0, 0, 1, tzinfo=UTC)
    tomorrow = await admission.allowance("daily")

    assert (today.items, today.size, today.until) == (3, 30, 43_200)
    assert (tomorrow.items, tomorrow.size) == (10, 30)
    nobody = await shared_database.read(lambda found: usage.of(found, "nobody", 0))
    assert (nobody.items_today, nobody.bytes) == (0, 0)


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
