"""Multitude: very many jobs within seconds, as copies of a few real ones.

A job takes some ten milliseconds to submit, a hundred thousand of them a quarter of an hour. So
jobs that have run are copied, past the engine and while it is stopped: their stored events, with
a chain of hashes for each copy, and their row in the list. The engine then lists, filters and
shows copies as it does any job, and their last events are signed as it would have done. They have
no items (what was sent is not copied), and nothing about them was published.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from streams.stores.audit import known_heads
from streams.stores.chain import GENESIS, EventRow, Head, event_hash

APART: Final = timedelta(seconds=7)
"""Between two copies, so that the list reaches back some days."""
_MOMENT: Final = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+Z")
_BATCH: Final = 10_000
"""Copies whose rows are in memory together."""


class _Model:
    """A job that has run, of which copies are made."""

    def __init__(self, connection: sqlite3.Connection, job_id: str) -> None:
        columns = ", ".join(EventRow._fields)
        stored = connection.execute(
            f"SELECT {columns} FROM events WHERE job_id = ? ORDER BY version", (job_id,)
        )
        self._events = [EventRow(*row) for row in stored]
        found = connection.execute("SELECT * FROM job_list WHERE job_id = ?", (job_id,))
        (self._listed,) = [dict(row) for row in found]
        self._document = self._listed["document"].encode()
        texts = [self._document, *(event.state for event in self._events)]
        self._moments = {moment for text in texts for moment in _MOMENT.findall(text)}

    def events(self, number: int, first: int) -> Iterator[tuple[Any, ...]]:
        """Rows of a copy's events, of which the first has that id."""
        changes = self._changes(number)
        previous = GENESIS
        for place, event in enumerate(self._events):
            state = _changed(event.state, changes)
            row = event._replace(id=first + place, job_id=_job_id(number), state=state)
            found = event_hash(previous, row)
            yield (*row, previous, found)
            previous = found

    def listed(self, number: int) -> tuple[Any, ...]:
        """A copy's row in the list."""
        changed = {
            "job_id": _job_id(number),
            "name": self._name(number),
            "created_at": self._listed["created_at"] - _earlier(number).total_seconds(),
            "document": _changed(self._document, self._changes(number)).decode(),
        }
        return tuple((self._listed | changed).values())

    def _name(self, number: int) -> str:
        return f"{self._listed['name']} {number:,}"

    def _changes(self, number: int) -> dict[bytes, bytes]:
        """What stands in a copy's documents instead of what stands in those of the model."""
        earlier = _earlier(number)
        moved = {moment: _moved(moment, earlier) for moment in self._moments}
        name, job_id = self._listed["name"], self._listed["job_id"]
        return moved | {
            f'"name":"{name}"'.encode(): f'"name":"{self._name(number)}"'.encode(),
            job_id.encode(): _job_id(number).encode(),
        }


def multiply(database: Path, models: Sequence[str], count: int) -> None:
    """Copy jobs, by turns, until there are ``count`` copies; each is older than the one before.

    ``database`` is the file of an engine that does not run.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        known = [_Model(connection, job_id) for job_id in models]
        ((last,),) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        heads: list[Head] = []
        for begin in range(0, count, _BATCH):
            copies = range(begin, min(begin + _BATCH, count))
            events: list[tuple[Any, ...]] = []
            for number in copies:
                events += known[number % len(known)].events(number, last + 1 + len(events))
            last += len(events)
            _insert(connection, "events", events)
            heads += _last_of_each(events)
            listed = [known[number % len(known)].listed(number) for number in copies]
            _insert(connection, "job_list", listed)
        # Nobody is to be told of what happened long ago.
        connection.execute("UPDATE positions SET position = (SELECT max(id) FROM events)")
        connection.execute("ANALYZE")
    signed = known_heads(database.parent)
    assert signed is not None, "an engine signs what it commits"
    signed.append(heads)


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _last_of_each(events: Sequence[tuple[Any, ...]]) -> Iterator[Head]:
    """The heads of jobs whose events follow one another."""
    for event, following in zip(events, (*events[1:], ("", "")), strict=True):
        number, job_id, version, *_ = event
        if following[1] != job_id:
            yield Head(job_id, version, number, event[-1])


def _job_id(number: int) -> str:
    return f"copy-{number:07}"


def _earlier(number: int) -> timedelta:
    return APART * (number + 1)


def _moved(moment: bytes, earlier: timedelta) -> bytes:
    before = datetime.fromisoformat(moment.decode()) - earlier
    return before.isoformat().removesuffix("+00:00").encode() + b"Z"


def _changed(text: bytes, changes: Mapping[bytes, bytes]) -> bytes:
    for before, after in changes.items():
        text = text.replace(before, after)
    return text
