"""A plug-in for tests: things are changed, and somebody outside is told of it each time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.operation import Context, Operation, operation
from domain.options import Backoff
from domain.outcomes import Done, Restored, Result, UndoResult
from domain.records import Change
from tests.engine.stock import stock

PATIENCE = Backoff(attempts=3, delay=0)
Answer = UndoResult | Exception | Callable[[], UndoResult]


class Parcel(BaseModel):
    """So much more of a thing, which its owner is told of."""

    model_config = ConfigDict(extra="forbid")
    id: int
    amount: int = 1


@dataclass(frozen=True)
class Call:
    """What somebody outside was asked to take back."""

    position: int
    key: str
    item: Parcel
    result: Any


@dataclass
class Vendor:
    """Somebody outside. ``answers`` are what it says to compensations, by position, in turn."""

    sent: dict[str, Parcel] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    taken_back: set[int] = field(default_factory=set)
    answers: dict[int, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody waits at the gate, or has."""

    def __post_init__(self) -> None:
        self.gate.set()

    def send(self, ctx: Context, item: Parcel, position: int) -> None:
        self.sent[ctx.key_of(position)] = item

    def recall(self, ctx: Context, item: Parcel, result: Any) -> UndoResult:
        """Take a parcel back, unless it was told to answer something else."""
        position = ctx.position
        assert ctx.records is None
        assert self.sent[ctx.key_of(position)] == item
        self.calls.append(Call(position, ctx.idempotency_key, item, result))
        said = self.answers[position].pop(0) if self.answers[position] else Restored()
        if isinstance(said, Exception):
            raise said
        found = said() if callable(said) else said
        if isinstance(found, Restored):
            self.taken_back.add(position)
        return found

    async def recall_later(self, ctx: Context, item: Parcel, result: Any) -> UndoResult:
        """The same, once the gate is open."""
        self.asked.set()
        await self.gate.wait()
        return self.recall(ctx, item, result)

    def operations(self) -> list[Operation]:
        """What can be done with it."""

        @operation(
            "post.add",
            item=Parcel,
            tables=[stock],
            outside=["mail"],
            compensate=self.recall,
            patience=PATIENCE,
        )
        def add(ctx: Context, item: Parcel) -> Result:
            """Add to a thing, and tell of it."""
            return self._added(ctx, item, ctx.position)

        @operation(
            "post.add_all",
            item=Parcel,
            per="chunk",
            tables=[stock],
            outside=["mail"],
            compensate=self.recall_later,
            patience=PATIENCE,
        )
        def add_all(ctx: Context, items: Sequence[Parcel]) -> list[Result]:
            """The same, chunk by chunk; what is taken back waits for the gate."""
            pairs = zip(items, ctx.positions, strict=True)
            return [self._added(ctx, item, position) for item, position in pairs]

        @operation(
            "post.send",
            item=Parcel,
            slow=True,
            outside=["mail", "bill"],
            compensate=self.recall_later,
            patience=PATIENCE,
            timeout=5.0,
        )
        async def send(ctx: Context, item: Parcel) -> Result:
            """Only tell of it."""
            self.send(ctx, item, ctx.position)
            return Done({"number": ctx.position})

        @operation(
            "post.send_one",
            item=Parcel,
            slow=True,
            concurrency=1,
            outside=["mail"],
            compensate=self.recall_later,
        )
        async def send_one(ctx: Context, item: Parcel) -> Result:
            """Only tell of it, one at a time."""
            self.send(ctx, item, ctx.position)
            return Done({"number": ctx.position})

        @operation("post.shout", item=Parcel, outside=["noise", "echo"], tables=[stock])
        def shout(ctx: Context, item: Parcel) -> Result:
            """What nobody takes back."""
            return Done()

        return [add, add_all, send, send_one, shout]

    def _added(self, ctx: Context, item: Parcel, position: int) -> Result:
        amount = ctx.store.fetch(stock, [item.id])[item.id]["amount"] + item.amount
        ctx.store.update(stock, [Change(item.id, {"amount": amount}, position=position)])
        self.send(ctx, item, position)
        return Done({"number": position})
