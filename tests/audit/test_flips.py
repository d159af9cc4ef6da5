"""No byte of an audit trail can be another one without being found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from streams.stores import migrate
from streams.stores.audit import Kind
from streams.stores.database import Database, sqlite_url
from tests.audit.flipping import (
    DIGESTED,
    EVENT_COLUMNS,
    Byte,
    Flip,
    as_older_releases_wrote,
    bytes_of,
    flipped,
)
from tests.audit.trail import Trail
from tests.proof.figures import tell

SEED = 20260105


def _all_found(
    trail: Trail, some: list[Byte], chance: random.Random, most: int | None = None
) -> None:
    """Each of them, or the first so many that can be changed."""
    assert trail.verify().sound
    became: Counter[Flip] = Counter()
    for byte in some:
        if became[Flip.ANOTHER] == most:
            break
        with flipped(trail.database, byte, chance) as flip:
            found = not trail.verify().sound
        became[flip] += 1
        # What is as it was must not be taken for tampering either.
        assert found == (flip is Flip.ANOTHER), f"{byte}: {flip}, found {found} (seed {SEED})"
    changed = became[Flip.ANOTHER]
    assert changed > 0.95 * became.total()
    assert most is None or changed == most
    tell(
        "bytes changed one at a time and found",
        changed,
        of=became.total(),
        taken_by_other_rows=became[Flip.TAKEN],
        seed=SEED,
    )
    assert trail.verify().sound, "each byte was put back"


def test_a_sample_of_the_bytes_of_a_job_of_20_events(trail: Trail) -> None:
    """Some of each column; ``make proof`` takes all of them."""
    chance = random.Random(SEED)
    some: list[Byte] = []
    for column in (*EVENT_COLUMNS, *DIGESTED):
        found = bytes_of(trail.database, "job-20", columns=(column,))
        some += chance.sample(found, min(5, len(found)))
    _all_found(trail, some, chance)


def test_what_an_older_release_compressed_is_sound_and_nothing_may_follow_it(trail: Trail) -> None:
    as_older_releases_wrote(trail.database)
    assert trail.verify("job-20").sound
    as_older_releases_wrote(trail.database, behind=b"x")
    found = trail.verify("job-20").findings
    assert {finding.kind for finding in found} == {Kind.PAYLOAD, Kind.OUTCOME}


@pytest.fixture
def unsynced(tmp_path: Path) -> Iterator[Database]:
    """A SQLite file that is written some ten thousand times and needs no durability."""
    with Database(sqlite_url(tmp_path / "countermand.db")) as database:
        event.listen(
            database.engine,
            "connect",
            lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"),
        )
        migrate.upgrade(database)
        yield database


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_every_byte_of_a_job_of_20_events(unsynced: Database, tmp_path: Path) -> None:
    trail = Trail(unsynced, tmp_path)
    trail.work(trail.submit("job-20", 90), wrong=1)
    assert trail.verify().events == 20
    everything = bytes_of(unsynced, "job-20", columns=(*EVENT_COLUMNS, *DIGESTED))
    assert len(everything) > 10_000
    _all_found(trail, everything, random.Random(SEED))


def _large(database: Database, folder: Path, chunks: int) -> Trail:
    trail = Trail(database, folder)
    trail.work(trail.submit("large", chunks * 10))
    assert trail.verify().events == 2 + 2 * chunks
    return trail


def _random_bytes_found(trail: Trail, count: int) -> None:
    chance = random.Random(SEED)
    everything = bytes_of(trail.database, "large", columns=(*EVENT_COLUMNS, *DIGESTED))
    _all_found(trail, chance.sample(everything, len(everything)), chance, count)


def test_random_bytes_of_a_larger_job(unsynced: Database, tmp_path: Path) -> None:
    _random_bytes_found(_large(unsynced, tmp_path, 50), 40)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_thousand_random_bytes_of_a_job_of_1000_chunks(
    unsynced: Database, tmp_path: Path
) -> None:
    _random_bytes_found(_large(unsynced, tmp_path, 1000), 1000)
