"""Keys of items: which of those called the same is worked, and how an item is found by its own."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, text

from domain.commands import AppendItems, InlineItems, JobSpec, OpenJob, SealJob
from domain.errors import InvalidCommand
from domain.events import JobStatus
from domain.options import Duplicates
from domain.outcomes import ItemStatus
from domain.ranges import Ranges
from domain.registry import Registry
from streams.items import ItemView, Wanted
from streams.stores import keys, migrate, payloads
from streams.stores.database import Database
from streams.stores.decisions import Decision
from tests.databases import database, database_url
from tests.engine.conftest import CALLER, Desk, lines
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

THINGS = [{"name": name} for name in ("a", "b", "a", "c", "b", "a", "!", "!")]
KEYED = {"key": "/name", "duplicates": "first"}


def body(items: Sequence[Any]) -> bytes:
    """Items as they are sent."""
    return b"".join(orjson.dumps(item) + b"\n" for item in items)


async def _items(desk: Desk, job_id: str, **wanted: Any) -> list[ItemView]:
    found = desk.engine.queries.items("local", job_id, Wanted(**wanted))
    return [view async for view in found]


@pytest.mark.parametrize(("rule", "worked"), [("first", [0, 1, 3, 6]), ("last", [3, 4, 5, 7])])
async def test_one_of_each_key_is_worked_and_the_others_say_which(
    desk: Desk, rule: str, worked: list[int]
) -> None:
    options = {"key": "/name", "duplicates": rule}
    job = await desk.settle(await desk.submit("stock.create", THINGS, options=options))
    assert (job.counts.succeeded, job.counts.failed, job.counts.skipped) == (3, 1, 4)
    views = await _items(desk, job.id)
    assert [v.position for v in views if v.status is not ItemStatus.SKIPPED] == worked
    skipped = await _items(desk, job.id, code="duplicate")
    assert [view.position for view in skipped] == sorted(set(range(8)) - set(worked))
    assert all(view.error is not None and view.chunk is None for view in skipped)
    second = next(view for view in skipped if view.item == {"name": "a"})
    assert second.error is not None
    winner = 0 if rule == "first" else 5
    assert second.error.message == f"item {winner} has the same key, and is worked instead"


async def test_an_item_and_its_past_have_numbers_with_all_their_digits(desk: Desk) -> None:
    number = b"340282366920938463463374607431768211455"
    item = {"name": "x", "serial": orjson.Fragment(number)}
    job = await desk.settle(await desk.submit("stock.create", [item]))
    (view,) = await _items(desk, job.id)
    past = await desk.engine.queries.item_past("local", job.id, 0)
    assert [orjson.dumps(each) for each in (view.item, *past.bodies)] == [orjson.dumps(item)] * 2


async def test_an_item_is_found_by_its_key_whatever_became_of_it(desk: Desk) -> None:
    job = await desk.settle(await desk.submit("stock.create", THINGS, options=KEYED))
    assert [v.position for v in await _items(desk, job.id, key="a")] == [0, 2, 5]
    assert [v.position for v in await _items(desk, job.id, key='"!"')] == [6, 7]
    failed = await _items(desk, job.id, key="!", statuses=frozenset({ItemStatus.FAILED}))
    assert [v.position for v in failed] == [6]
    assert await _items(desk, job.id, key="nobody") == []
    plain = await desk.settle(await desk.submit("stock.create", THINGS))
    with pytest.raises(InvalidCommand, match="have no keys"):
        await _items(desk, plain.id, key="a")


async def test_duplicates_are_refused_unless_a_rule_is_said(desk: Desk) -> None:
    with pytest.raises(InvalidCommand) as refused:
        await desk.submit("stock.create", THINGS, options={"key": "/name"})
    assert refused.value.pointer == "/items/2"
    assert "2 (as 0), 4 (as 1), 5 (as 0), 7 (as 6); send each once" in refused.value.message
    many = [{"name": "a"}] * 40
    with pytest.raises(InvalidCommand, match="10 \\(as 0\\) and 29 more"):
        await desk.submit("stock.create", many, options={"key": "/name"})
    assert await desk.rows("SELECT job_id FROM job_control") == []
    job = await desk.settle(await desk.submit("stock.create", THINGS[:2], options={"key": "/name"}))
    assert job.counts.succeeded == 2


async def test_items_without_the_key_equal_none(desk: Desk) -> None:
    items = [{"name": "x"}, {"amount": 1}, {"amount": 1}, {"name": None}, "text", "text"]
    job = await desk.settle(await desk.submit("stock.create", items, options=KEYED))
    assert (job.counts.succeeded, job.counts.failed, job.counts.skipped) == (1, 5, 0)


async def test_a_draft_is_judged_at_its_seal_over_all_of_its_parts(desk: Desk) -> None:
    gateway = desk.engine.gateway
    spec = JobSpec(operation="stock.create", options={"key": "/name"})  # type: ignore[arg-type]  # read by pydantic
    draft = (await gateway.open(CALLER, spec, key=None)).job_id
    await gateway.append(CALLER, draft, 0, lines([{"name": "a"}, {"name": "b"}]))
    await gateway.append(CALLER, draft, 1, lines([{"name": "c"}, {"name": "a"}]))
    with pytest.raises(InvalidCommand, match=r"3 \(as 0\)"):
        await gateway.seal(CALLER, draft, None)
    assert (await desk.job(draft)).status is JobStatus.DRAFT
    spec = JobSpec(operation="stock.create", options={"key": "/name", "duplicates": "last"})  # type: ignore[arg-type]  # read by pydantic
    draft = (await gateway.open(CALLER, spec, key=None)).job_id
    await gateway.append(CALLER, draft, 0, lines([{"name": "a"}, {"name": "b"}]))
    await gateway.append(CALLER, draft, 1, lines([{"name": "c"}, {"name": "a"}]))
    with pytest.raises(InvalidCommand, match="the seal says 9"):
        await gateway.seal(CALLER, draft, 9)
    await gateway.seal(CALLER, draft, None)
    job = await desk.settle(draft)
    assert (job.counts.succeeded, list(job.repeated)) == (3, [0])


async def test_strangers_items_have_keys_as_well(database: Database) -> None:
    """Commands that no gateway has sent."""
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    job_id = await stages.submit("stock.create", THINGS, options=KEYED)
    assert (await stages.job(job_id)).counts.skipped == 4
    draft = stages.ids.new()
    spec = {"operation": "stock.create", "options": KEYED}
    await stages.command(OpenJob, draft, spec=spec)
    for part in (0, 1):
        source = InlineItems(items=tuple(THINGS[:3]))
        await stages.command(AppendItems, draft, part=part, source=source)
    await stages.command(SealJob, draft)
    assert list((await stages.job(draft)).repeated) == [2, 3, 4, 5]


async def test_a_part_that_is_refused_leaves_no_keys(database: Database) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    draft, upload_id = stages.ids.new(), "early"
    spec = {"operation": "stock.create", "options": KEYED}
    await stages.command(OpenJob, draft, spec=spec)
    cutter = payloads.PartCutter()
    parts = [*cutter.feed(body(THINGS[:3])), *cutter.finish()]
    upload = cutter.upload(upload_id)
    whole = payloads.store_whole
    await stages.database.write(lambda c: whole(c, upload, "local", 0.0, parts))

    async def append(sha256: str) -> Decision:
        source = upload.model_copy(update={"sha256": sha256})
        return await stages.command(AppendItems, draft, part=0, source=source)

    assert (await append("0" * 64)).problem is not None
    assert await stages.rows("SELECT * FROM item_keys") == []
    assert (await append(upload.sha256)).problem is None
    assert await stages.rows("SELECT count(*) FROM item_keys") == [(3,)]


async def test_keys_by_another_pointer_go_before_others_come(database: Database) -> None:
    cutter = payloads.PartCutter()
    parts = [*cutter.feed(body([{"a": 1, "b": 1}, {"a": 2, "b": 1}])), *cutter.finish()]
    upload, whole = cutter.upload("twice"), payloads.store_whole

    def keyed(pointer: str) -> int | None:
        def ensure(connection: Connection) -> int | None:
            keys.ensure_keys(connection, upload.upload_id, pointer)
            found = connection.execute(text("SELECT count(DISTINCT digest) FROM item_keys"))
            return found.scalar()

        return database.write_now(ensure)

    database.write_now(lambda c: whole(c, upload, "local", 0.0, parts))
    assert [keyed(pointer) for pointer in ("/a", "/b", "/b", "/a")] == [2, 1, 1, 2]


async def test_a_key_that_is_hardly_one_is_refused(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", THINGS, options=KEYED)
    first, mine = Duplicates.FIRST, keys.of_job(job_id)

    def settle(most: int) -> Ranges:
        return desk.engine.database.write_now(
            lambda c: keys.settle_repeats(c, job_id, mine, "/name", first, most=most)
        )

    assert len(settle(4)) == 4
    with pytest.raises(InvalidCommand, match="name another key") as refused:
        settle(3)
    assert refused.value.pointer == "/options/key"


async def test_a_large_upload_takes_no_more_memory_for_its_keys(desk: Desk) -> None:
    """It streams: parts with their keys are stored as they come."""
    count = 60_000

    async def sent() -> AsyncIterator[bytes]:
        for first in range(0, count, 500):
            numbers = range(first, first + 500)
            yield b"".join(orjson.dumps({"number": n % 59_000}) + b"\n" for n in numbers)

    spec = JobSpec(operation="stock.send", options={**KEYED, "key": "/number"})  # type: ignore[arg-type]  # read by pydantic
    tracemalloc.start()
    try:
        decision = await desk.engine.gateway.submit(CALLER, spec, sent(), key=None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    job = await desk.job(decision.job_id)
    assert job.counts.skipped == 1000
    assert job.repeated.spans == ((59_000, 60_000),)
    assert peak < 16_000_000, f"{peak} bytes"


async def test_keys_go_with_an_upload_that_nobody_claims(desk: Desk) -> None:
    with pytest.raises(InvalidCommand):
        await desk.submit("stock.create", [{"name": "x" * 40_000}] * 2, options={"key": "/name"})
    assert await desk.rows("SELECT position FROM item_keys") != []
    await desk.engine.database.write(lambda c: payloads.remove_unclaimed(c, 4e9))
    assert await desk.rows("SELECT position FROM item_keys") == []


async def test_keys_that_differ_in_their_last_digit_are_two(desk: Desk) -> None:
    large = [340282366920938463463374607431768211455, 340282366920938463463374607431768211454]

    async def sent() -> AsyncIterator[bytes]:
        yield b"".join(b'{"name": %d}\n' % number for number in [*large, large[0]])

    spec = JobSpec.model_validate({"operation": "stock.create", "options": KEYED})
    decision = await desk.engine.gateway.submit(CALLER, spec, sent(), key=None)
    job = await desk.settle(decision.job_id)
    assert list(job.repeated) == [2]
    found = await _items(desk, job.id, key=str(large[1]))
    assert [view.position for view in found] == [1]
