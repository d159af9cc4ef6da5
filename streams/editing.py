"""Editing: which items a retry takes, and their new bodies.

Called by :mod:`streams.deciding`, within the coordinator's transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection

from domain.commands import MAX_NAMED, Selection
from domain.contradictions import check_meant, check_selection
from domain.editing import Edited, patched
from domain.errors import InvalidCommand, WrongState
from domain.item_keys import exact_document
from domain.job import Job
from domain.ports import Clock, Ids
from domain.ranges import Ranges
from streams.stores import edits, failures
from streams.stores.edits import Bodies, BodyReader
from streams.stores.payloads import MAX_LINE_BYTES

MOST_EDITED_BYTES = 100_000_000
"""Of bodies that one patch changes. It is one transaction, of a second for so many, and while it
lasts nobody else writes to SQLite."""


def chosen_items(connection: Connection, job: Job, select: Selection) -> Ranges | None:
    """The items that a retry names; None for all that have failed."""
    check_meant(select)
    check_selection(select)
    if select.items:
        return Ranges.of(select.items)
    if select.edits:
        return Ranges.of(edit.item for edit in select.edits)
    if select.unattempted:
        return job.dropped
    if select.by_error:
        return _failed_like(connection, job, select)
    return None


def _failed_like(connection: Connection, job: Job, select: Selection) -> Ranges:
    found = failures.failed_like(connection, job.id, job.dropped, select)
    if not found and job.counts.failed:
        # As likely as not a typing error; whoever has made one is told what there is.
        codes = ", ".join(sorted(failures.failed_codes(connection, job.id, job.dropped)))
        raise WrongState(
            "there is no such failed item, so there is nothing to retry; the codes of those that "
            f"have failed are {codes}"
        )
    return found


class Redriver:
    """Stores new bodies of items that are worked again."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def edited(
        self, connection: Connection, job: Job, select: Selection, items: Ranges
    ) -> Edited | None:
        """The items with their new bodies, stored; None when they stay what they are."""
        if not select.edits and select.patch is None:
            return None
        if job.options.plan is not None:
            raise WrongState(
                "the job does what a dry run has planned, so its items stay as they are; make a "
                "new dry run of the edited ones"
            )
        if len(items) > MAX_NAMED:
            raise InvalidCommand(
                f"{len(items)} items would be edited, {MAX_NAMED} at once are possible; choose "
                "fewer by items",
                pointer="/patch",
            )
        edit = Bodies(items, self._lines(connection, job, select, items), self._now())
        upload_id, edition = self._ids.new(), job.edits + 1
        stored = edits.store_edit(connection, upload_id, (job.tenant, job.id), edition, edit)
        return Edited(
            edition=edition, items=items, lines=stored.items, size=stored.size, sha256=stored.sha256
        )

    def _lines(
        self, connection: Connection, job: Job, select: Selection, items: Ranges
    ) -> Iterator[bytes]:
        if select.edits:
            bodies = {edit.item: edit.body for edit in select.edits}
            return (orjson.dumps(bodies[position]) for position in items)
        return self._patched(connection, job, select, items)

    def _patched(
        self, connection: Connection, job: Job, select: Selection, items: Ranges
    ) -> Iterator[bytes]:
        """One after the other: together the bodies may be more than a process can hold."""
        size = 0
        bodies = BodyReader().each(connection, job.id, items)
        for count, (position, old) in enumerate(zip(items, bodies, strict=True)):
            new = _written(position, patched(exact_document(old), select.patch))
            _check_length(position, new)
            size += max(len(old), len(new))
            if size > MOST_EDITED_BYTES:
                raise _too_much(count, len(items))
            yield new

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _written(position: int, body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # It was not read by its model, and is not by orjson once it is to be written.
        raise InvalidCommand(
            f"item {position} nests too deeply to be written with the patch; replace what does so "
            "by the patch, or choose others by items",
            pointer="/patch",
        ) from None


def _check_length(position: int, line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise InvalidCommand(
            f"item {position} would be longer than {MAX_LINE_BYTES} bytes with the patch; patch it "
            "with less, or choose others by items",
            pointer="/patch",
        )


def _too_much(count: int, chosen: int) -> InvalidCommand:
    return InvalidCommand(
        f"a patch changes bodies of {MOST_EDITED_BYTES} bytes at once, and the first {count} of "
        f"the {chosen} items have as much; choose fewer by items, and the others by another retry",
        pointer="/patch",
    )
