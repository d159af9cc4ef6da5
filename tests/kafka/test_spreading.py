"""What each slot of a worker holds is told, so that work goes to whoever has the least."""

from __future__ import annotations

import asyncio
import json
from itertools import chain

from streams import topics
from tests.kafka.installation import PARTITIONS, Installation

PATIENCE = 30.0


async def test_two_slots_say_which_partitions_each_of_them_holds(
    installation: Installation,
) -> None:
    topic = topics.work("annotations")
    async with asyncio.timeout(PATIENCE):
        while True:
            said = await asyncio.to_thread(installation.text, "SELECT max(holds) FROM workers")
            slots = [slot.get(topic, []) for slot in json.loads(said or "[]")]
            if sorted(chain.from_iterable(slots)) == list(range(PARTITIONS)):
                break
            await asyncio.sleep(0.2)
    assert [len(slot) for slot in slots] == [PARTITIONS // 2, PARTITIONS // 2]
