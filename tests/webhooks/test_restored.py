"""After a restore to an older point no message comes under the id of one that was sent."""

from __future__ import annotations

import re
from pathlib import Path

from streams.stores.database import Database
from tests.databases import damage
from tests.webhooks.receiver import PostOffice, Receiver

GUIDE = Path(__file__).parents[2] / "docs" / "running.md"
STEP = {
    "postgresql": r"^(SELECT setval\(.*);",
    "sqlite": r"^sqlite3 countermand.db \"(UPDATE sqlite_sequence .*)\"",
}
BACK = {
    "postgresql": "SELECT setval(pg_get_serial_sequence('events', 'id'), {last})",
    "sqlite": "UPDATE sqlite_sequence SET seq = {last} WHERE name = 'events'",
}


def _kind(database: Database) -> str:
    return database.url.get_backend_name()


def _restored(database: Database, last: int) -> None:
    """As it was when that was the last event, as far as webhooks go by it."""
    damage(database, f"DELETE FROM webhook_deliveries WHERE position > {last}")
    damage(database, f"DELETE FROM events WHERE id > {last}")
    damage(database, f"UPDATE positions SET position = {last} WHERE reader = 'webhooks'")
    damage(database, BACK[_kind(database)].format(last=last))


async def test_the_step_of_the_guide_gives_no_message_an_id_that_was_sent(
    office: PostOffice, receiver: Receiver, database: Database
) -> None:
    await office.hook(receiver.url)
    await office.job("before")
    await office.look(2)
    last = (await office.stages.rows("SELECT max(id) FROM events"))[0][0]
    await office.job("of the lost time")
    await office.look(2)
    assert len(receiver.ids) == 2

    _restored(database, last)
    (step,) = re.findall(STEP[_kind(database)], GUIDE.read_text(), re.MULTILINE)
    damage(database, step)
    office.restart()
    await office.job("another one instead")
    await office.look(2)
    assert len(set(receiver.ids)) == 3
