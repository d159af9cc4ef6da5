"""The chain of a job over HTTP: its hashes, and what is found when a stored byte is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from streams.stores.events import events
from tests.api.engines import in_one_part
from tests.api.shop import Shop


@pytest.fixture
async def shop(data_dir: Path) -> AsyncIterator[Shop]:
    async with Shop(in_one_part(data_dir)) as served:
        yield served


async def test_a_job_is_verified_and_what_was_changed_is_found(shop: Shop) -> None:
    job = await shop.settled(await shop.create(3))
    where = job["links"]["self"]
    told = (await shop.get(f"{where}/events", headers={"Accept": "application/json"}))["items"]
    first = await shop.get(f"{where}/hashes", params={"limit": 1})
    rest = await shop.get(f"{where}/hashes", params={"after": first["next_after"]})
    chain = first["items"] + rest["items"]
    assert [each["version"] for each in chain] == [each["version"] for each in told]
    assert rest["next_after"] is None
    assert len({each["hash"] for each in chain}) == len(chain)

    said = await shop.get(f"{where}/verification")
    assert (said["sound"], said["signed"], said["findings"]) == (True, True, [])
    assert (said["events"], said["outcomes"]) == (len(told), 1)

    forged = update(events).where(events.c.job_id == job["job_id"], events.c.version == 1)
    await shop.engine.database.write(lambda found: found.execute(forged.values(actor="mallory")))
    said = await shop.get(f"{where}/verification")
    assert not said["sound"]
    assert [(each["kind"], each["version"]) for each in said["findings"]] == [("event_changed", 1)]
