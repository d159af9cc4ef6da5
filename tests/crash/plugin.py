"""The operations that crash tests submit: installed as a distribution of its own.

Adding to a counter is not idempotent, so an effect that comes twice is seen, and one that
is lost as well. Every item carries a ``mark`` that no other has.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, Integer, MetaData, String, Table

from domain.operation import Context, operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from domain.record_operations import write_result
from domain.records import Change

metadata = MetaData()
counters = Table(
    "crash_counters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("mark", String(200), nullable=False),
    Column("amount", Integer, nullable=False),
)


class Item(BaseModel):
    """What every item has."""

    model_config = ConfigDict(extra="forbid")
    mark: str


class Named(Item):
    """What a counter is made of; several may be called the same."""

    name: str = ""


class Addition(Item):
    """One more on a counter; fails while the counter that it needs is below 2."""

    counter: int
    needs: int | None = None
    fault: str = ""


class Touch(BaseModel):
    """One more on a counter that a filter has found, if it is at the version that it had."""

    model_config = ConfigDict(extra="forbid")
    id: int
    version: int
    name: str


class Made(BaseModel):
    """A counter that another job has made."""

    model_config = ConfigDict(extra="forbid")
    id: int


class Follower(BaseModel):
    """How the marks of a job begin that takes the results of another."""

    name: str


class Wait(Item):
    """So many milliseconds."""

    ms: int = 1


class Stumble(Item):
    """Something that no handler should do."""

    fault: str = ""


class Journal(BaseModel):
    """Where a slow operation notes each run of its handler."""

    journal: Path


@operation("crash.create", item=Named, per="chunk", tables=[counters])
def create(ctx: Context, items: Sequence[Named]) -> list[Result]:
    """A counter for each item."""
    rows = [(item.mark, 1) for item in items]
    ids = ctx.store.insert(counters, ["mark", "amount"], rows, ctx.positions)
    return [Done({"id": number}) for number in ids]


@operation("crash.add", item=Addition, tables=[counters])
def add(ctx: Context, item: Addition) -> Result:
    """Add one; a fault comes after the write, which must then vanish."""
    _add(ctx, item.counter, item.mark)
    if item.fault:
        raise RuntimeError(item.fault)
    if item.needs is not None:
        needed = ctx.store.fetch(counters, [item.needs]).get(item.needs)
        if needed is None or needed["amount"] < 2:
            raise RuntimeError(f"counter {item.needs} is below 2")
    return Done({"counter": item.counter})


@operation("crash.touch", item=Touch, tables=[counters], selectable=counters)
def touch(ctx: Context, item: Touch) -> Result:
    """Add one, unless somebody else has since the filter was frozen."""
    amount = ctx.store.fetch(counters, [item.id])[item.id]["amount"]
    values = {"amount": amount + 1, "mark": f"{item.name}-{item.id}"}
    change = Change(item.id, values, version=item.version, position=ctx.position)
    (written,) = ctx.store.update(counters, [change])
    return write_result(item.id, written, asked=item.version, what="crash_counters")


@operation("crash.follow", item=Made, params=Follower, tables=[counters])
def follow(ctx: Context, item: Made) -> Result:
    """Add one to what another job has made, and what may be gone again."""
    _add(ctx, item.id, f"{ctx.params.name}-{item.id}")
    return Done({"id": item.id})


@operation("crash.wait", item=Wait, params=Journal, slow=True, timeout=30.0)
async def wait(ctx: Context, item: Wait) -> Result:
    """Note the run and by which process it is, then wait."""
    _note(ctx.params.journal, f"{os.getpid()} {item.mark}")
    await asyncio.sleep(item.ms / 1000)
    return Done({"mark": item.mark})


def _strike(ctx: Context, item: Addition, result: object) -> UndoResult:
    """Note in the journal that an order is taken back, and with which key."""
    assert result == {"counter": item.counter}
    _note(ctx.params.journal, f"undo {item.mark} {ctx.idempotency_key}")
    return Restored()


@operation(
    "crash.order",
    item=Addition,
    params=Journal,
    tables=[counters],
    outside=["journal"],
    compensate=_strike,
)
def order(ctx: Context, item: Addition) -> Result:
    """Add one, and note it in a journal that no transaction takes back."""
    _add(ctx, item.counter, item.mark)
    _note(ctx.params.journal, item.mark)
    return Done({"counter": item.counter})


@operation("crash.block", item=Wait, params=Journal, slow=True, concurrency=2, timeout=0.5)
def block(ctx: Context, item: Wait) -> Result:
    """As wait, in a thread, which nobody can stop."""
    _note(ctx.params.journal, item.mark)
    time.sleep(item.ms / 1000)
    return Done({"mark": item.mark})


@operation("crash.misbehave", item=Addition, timeout=1.0, tables=[counters])
def misbehave(ctx: Context, item: Addition) -> Result:
    """Add one, then do what no handler should."""
    _add(ctx, item.counter, item.mark)
    match item.fault:
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancel":
            raise asyncio.CancelledError
        case "hang":
            time.sleep(3600)
        case "eat":
            _eat()
        case "raise":
            raise ValueError("no")
        case _:
            return _stumbled(item.fault)
    return Done()


@operation("crash.stumble", item=Stumble, slow=True, timeout=5.0)
async def stumble(_ctx: Context, item: Stumble) -> Result:
    """Do what no handler should, in the event loop."""
    return _stumbled(item.fault)


@operation("crash.stumble_in_thread", item=Stumble, slow=True, timeout=5.0)
def stumble_in_thread(_ctx: Context, item: Stumble) -> Result:
    """Do what no handler should, in a thread."""
    return _stumbled(item.fault)


class Base(BaseException):
    """No Exception."""


class Speechless(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no words")


def _stumbled(fault: str) -> Any:
    match fault:
        case "nonsense":
            return "nonsense"
        case "no_message":
            return Failed("broken", None)  # type: ignore[arg-type]
        case "no_code":
            return Failed(["broken"], "no")  # type: ignore[arg-type]
        case "nul":
            return Failed("broken", "a\0b", "/c\0d", details="e\0f")
        case "base":
            raise Base
        case "closed":
            raise GeneratorExit
        case "speechless":
            raise Speechless
    return Done()


def _add(ctx: Context, counter: int, mark: str) -> None:
    amount = ctx.store.fetch(counters, [counter])[counter]["amount"]
    change = Change(counter, {"amount": amount + 1, "mark": mark}, position=ctx.position)
    ctx.store.update(counters, [change])


def _note(journal: Path, mark: str) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{mark}\n".encode())
    finally:
        os.close(descriptor)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(20_000_000))
        time.sleep(0.01)


operations = (
    *(create, add, touch, follow, wait, order, block),
    *(misbehave, stumble, stumble_in_thread),
)
