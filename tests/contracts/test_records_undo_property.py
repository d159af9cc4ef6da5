"""Whatever was written by whom: undo of a job puts back what nobody else touched since.

A model in plain Python keeps the whole story of every record and says what undo must do;
the database is compared with it in every column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from domain.outcomes import Conflicted, Restored, UndoResult
from domain.records import Change, Deletion, Writer
from streams.stores.database import Database
from streams.stores.records import Ahead, Foresight, Restoration, SqlRecords, restore
from streams.stores.schema import history, writers
from tests.contracts import records as shared
from tests.contracts.records import contents, gadgets, metadata
from tests.crash import seeds
from tests.databases import as_owner
from tests.sampled import sampled

JOB = "job-0"
UNDO = "undo"

Row = dict[str, Any] | None
Foreseen = dict[int, UndoResult]


@dataclass(frozen=True)
class Write:
    """One write: to the record of that number among those that live, caused by an item."""

    verb: str
    number: int
    position: int


@dataclass(frozen=True)
class Turn:
    """Some writes in one transaction: a chunk of the job, of another job, or an edit by hand."""

    who: str
    writes: tuple[Write, ...]


_writes = st.builds(
    Write,
    verb=st.sampled_from(["insert", "update", "update", "delete"]),
    number=st.integers(0, 9),
    position=st.integers(0, 4),
)
_turns = st.lists(
    st.builds(
        Turn,
        who=st.sampled_from([JOB, JOB, JOB, "job-1", "anna"]),
        writes=st.lists(_writes, min_size=1, max_size=5).map(tuple),
    ),
    min_size=1,
    max_size=8,
)


@dataclass(frozen=True)
class Entry:
    """One write in the story of a record; ``chunk`` and ``position`` count for the job's own.

    An undo's ``chunk`` is the one that it puts back.
    """

    who: str
    row: Row
    chunk: int = -1
    position: int = -1


@dataclass
class Model:
    """The story of every record."""

    stories: dict[int, list[Entry]] = field(default_factory=dict)

    def now(self) -> dict[int, Row]:
        """What lives."""
        last = {key: story[-1].row for key, story in self.stories.items()}
        return {key: row for key, row in last.items() if row is not None}

    def undo(self, chunk: int) -> dict[int, set[tuple[int, str]]]:
        """Undo a chunk: by position, the records in its way and their writers; none: restored."""
        mine = {
            key: {entry.position for entry in story if entry.chunk == chunk}
            for key, story in self.stories.items()
            if any(entry.chunk == chunk for entry in story)
        }
        results: dict[int, set[tuple[int, str]]] = {}
        for group in _closure(mine.values()):
            keys = [key for key, positions in mine.items() if positions <= group]
            blocked = {(key, by) for key in keys if (by := self._blocked(key, chunk))}
            results |= dict.fromkeys(group, blocked)
            if not blocked:
                for key in keys:
                    self._put_back(key, chunk)
        return results

    def _blocked(self, key: int, chunk: int) -> str:
        story = self.stories[key]
        last = max(index for index, entry in enumerate(story) if entry.chunk == chunk)
        later = story[last + 1 :]
        strangers = [entry.who for entry in later if entry.who not in (JOB, UNDO)]
        if strangers:
            return strangers[-1]
        standing: set[int] = set()
        for entry in later:
            if entry.who == JOB:
                standing.add(entry.chunk)
            else:
                standing.discard(entry.chunk)
        return JOB if standing else ""

    def _put_back(self, key: int, chunk: int) -> None:
        story = self.stories[key]
        own = [index for index, e in enumerate(story) if (e.who, e.chunk) == (JOB, chunk)]
        first = min(own)
        row = story[first - 1].row if first else None
        if row is not None or story[-1].row is not None:
            story.append(Entry(UNDO, row, chunk))


def _closure(sets: Sequence[set[int]] | Any) -> list[set[int]]:
    groups: list[set[int]] = []
    for found in sets:
        joined = set(found)
        apart = []
        for group in groups:
            if group & joined:
                joined |= group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return groups


class Run:
    """Plays turns on the database and on the model."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counter = 0
        self.model = Model()
        self.chunks: list[tuple[Writer, bytes]] = []
        with database.engine.begin() as connection:
            for table in (*reversed(metadata.sorted_tables), history, writers):
                connection.execute(delete(table))

    def play(self, number: int, turn: Turn) -> None:
        """One turn."""
        jobs = turn.who.startswith("job")
        writer = shared.job(number, job_id=turn.who) if jobs else shared.hand(turn.who)
        with shared.writing(self._database, writer) as records:
            for write in turn.writes:
                self._write(records, turn.who, number, write)
            images = records.encoded_images()
        if turn.who == JOB and images is not None:
            self.chunks.append((writer, images))

    def undo(self, left: Sequence[tuple[Writer, bytes]], *, together: bool) -> list[Restoration]:
        """Undo what writers left, the last one first, in one transaction or in one each."""
        undone = list(reversed(left))
        if together:
            return self._database.write_now(lambda connection: _restored(connection, undone))
        return [
            self._database.write_now(lambda connection, one=one: _restored(connection, [one]))[0]
            for one in undone
        ]

    def foreseen(self, left: Sequence[tuple[Writer, bytes]]) -> list[Foreseen]:
        """What the undo is going to do, by what is there now."""
        return self._database.read_now(lambda connection: _foreseen(connection, left))

    def contents(self) -> dict[int, Row]:
        """What the database holds, in the columns that are written."""
        found = contents(self._database)
        return {key: {name: row[name] for name in self._values(0)} for key, row in found.items()}

    def check_counts(self) -> None:
        """Who has written knows how much."""
        shared.assert_counted(self._database)

    def _write(self, records: SqlRecords, who: str, number: int, write: Write) -> None:
        self._counter += 1
        chunk, position = (number, write.position) if who == JOB else (-1, -1)
        living = self.model.now()
        values: Row = self._values(self._counter)
        if write.verb == "insert" or not living:
            row = tuple(self._values(self._counter).values())
            (key,) = records.insert(gadgets, list(self._values(0)), [row], [write.position])
        else:
            key = sorted(living)[write.number % len(living)]
            if write.verb == "update":
                change = Change(key, self._values(self._counter), position=write.position)
                records.update(gadgets, [change])
            else:
                values = None
                records.delete(gadgets, [Deletion(key, position=write.position)])
        self.model.stories.setdefault(key, []).append(Entry(who, values, chunk, position))

    @staticmethod
    def _values(counter: int) -> dict[str, Any]:
        return {
            "name": f"name {counter}",
            "weight": counter / 3,
            "photo": bytes([counter % 256]) * (counter % 3),
            "notes": None if counter % 5 == 0 else "é" * (counter % 4),
        }


