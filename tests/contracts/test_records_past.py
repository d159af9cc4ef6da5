"""The past of a record is what was written, and what is not known is not guessed."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select, update

from domain.outcomes import Done
from domain.ranges import Ranges
from domain.records import Change, Deletion, Writer
from streams.stores.database import Database
from streams.stores.ledger import encode_results
from streams.stores.outcomes import OutcomeRow, insert_outcomes, summary_of
from streams.stores.records import Ahead, SqlRecords, restore
from streams.stores.records.past import BYTES, Past, Standing, Version
from streams.stores.records.shape import shape_of
from streams.stores.schema import outcomes
from tests.contracts import records as given
from tests.contracts.records import NOW, TENANT, gadgets, hand, job
from tests.databases import shared_database

__all__ = ["shared_database"]


_NUMBERS = itertools.count(1)
"""Names of gadgets, and of jobs, that no other test has used."""


@dataclass
class Written:
    """A version as a test knows it: who wrote it, what it left, and whether by a job."""

    writer: Writer
    values: dict[str, Any]
    version: int


@dataclass
class Story:
    """One record and all that was done to it."""

    database: Database
    chance: random.Random
    record: int = 0
    told: list[Written] = field(default_factory=list)
    chunks: int = 0
    number: int = field(default_factory=lambda: next(_NUMBERS))

    def begin(self) -> None:
        self.write(self._by_job(), self._create)

    def step(self) -> None:
        """Anything that can happen to it now."""
        if not self.told[-1].values:
            self.undo()
        elif self.chance.random() < 0.2:
            self.write(self._by_job(), self._delete)
        elif self.chance.random() < 0.3:
            self.write(hand("anna"), self._change)
        else:
            self.write(self._by_job(), self._change, self.chance.randrange(1, 3))

    def write(self, writer: Writer, what: Any, times: int = 1) -> None:
        with self.database.engine.begin() as connection:
            records = SqlRecords(connection, writer, NOW + len(self.told))
            for _ in range(times):
                what(records)
                self._note(connection, writer)
            if writer.job_id:
                self._store(connection, writer, records.encoded_images())

    def undo(self) -> None:
        """Put back what the last writer has done."""
        target = self.told[-1].writer
        writer = Writer(TENANT, "ada", target.job_id, target.generation + 1, self._next_chunk())
        with self.database.engine.begin() as connection:
            images = connection.scalar(
                select(outcomes.c.images).where(
                    outcomes.c.job_id == target.job_id, outcomes.c.chunk == target.chunk
                )
            )
            ahead = Ahead(connection, {"gadgets": gadgets}, TENANT)
            done = restore(ahead, bytes(images), writer, NOW + len(self.told), target=target)
            self._note(connection, writer)
            self._store(connection, writer, done.images)

    def page(self, cursor: int | None = None, limit: int = 1000, tenant: str = TENANT) -> Any:
        return self.database.read_now(
            lambda c: Past(c, shape_of(gadgets, c.dialect), tenant, self.record).page(cursor, limit)
        )

    def standing(self, tenant: str = TENANT) -> Standing | None:
        return self.database.read_now(
            lambda c: Past(c, shape_of(gadgets, c.dialect), tenant, self.record).standing()
        )

    def _create(self, records: SqlRecords) -> None:
        values = given.gadget(next(_NUMBERS))
        (self.record,) = given.add(records, [values])

    def _change(self, records: SqlRecords) -> None:
        fresh = given.gadget(next(_NUMBERS))
        keys = self.chance.sample(sorted(set(fresh) - {"shelf_id"}), 2)
        records.update(gadgets, [Change(self.record, {key: fresh[key] for key in keys})])

    def _delete(self, records: SqlRecords) -> None:
        records.delete(gadgets, [Deletion(self.record)])

    def _note(self, connection: Any, writer: Writer) -> None:
        row = connection.execute(select(gadgets).where(gadgets.c.id == self.record)).mappings()
        found = row.one_or_none()
        values = {} if found is None else dict(found)
        version = values.pop("version", None) or self.told[-1].version + 1
        kept = {key: value for key, value in values.items() if key not in ("id", "tenant")}
        self.told.append(Written(writer, kept, version))

    def _store(self, connection: Any, writer: Writer, images: bytes | None) -> None:
        ledger = encode_results(Ranges.span(0, 1), [Done()], duration_ms=1.0)
        closed = summary_of(writer.chunk, ledger, duration_ms=1.0)
        insert_outcomes(connection, [OutcomeRow(writer.job_id, closed, ledger, 1, 1, images)])

    def _by_job(self) -> Writer:
        return job(self._next_chunk(), job_id=f"job-{self.number}-{self.chance.randrange(3)}")

    def _next_chunk(self) -> int:
        self.chunks += 1
        return self.chunks


@pytest.fixture(params=range(12))
def story(request: pytest.FixtureRequest, shared_database: Database) -> Story:
    shared_database.write_now(given.metadata.create_all)
    found = Story(shared_database, random.Random(request.param))
    found.begin()
    for _ in range(12):
        found.step()
    return found


def known(story: Story, place: int) -> dict[str, Any] | None:
    """What is still known of the values that a write left: the next one's image, or the record."""
    if place + 1 < len(story.told) and story.told[place].values:
        return story.told[place].values if story.told[place + 1].writer.job_id else None
    return story.told[place].values


