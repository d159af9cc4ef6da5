"""The grouped errors are those of the items as they stand, and cost one look at the ledgers."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from domain.events import Cause, PlannedChunk
from domain.outcomes import Done, Failed, ItemStatus, Result
from domain.ranges import Ranges
from streams.items import Wanted
from streams.stores import migrate
from streams.stores.chunks import Control, dispatch, insert_control
from streams.stores.database import Database, sqlite_url
from streams.stores.error_groups import ErrorGroup, group_errors
from streams.stores.faults import MAX_GROUPS, OTHERS, Grouping, signature
from streams.stores.ledger import encode_results
from streams.stores.outcomes import OutcomeRow, insert_outcomes, summary_of
from streams.stores.schema import chunk_faults, outcomes
from tests.databases import sqlite_database
from tests.engine.conftest import Desk, database_url, desk, settings

__all__ = ["database_url", "desk", "settings", "sqlite_database"]


FAILED = Wanted(frozenset({ItemStatus.FAILED}))


async def grouped(desk: Desk, job_id: str) -> dict[tuple[str, str], ErrorGroup]:
    groups = await desk.engine.queries.errors("local", job_id)
    assert [group.count for group in groups] == sorted((g.count for g in groups), reverse=True)
    return {(group.code, group.signature): group for group in groups}


async def by_items(desk: Desk, job_id: str) -> Counter[tuple[str, str]]:
    """The same counts, from the items one by one."""
    counts: Counter[tuple[str, str]] = Counter()
    async for view in desk.engine.queries.items("local", job_id, FAILED):
        assert view.error is not None
        counts[view.error.code, signature(view.error.message)] += 1
    return counts


async def test_an_item_counts_by_the_latest_word_on_it(desk: Desk) -> None:
    additions = [{"id": n, "amount": 1} for n in range(1, 41)]
    additions[3] = {"id": 1, "amount": "much"}
    job_id = await desk.submit("stock.add", additions, options={"chunk_size": 7})
    assert (await desk.settle(job_id)).counts.failed == 40
    first = await grouped(desk, job_id)
    assert first["missing", "there is no thing …"].count == 39
    await desk.settle(await desk.submit("stock.create", [{"name": "x"}] * 20))
    await desk.command(job_id, "retry")
    job = await desk.settle(job_id)
    found = await grouped(desk, job_id)
    assert {key: group.count for key, group in found.items()} == await by_items(desk, job_id)
    assert sum(group.count for group in found.values()) == job.counts.failed == 21
    samples = found["missing", "there is no thing …"].samples
    assert samples == [
        {"item": n, "message": f"there is no thing {n + 1}", "pointer": "/id"} for n in (20, 21, 22)
    ]
    await desk.command(job_id, "undo")
    assert (await desk.settle(job_id)).counts.rolled_back == 19
    assert await grouped(desk, job_id) == found


def test_there_are_no_more_groups_than_a_reader_can_take() -> None:
    grouping = Grouping()
    for number in range(MAX_GROUPS + 50):
        grouping.add("odd", (number, "n" * (number + 1), ""))
    found = {sign: count for (_, sign), count, _ in grouping.found()}
    assert len(found) == MAX_GROUPS + 1
    assert found[OTHERS] == 50


@given(
    wrong=st.lists(st.sets(st.integers(0, 59), max_size=40), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    older=st.booleans(),
)
def test_the_groups_are_those_of_the_items_one_by_one(
    sqlite_ledger: Callable[..., Any], wrong: list[set[int]], seed: int, older: bool
) -> None:
    """Rounds of chunks, each over some of the items; the last one that speaks of an item counts."""
    chance = random.Random(seed)
    rounds: list[list[dict[int, Result]]] = []
    latest: dict[int, Result] = {}
    for number, bad in enumerate(wrong):
        positions = range(60) if number == 0 else sorted(chance.sample(range(60), 30))
        results: dict[int, Result] = {
            p: Failed(f"c{p % 2}", f"{chance.choice(['no', 'odd'])} {p}") if p in bad else Done()
            for p in positions
        }
        latest |= results
        size = chance.randrange(5, 40)
        cut = [positions[first : first + size] for first in range(0, len(positions), size)]
        rounds.append([{p: results[p] for p in chunk} for chunk in cut])
    others = Ranges.of(chance.sample(range(60), 5))

    found = sqlite_ledger(rounds, others, older=older)

    expected: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], list[int]] = {}
    for position in sorted(latest):
        result = latest[position]
        if isinstance(result, Failed) and position not in others:
            key = result.code, signature(result.message)
            expected[key] += 1
            first.setdefault(key, []).append(position)
    assert {(group.code, group.signature): group.count for group in found} == expected
    for group in found:
        samples = [sample["item"] for sample in group.samples]
        assert samples == first[group.code, group.signature][:3]


@pytest.fixture(scope="module")
def sqlite_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Groups of chunks that are stored for them; ``older`` ones have nothing counted."""
    numbers = itertools.count()
    with Database(sqlite_url(tmp_path_factory.mktemp("groups") / "x.db")) as database:
        migrate.upgrade(database)

        def stored(
            rounds: list[list[dict[int, Result]]], others: Ranges, *, older: bool
        ) -> list[ErrorGroup]:
            control = Control(f"job-{next(numbers)}", "t", "a", "stock.add", {}, 0, 1)

            def store(connection: Connection) -> None:
                insert_control(connection, control, open_=False)
                every = (chunk for chunks in rounds for chunk in chunks)
                for number, results in enumerate(every):
                    _store(connection, control, number, results)
                if older:
                    connection.execute(delete(chunk_faults))

            database.write_now(store)
            return database.read_now(lambda c: group_errors(c, control.job_id, others))

        yield stored


def _store(
    connection: Connection, control: Control, number: int, results: dict[int, Result]
) -> None:
    items = Ranges.of(results)
    ledger = encode_results(items, list(results.values()), duration_ms=1.0)
    planned = PlannedChunk(chunk=number, cause=Cause.RETRY, items=items)
    dispatch(connection, control, [planned], generation=0, claim_by=0.0)
    closed = summary_of(number, ledger, duration_ms=1.0)
    insert_outcomes(connection, [OutcomeRow(control.job_id, closed, ledger, 1, number)])


def test_what_was_counted_is_read_and_not_the_ledgers(sqlite_database: Database) -> None:
    """A chunk's ledger is looked into only if some of its failures were tried again."""
    control = Control("job", "t", "a", "stock.add", {}, 0, 1)

    def store(connection: Connection) -> None:
        insert_control(connection, control, open_=False)
        for number in range(5):
            failures: dict[int, Result] = {
                number * 10 + place: Failed("odd", f"no {place}") for place in range(10)
            }
            _store(connection, control, number, failures)
        # Nobody could read these.
        connection.execute(update(outcomes).values(ledger=b""))

    sqlite_database.write_now(store)
    (group,) = sqlite_database.read_now(
        lambda connection: group_errors(connection, "job", Ranges.span(10, 20))
    )
    assert (group.count, group.samples[0]["item"]) == (40, 0)
