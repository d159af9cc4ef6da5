"""What a benchmark has timed is a figure only if the work was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import material
from benchmarks.over_kafka import annotated
from benchmarks.places import SqlitePlace
from benchmarks.server import Followed, running

pytestmark = pytest.mark.slow


def test_a_job_whose_items_did_not_succeed_is_no_figure() -> None:
    followed = Followed("one", 0.1, 0.2, 0.3, {"total": 3, "succeeded": 2, "failed": 1})
    assert followed.require(2) is followed
    with pytest.raises(RuntimeError, match="job one: 2 of its items have succeeded, not 3"):
        followed.require(3)


async def test_small_and_large_jobs_that_failed_are_refused(tmp_path: Path) -> None:
    path = material.written(tmp_path, 200)
    with SqlitePlace(tmp_path).fresh() as site:
        async with running(site.folder, COUNTERMAND_DATABASE=site.url) as server:
            body = {"operation": "annotations.create_projects", "items": [{"name": "one"}]}
            assert (await server.submit(body)).counts["succeeded"] == 1
            body["items"] = [{"name": "one"}, {"name": ""}]
            with pytest.raises(RuntimeError, match="1 of its items have succeeded, not 2"):
                await server.submit(body)
            assert await annotated(server, path, 200) > 0
            with pytest.raises(RuntimeError, match="198 of its items have succeeded, not 297"):
                await annotated(server, path, 300)
