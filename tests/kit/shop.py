"""A plug-in that keeps the contract: a ledger of accounts, letters, and a model's answers."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column, Integer, MetaData, String, Table

from countermand_testing import Case, Given
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from domain.record_operations import record_operations
from domain.records import Change

accounts = Table(
    "accounts",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant", String(100)),
    Column("version", Integer),
    Column("amount", Integer),
)


class Booking(BaseModel):
    """So much more on an account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"id": 1}]})
    id: int = Field(ge=1, le=2**31)
    amount: int = Field(default=1, ge=-1000, le=1000)


class Letter(BaseModel):
    """To whom."""

    model_config = ConfigDict(extra="forbid")
    to: str = Field(min_length=1, max_length=20)


sent: dict[str, str] = {}
"""The letters that arrived, by the key that came along with them."""
recalled: set[str] = set()


def letters() -> list[str]:
    """What is outside: the letters that arrived and were not called back."""
    return sorted(to for key, to in sent.items() if f"{key}:undo" not in recalled)


def forget() -> None:
    """Empty the outside world."""
    sent.clear()
    recalled.clear()


@operation("bank.book", item=Booking, tables=[accounts], codes=["no_account", "overdrawn"])
def book(ctx: Context, item: Booking) -> Result:
    """Book."""
    row = ctx.store.fetch(accounts, [item.id]).get(item.id)
    if row is None:
        return Failed("no_account", "open it first", "/id")
    amount = row["amount"] + item.amount
    if amount < 0:
        return Failed("overdrawn", "there is not so much", "/amount")
    ctx.store.update(accounts, [Change(item.id, {"amount": amount}, position=ctx.position)])
    return Done({"amount": amount, "place": ctx.position})


def recall(ctx: Context, _item: BaseModel, _result: object) -> UndoResult:
    """Call a letter back."""
    recalled.add(ctx.idempotency_key)
    return Restored()


@operation("bank.write", item=Letter, outside=["mail"], slow=True, compensate=recall)
async def write(ctx: Context, item: Letter) -> Result:
    """Send letters; the post knows each by its key."""
    await asyncio.sleep(0)
    sent[ctx.idempotency_key] = item.to
    return Done({"to": item.to})


def unbook(ctx: Context, item: BaseModel, _result: object) -> UndoResult:
    """Book the opposite."""
    assert isinstance(item, Booking)
    row = ctx.store.fetch(accounts, [item.id])[item.id]
    values = {"amount": row["amount"] - item.amount}
    ctx.store.update(accounts, [Change(item.id, values, position=ctx.position)])
    return Restored()


@operation("bank.add", item=Booking, tables=[accounts], inverse=unbook)
def add(ctx: Context, item: Booking) -> Result:
    """Book, with an inverse."""
    return book.apply(ctx, item)  # type: ignore[return-value] # it is not asynchronous


operations: list[Operation] = [book, write, add, *record_operations("bank", accounts)]

OPENED = Given("bank.create_accounts", [{"amount": 100} for _ in range(3)])
BOOKINGS = [{"id": n % 3 + 1, "amount": n} for n in range(1, 7)]
BOOK = Case(
    kind="bank.book",
    operations=operations,
    given=[OPENED],
    items=BOOKINGS,
    failing=[{"id": 9, "amount": 1}, {"id": 1, "amount": -200}],
)
ADD = Case(kind="bank.add", operations=operations, given=[OPENED], items=BOOKINGS)
WRITE = Case(
    kind="bank.write",
    operations=operations,
    items=[{"to": name} for name in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")],
    observe=letters,
    reset=forget,
)
