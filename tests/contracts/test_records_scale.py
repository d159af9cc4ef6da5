"""Undo of a large job with conflicts: all are named, all others are as they were.

The ceilings are generous: they catch a query that walks the whole history, not a busy
machine.
"""

from __future__ import annotations

import random
import time

from domain.outcomes import Conflicted, Restored, UndoResult
from domain.records import Change, Deletion
from streams.stores.database import Database
from streams.stores.records import Ahead, restore
from tests.contracts import records as given
from tests.contracts.records import add, contents, gadget, gadgets, hand, job, metadata, writing

TOTAL, CHUNK, LATER = 10_000, 1_000, 137
CEILING = 30.0


def test_ten_thousand_updates_of_which_137_were_changed_later(database: Database) -> None:
    database.write_now(metadata.create_all)
    ids: list[int] = []
    for chunk in range(TOTAL // CHUNK):
        with writing(database, hand("maker")) as records:
            rows = [gadget(n, photo=b"") for n in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
            ids += add(records, rows)
    before = contents(database)
    images = [_update(database, ids, chunk) for chunk in range(TOTAL // CHUNK)]
    who = _change_later(database, random.Random(7).sample(ids, LATER))
    later = contents(database)
    started = time.monotonic()
    results: dict[int, UndoResult] = {}
    for chunk in reversed(range(TOTAL // CHUNK)):
        results |= _undo(database, images[chunk], chunk)
    assert time.monotonic() - started < CEILING
    conflicts = {ids[p]: found for p, found in results.items() if isinstance(found, Conflicted)}
    assert {key: found.by for key, found in conflicts.items()} == who
    assert all(found.record == f"gadgets/{key}" for key, found in conflicts.items())
    assert sum(found == Restored() for found in results.values()) == TOTAL - LATER
    after = contents(database)
    for key in ids:
        assert after.get(key) == (later.get(key) if key in who else before[key])


def _update(database: Database, ids: list[int], chunk: int) -> bytes:
    with writing(database, job(chunk)) as records:
        changes = [
            Change(ids[p], {"order": 1, "weight": p / 3, "notes": None}, position=p)
            for p in range(chunk * CHUNK, (chunk + 1) * CHUNK)
        ]
        records.update(gadgets, changes)
        images = records.encoded_images()
    assert images is not None
    return images


def _change_later(database: Database, drawn: list[int]) -> dict[int, str]:
    """By another job, by single edits, and by deletion; returns who touched what last."""
    by_job, by_hand, deleted = drawn[:50], drawn[50:100], drawn[100:]
    with writing(database, job(3, job_id="job-2")) as records:
        records.update(gadgets, [Change(key, {"order": 2}) for key in by_job])
    for key in by_hand:
        with writing(database, hand("anna")) as records:
            records.update(gadgets, [Change(key, {"notes": "mine"})])
    with writing(database, hand("bert")) as records:
        records.delete(gadgets, [Deletion(key) for key in deleted])
    return (
        dict.fromkeys(by_job, "job-2")
        | dict.fromkeys(by_hand, "anna")
        | dict.fromkeys(deleted, "bert")
    )


def _undo(database: Database, images: bytes, chunk: int) -> dict[int, UndoResult]:
    return database.write_now(
        lambda connection: restore(
            Ahead(connection, metadata.tables, given.TENANT),
            images,
            job(100 + chunk, generation=1),
            given.NOW,
            target=job(chunk),
        )
    ).results
