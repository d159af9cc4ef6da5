"""The operation that chaos tests submit: a counter an item, and a note of each run of its handler.

What is noted is outside of the database and outside of its transaction: a run whose effect
was thrown away is there as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from domain.operation import Context, operation
from domain.outcomes import Done, Result
from tests.crash.plugin import counters


class Paced(BaseModel):
    """An item that takes so many milliseconds."""

    model_config = ConfigDict(extra="forbid")
    mark: str
    ms: float = 0.0


class Notes(BaseModel):
    """The file in which each run of the handler is noted."""

    notes: Path


@operation(
    "chaos.create",
    item=Paced,
    params=Notes,
    per="chunk",
    independent=True,
    tables=[counters],
)
def create(ctx: Context, items: Sequence[Paced]) -> list[Result]:
    """A counter for each item, when their time is over."""
    _note(ctx.params.notes, [item.mark for item in items])
    time.sleep(sum(item.ms for item in items) / 1000)
    rows = [(item.mark, 1) for item in items]
    ids = ctx.store.insert(counters, ["mark", "amount"], rows, ctx.positions)
    return [Done({"id": number}) for number in ids]


def _note(notes: Path, marks: Sequence[str]) -> None:
    """One write, which the kernel appends as a whole."""
    process = os.getpid()
    text = "".join(f"{process} {mark}\n" for mark in marks)
    descriptor = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


operations = (create,)
