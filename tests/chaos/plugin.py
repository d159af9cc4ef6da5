"""The operation that chaos tests submit: a counter an item, and a note of each run of its handler.

What is noted is outside of the database and outside of its transaction: a run whose effect
was thrown away is there as well.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from tests.crash.plugin import counters

# Members say so when their next message is lost; all other libraries only warn.
logging.getLogger("aiokafka.consumer.fetcher").setLevel(logging.INFO)

_BUSY = Failed("busy", "try again", retryable=True)


HELD = 60.0
"""Seconds after which a held item is worked although nobody has released it."""


class Paced(BaseModel):
    """An item that takes so many milliseconds; a ``held`` one waits for its job's release first."""

    model_config = ConfigDict(extra="forbid")
    mark: str
    ms: float = 0.0
    held: bool = False


class Notes(BaseModel):
    """The file in which each run of the handler is noted; ``fails`` is how likely an item fails."""

    notes: Path
    fails: float = 0.0


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
    if any(item.held for item in items):
        _wait_for(released(ctx.params.notes))
    time.sleep(sum(item.ms for item in items) / 1000)
    results: list[Result] = [_BUSY] * len(items)
    good = [n for n in range(len(items)) if random.random() >= ctx.params.fails]
    rows = [(items[n].mark, 1) for n in good]
    ids = ctx.store.insert(counters, ["mark", "amount"], rows, [ctx.positions[n] for n in good])
    for n, number in zip(good, ids, strict=True):
        results[n] = Done({"id": number})
    return results


def _strike(ctx: Context, item: Paced, _result: object) -> UndoResult:
    """Note beside the runs that an order is taken back, and with which key."""
    _note(undone(ctx.params.notes), [f"{item.mark} {ctx.idempotency_key}"])
    return Restored()


@operation(
    "chaos.order",
    item=Paced,
    params=Notes,
    tables=[counters],
    outside=["notes"],
    compensate=_strike,
)
def order(ctx: Context, item: Paced) -> Result:
    """A counter, and an effect outside that no transaction takes back."""
    _note(ctx.params.notes, [item.mark])
    (number,) = ctx.store.insert(counters, ["mark", "amount"], [(item.mark, 1)], [ctx.position])
    return Done({"id": number})


def undone(notes: Path) -> Path:
    """Where it is noted which effects outside were taken back."""
    return notes.with_suffix(".undone")


def released(notes: Path) -> Path:
    """What is there once the held items of a job may be worked."""
    return notes.with_suffix(".released")


def _wait_for(release: Path) -> None:
    until = time.monotonic() + HELD
    while not release.exists() and time.monotonic() < until:
        time.sleep(0.01)


def _note(notes: Path, marks: Sequence[str]) -> None:
    """One write, which the kernel appends as a whole."""
    process = os.getpid()
    text = "".join(f"{process} {mark}\n" for mark in marks)
    descriptor = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


operations = (create, order)