def _undoer(target: Writer) -> Writer:
    """The chunk that undoes another."""
    return shared.job(1000 + target.chunk, generation=target.generation + 1, job_id=JOB)


def _restored(connection: Connection, undone: Sequence[tuple[Writer, bytes]]) -> list[Restoration]:
    for target, _ in undone:
        shared.planned(connection, _undoer(target), target)
    ahead = Ahead(connection, metadata.tables, shared.TENANT)
    ahead.read(images for _, images in undone)
    return [
        restore(ahead, images, _undoer(target), shared.NOW, target=target)
        for target, images in undone
    ]


def _foreseen(connection: Connection, left: Sequence[tuple[Writer, bytes]]) -> list[Foreseen]:
    """What undos of all that was left would do, the last one first."""
    foresight = Foresight(metadata.tables, shared.TENANT)
    return [
        foresight.foresee(connection, images, target, range(5)) for target, images in reversed(left)
    ]


def _check(run: Run, turns: Sequence[Turn], *, together: bool) -> None:
    for number, turn in enumerate(turns):
        run.play(number, turn)
    done = run.contents()
    assert done == run.model.now()
    undone: list[tuple[Writer, bytes]] = []
    foreseen = run.foreseen(run.chunks)
    assert run.contents() == done
    restorations = run.undo(run.chunks, together=together)
    assert foreseen == [restoration.results for restoration in restorations]
    for (target, _), restoration in zip(reversed(run.chunks), restorations, strict=True):
        expected = run.model.undo(target.chunk)
        assert set(restoration.results) == set(expected)
        for position, result in restoration.results.items():
            if isinstance(result, Conflicted):
                table, _, key = result.record.partition("/")
                assert table == "gadgets"
                assert (int(key), result.by) in expected[position]
            else:
                assert result == Restored()
                assert expected[position] == set()
        if restoration.images is not None:
            undone.append((_undoer(target), restoration.images))
    assert run.contents() == run.model.now()
    assert {r for one in run.foreseen(undone) for r in one.values()} <= {Restored()}
    for again in run.undo(undone, together=together):
        assert set(again.results.values()) == {Restored()}
    assert run.contents() == done
    run.check_counts()


@pytest.fixture
def stored(database: Database) -> Iterator[Database]:
    """A database that has the tables of these tests, used again and emptied for each example."""
    with Database(as_owner(database.url)) as owned:
        owned.write_now(metadata.create_all)
        yield owned


def _turn(who: str, *writes: tuple[str, int, int]) -> Turn:
    return Turn(who, tuple(Write(*write) for write in writes))


@seed(seeds.SEED)
@settings(
    max_examples=sampled(120),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(turns=_turns, together=st.booleans())
@example(
    together=True,
    turns=[
        _turn("anna", ("insert", 0, 0), ("insert", 0, 0), ("insert", 0, 0)),
        _turn(JOB, ("update", 0, 0), ("update", 1, 1), ("update", 1, 0), ("delete", 2, 2)),
        _turn("job-1", ("update", 1, 0)),
        _turn(JOB, ("update", 1, 3), ("insert", 0, 4), ("delete", 2, 4)),
    ],
)
def test_undo_does_what_the_story_of_each_record_says(
    stored: Database, turns: list[Turn], together: bool
) -> None:
    _check(Run(stored), turns, together=together)
