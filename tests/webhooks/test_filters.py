"""Filters by what a job is, where its first event, which tells that, cannot be read."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from domain.errors import Unavailable
from streams.stores.schema import events
from tests.databases import damage
from tests.webhooks.receiver import PostOffice, Receiver


def _rewrite(office: PostOffice, job_id: str, **columns: object) -> None:
    """The first event of a job is another one."""
    first = (events.c.job_id == job_id) & (events.c.version == 1)
    damage(office.stages.database, update(events).where(first).values(**columns))


async def test_a_job_of_a_later_release_is_waited_for_until_the_upgrade(
    office: PostOffice, receiver: Receiver
) -> None:
    hook = await office.hook(receiver.url, operations=["stock.*"])
    newer = await office.job("newer")
    after = await office.job("after")
    _rewrite(office, newer, alias="job.teleported")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"webhooks stand still: .*later release"):
            await office.courier.look()
    assert await office.states(hook.row.webhook_id) == []

    _rewrite(office, newer, alias="job.submitted")
    await office.look(3)

    assert [one.document["data"]["job_id"] for one in receiver.got] == [newer, after]


@pytest.mark.parametrize("columns", [{"state": b"{"}, {"alias": "job.paused"}])
async def test_a_damaged_job_is_said_once_and_keeps_no_other(
    office: PostOffice, receiver: Receiver, columns: dict[str, object]
) -> None:
    for filters in ({"operations": ["stock.*"]}, {"tags": ["t"]}):
        await office.hook(receiver.url, "*", **filters)
    sick = await office.job("sick", tags=["t"])
    well = await office.job("well", tags=["t"])
    _rewrite(office, sick, **columns)
    with capture_logs() as logs:
        await office.look(3)

    (first,) = await office.stages.rows(f"SELECT min(id) FROM events WHERE job_id = '{sick}'")
    assert len(await office.stages.kinds(sick)) > 1
    (said,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (said["event"], said["job_id"], said["position"]) == ("event_not_sent", sick, *first)
    assert f"version 1 of job {sick}" in said["reason"]
    assert {one.document["data"]["job_id"] for one in receiver.got} == {well}
    assert len(receiver.got) == 2 * len(await office.stages.kinds(well))
