"""Large items: a chunk holds so many bytes and no more, whoever has said how many items."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.planning import MOST_BYTES
from domain.registry import Registry
from streams.stores import migrate
from streams.stores.database import Database
from tests.databases import database, database_url
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

__all__ = ["database", "database_url"]

MANY, LARGE = 200, 100_000


@pytest.mark.parametrize("options", [{}, {"chunk_size": 150}, {"chunk_size": 150, "atomic": True}])
async def test_items_of_100_kb_are_cut_by_their_bytes(
    database: Database, options: dict[str, Any]
) -> None:
    migrate.create_missing(database, [stock])
    stages = Stages(database, Registry(operations))
    # The column is too short for such a name: each fails, and is told of, by itself.
    items = [{"name": "!" * LARGE, "amount": n} for n in range(MANY)]
    job_id = await stages.submit("stock.create", items, options=options)
    await stages.mend()
    job = await stages.job(job_id)
    assert job.counts.failed == MANY
    rows = await stages.rows(f"SELECT items FROM chunks WHERE job_id = '{job_id}'")
    sizes = [sum(end - start for start, end in orjson.loads(spans)) for (spans,) in rows]
    assert sum(sizes) == MANY
    assert max(sizes) <= MOST_BYTES / LARGE
