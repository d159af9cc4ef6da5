"""What was sent to a job is gone once it is shredded, and everything else holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from domain.errors import InvalidCommand, NotReversible, WrongState
from domain.events import JobStatus
from domain.job import Job
from domain.options import JobOptions
from streams.diffs import Run
from streams.items import ItemView
from streams.stores import audit, sealing
from streams.stores.audit.verify import verify
from streams.stores.records import marks
from streams.stores.schema import payload_keys, payloads
from streams.stores.schema_items import item_keys
from tests.engine.conftest import CALLER, Desk

NAMES = [{"name": f"n{n}"} for n in range(30)]


async def _said(desk: Desk, job_id: str) -> list[ItemView]:
    return [view async for view in desk.engine.queries.items("local", job_id)]


async def _shredded(desk: Desk, operation: str = "stock.create") -> Job:
    items = NAMES if operation == "stock.create" else [{"n": n} for n in range(3)]
    job_id = await desk.submit(operation, items)
    await desk.settle(job_id)
    await _tell(desk, job_id, "shred", "a customer asked")
    return await desk.job(job_id)


async def _tell(desk: Desk, job_id: str, verb: str, reason: str) -> None:
    await desk.engine.gateway.command(CALLER, job_id, verb, reason)  # type: ignore[arg-type]


async def test_who_and_why_is_told_and_nothing_else_of_the_job_changes(desk: Desk) -> None:
    job = await _shredded(desk)
    assert job.status is JobStatus.COMPLETED
    assert job.counts.succeeded == len(NAMES)
    assert job.shredded is not None
    assert (job.shredded.by, job.shredded.reason) == ("tester", "a customer asked")


async def test_the_items_are_gone_and_what_became_of_them_is_not(desk: Desk) -> None:
    job = await _shredded(desk)
    views = await _said(desk, job.id)
    assert [(view.item, view.shredded, view.status.value) for view in views] == [
        (None, True, "succeeded")
    ] * len(NAMES)
    past = await desk.engine.queries.item_past("local", job.id, 3)
    assert (past.bodies, len(past.attempts)) == ([], 1)


async def test_neither_key_nor_contents_are_left(desk: Desk) -> None:
    other = await desk.submit("stock.create", NAMES)
    await desk.settle(other)
    await _shredded(desk)
    keys = await desk.engine.database.read(
        lambda c: c.execute(select(payload_keys.c.algorithm, payload_keys.c.key)).all()
    )
    parts = await desk.engine.database.read(lambda c: c.scalars(select(payloads.c.data)).all())
    gone = [bytes(key) for algorithm, key in keys if algorithm == sealing.SHREDDED]
    assert gone == [b""]
    assert sorted(bool(data) for data in parts) == [False, True]
    assert all(view.item for view in await _said(desk, other))


async def test_what_items_were_called_is_gone_too(desk: Desk) -> None:
    options = JobOptions(key="/name")
    job_id = await desk.submit("stock.create", NAMES, options=options)
    await desk.settle(job_id)
    assert len(await _digests(desk)) == len(NAMES)
    await _tell(desk, job_id, "shred", "asked")
    assert await _digests(desk) == []


async def test_what_items_have_said_of_themselves_is_gone_too(desk: Desk) -> None:
    other = await desk.submit("stock.create", NAMES)
    job_id = await desk.submit("stock.create", NAMES)
    for job in (other, job_id):
        await desk.settle(job)
        await desk.engine.database.write(partial(_say, job))
    await _tell(desk, job_id, "shred", "asked")
    assert await desk.rows("SELECT job_id, mark FROM item_marks") == [(other, "n1 in 1:PERSON")]


def _say(job_id: str, connection: Connection) -> None:
    """As an operation does that asks whether an item is the first that says so."""
    marks.first_of(connection, job_id, {"n1 in 1:PERSON": 1})


async def _digests(desk: Desk) -> Sequence[bytes]:
    return await desk.engine.database.read(lambda c: c.scalars(select(item_keys.c.digest)).all())


async def test_what_was_never_sealed_is_shredded_as_well(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", NAMES)
    await desk.settle(job_id)
    plain = update(payload_keys).values(algorithm=sealing.PLAIN, key=b"")
    await desk.engine.database.write(lambda c: c.execute(plain))
    await _tell(desk, job_id, "shred", "asked")
    parts = await desk.engine.database.read(lambda c: c.scalars(select(payloads.c.data)).all())
    assert [bytes(data) for data in parts] == [b""]


async def test_the_audit_trail_holds_and_tells_a_shredding_that_nobody_has_decided(
    desk: Desk, tmp_path: Path
) -> None:
    job = await _shredded(desk)
    database = desk.engine.database
    key = audit.AuditKey.load(tmp_path / "audit.key")
    heads = audit.HeadsFile(tmp_path / "heads", key)
    assert verify(database, heads, job_id=job.id).findings == []

    with (tmp_path / "archive").open("w+b") as file:
        audit.write_archive(database, heads, job.id, file)
        file.seek(0)
        assert audit.verify_archive(file, key).findings == []

    other = await desk.submit("stock.create", NAMES)
    await desk.settle(other)
    await database.write(lambda c: sealing.shred(c, other))
    (finding,) = verify(database, heads, job_id=other).findings
    assert (finding.kind, finding.job_id) == (audit.Kind.PAYLOAD, other)
    assert "no event says so" in finding.message


async def test_an_undo_by_before_images_needs_nothing_of_it(desk: Desk) -> None:
    job = await _shredded(desk)
    await desk.command(job.id, "undo")
    assert (await desk.settle(job.id)).counts.rolled_back == len(NAMES)
    assert await desk.rows("SELECT count(*) FROM stock") == [(0,)]


async def test_an_undo_by_the_operations_own_inverse_is_refused_with_the_reason(desk: Desk) -> None:
    job = await _shredded(desk, "stock.send")
    with pytest.raises(NotReversible, match=r"shredded by tester \(a customer asked\)"):
        await desk.command(job.id, "undo")


async def test_what_is_held_or_has_no_reason_is_not_shredded(desk: Desk) -> None:
    job_id = await desk.submit("stock.create", NAMES)
    await desk.settle(job_id)
    with pytest.raises(InvalidCommand, match="say why"):
        await _tell(desk, job_id, "shred", "")
    await _tell(desk, job_id, "hold", "case 17")
    with pytest.raises(WrongState, match=r"held by tester \(case 17\)"):
        await _tell(desk, job_id, "shred", "asked")
    assert all(view.item for view in await _said(desk, job_id))
    await _tell(desk, job_id, "release", "closed")
    await _tell(desk, job_id, "shred", "asked")
    assert not any(view.item for view in await _said(desk, job_id))


async def test_a_comparison_by_key_is_refused_and_one_by_position_is_not(desk: Desk) -> None:
    job = await _shredded(desk)
    run = Run(job.id)
    assert not (await desk.engine.queries.diff_summary("local", run, run)).moves
    with pytest.raises(WrongState, match="nobody can read it any more"):
        await desk.engine.queries.diff_summary("local", run, run, key="/name")


async def test_failed_items_cannot_be_retried_any_more(desk: Desk) -> None:
    job_id = await desk.submit("stock.add", [{"id": 1, "amount": 1}])
    assert (await desk.settle(job_id)).status is JobStatus.FAILED
    await _tell(desk, job_id, "shred", "asked")
    with pytest.raises(WrongState, match="items were shredded by tester"):
        await desk.command(job_id, "retry")
