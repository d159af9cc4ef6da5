"""History and blame of records that jobs wrote."""

from __future__ import annotations

import pytest

from domain.errors import RecordNotFound
from tests.engine.conftest import Desk


async def test_each_job_is_in_the_past_of_its_record(desk: Desk) -> None:
    made = await desk.submit("stock.create", [{"name": "bolt", "amount": 5}])
    await desk.settle(made)
    ((key,),) = await desk.rows("SELECT id FROM stock")
    added = await desk.submit("stock.add", [{"id": key, "amount": 2}, {"id": key, "amount": 3}])
    await desk.settle(added)
    await desk.command(added, "undo")
    await desk.settle(added)
    queries = desk.engine.queries

    versions, following = await queries.history("local", "stock", key, limit=10)
    assert following is None
    assert [
        (version.write.version, version.write.writer.job_id, version.write.cause)
        for version in versions
    ] == [(4, added, "rollback"), (3, added, "apply"), (2, added, "apply"), (1, made, "apply")]
    amounts = [version.changed["amount"].after for version in versions if version.changed]
    assert amounts == [5, 10, 7, 5]
    assert versions[0].changed is not None
    assert versions[0].changed.keys() == {"amount"}

    standing = await queries.blame("local", "stock", key)
    assert {name: one.write.writer.job_id for name, one in standing.columns.items()} == {
        "name": made,
        "amount": added,
    }
    assert standing.columns["amount"].write.version == 4

    removed = await desk.submit("stock.remove", [{"id": key, "amount": 0}])
    await desk.settle(removed)
    standing = await queries.blame("local", "stock", key)
    assert (standing.last.deleted, dict(standing.columns)) == (True, {})
    assert await queries.history("local", "stock", key, cursor=1, limit=10) == ([], None)


async def test_what_was_never_there_is_not_found(desk: Desk) -> None:
    await desk.settle(await desk.submit("stock.create", [{"name": "bolt"}]))
    ((key,),) = await desk.rows("SELECT id FROM stock")
    queries = desk.engine.queries
    with pytest.raises(RecordNotFound, match="possible: stock"):
        await queries.history("local", "shelf", key, limit=1)
    for tenant, record in (("other", key), ("local", key + 1)):
        with pytest.raises(RecordNotFound, match="never"):
            await queries.history(tenant, "stock", record, limit=1)
        with pytest.raises(RecordNotFound, match="never"):
            await queries.blame(tenant, "stock", record)