def test_versions_have_their_writers_values_and_changes(story: Story) -> None:
    versions, following = story.page()
    assert following is None
    told = list(enumerate(story.told))[::-1]
    for version, (place, written) in zip(versions, told, strict=True):
        _check_version(story, version, place, written)


def _check_version(story: Story, version: Version, place: int, written: Written) -> None:
    assert version.write.version == written.version
    assert version.write.writer == written.writer
    assert version.write.deleted == (not written.values)
    assert version.values == known(story, place)
    earlier = known(story, place - 1) if place else {}
    if not written.writer.job_id:
        earlier = None
    if version.values is None or earlier is None:
        assert version.changed is None
        return
    changes = {key: (earlier.get(key), value) for key, value in written.values.items()}
    expected = {key: pair for key, pair in changes.items() if not earlier or pair[0] != pair[1]}
    assert version.changed is not None
    assert {key: (one.before, one.after) for key, one in version.changed.items()} == expected


def test_pages_make_up_the_whole(story: Story) -> None:
    whole, _ = story.page()
    found: list[Version] = []
    cursor = None
    for _ in range(len(whole)):
        page, cursor = story.page(cursor, 2)
        found += page
        if cursor is None:
            break
    assert found == whole


def test_who_wrote_a_value_is_told_and_else_that_it_is_not_certain(story: Story) -> None:
    standing = story.standing()
    assert standing is not None
    last = story.told[-1]
    assert standing.last.version == last.version
    assert {key: one.value for key, one in standing.columns.items()} == last.values
    by_hand = [place for place, written in enumerate(story.told) if not written.writer.job_id]
    for key, blame in standing.columns.items():
        truly = next(
            place
            for place in reversed(range(len(story.told)))
            if place == 0 or story.told[place - 1].values.get(key, ...) != last.values[key]
        )
        certain = not by_hand or truly > by_hand[-1]
        assert blame.certain == certain, key
        blamed = truly if certain else by_hand[-1]
        assert blame.write.version == story.told[blamed].version, key
        assert blame.write.writer == story.told[blamed].writer


def test_another_tenant_finds_nothing(story: Story) -> None:
    assert story.page(tenant="other") == ([], None)
    assert story.standing("other") is None


@pytest.fixture
def fresh(shared_database: Database) -> Story:
    shared_database.write_now(given.metadata.create_all)
    story = Story(shared_database, random.Random())
    story.begin()
    return story


def test_who_wrote_past_the_port_is_not_guessed(fresh: Story) -> None:
    fresh.database.write_now(
        lambda c: c.execute(
            update(gadgets).where(gadgets.c.id == fresh.record).values(notes="?", version=9)
        )
    )
    ((only,), _) = fresh.page()
    assert only.values is None
    standing = fresh.standing()
    assert standing is not None
    assert standing.columns["notes"].value == "?"
    assert not any(blame.certain for blame in standing.columns.values())


def test_a_page_of_long_values_ends_early(fresh: Story) -> None:
    for number in range(4):
        long = f"{number}" * (BYTES // 2)
        fresh.write(
            job(100 + number, job_id=f"long-{fresh.record}"),
            lambda records, long=long: records.update(
                gadgets, [Change(fresh.record, {"notes": long})]
            ),
        )
    page, cursor = fresh.page()
    assert len(page) < 5
    rest, end = fresh.page(cursor)
    assert [one.write.version for one in page + rest] == [5, 4, 3, 2, 1]
    assert end is None
    assert isinstance(rest[-1].values, dict)
    assert isinstance(rest[-1].values["made_on"], dt.date)
