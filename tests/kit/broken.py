"""Operations that break the contract, one for each check, and the check that finds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from countermand_testing import Case, Check
from countermand_testing import checks as suite
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Failed, Restored, Result, UndoResult
from domain.records import Change, Deletion
from tests.kit.shop import (
    ADD,
    BOOK,
    BOOKINGS,
    WRITE,
    Booking,
    Letter,
    accounts,
    book,
    operations,
    recall,
    sent,
    unbook,
)

BROKEN: list[tuple[Check, Case]] = []
calls: list[int] = []


def _like(case: Case, check: Check, **fields: Any) -> Callable[[Operation], Operation]:
    """Have a case with this operation instead among the broken ones."""

    def note(declared: Operation) -> Operation:
        others = [other for other in operations if other.kind != declared.kind]
        kept = {"kind": declared.kind, "operations": [declared, *others], "failing": ()} | fields
        BROKEN.append((check, replace(case, **kept)))
        return declared

    return note


class Misleading(BaseModel):
    """Its example is not of its own."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"id": "first"}]})
    id: int
    amount: int


@_like(BOOK, suite.check_declaration)
@operation("bank.misleading", item=Misleading)
def misleading(_ctx: Context, _item: Misleading) -> Result:
    return Done()


@_like(BOOK, suite.check_results)
@operation("bank.dated", item=Booking)
def dated(_ctx: Context, _item: Booking) -> Result:
    return Done({"at": datetime(2026, 1, 1, tzinfo=UTC)})


@_like(BOOK, suite.check_failures, failing=[{"id": 9}])
@operation("bank.other_code", item=Booking, codes=["no_account"])
def other_code(_ctx: Context, item: Booking) -> Result:
    return Failed("not_there", "open it first") if item.id == 9 else Done()


class Loose(BaseModel):
    """Anything for an amount."""

    id: int
    amount: Any


@_like(BOOK, suite.check_malformed)
@operation("bank.loose", item=Loose)
def loose(_ctx: Context, item: Loose) -> Result:
    return Done({"amount": item.amount + 1})


@_like(WRITE, suite.check_dry_run)
@operation("bank.undeclared", item=Letter)
def undeclared(ctx: Context, item: Letter) -> Result:
    sent[ctx.idempotency_key] = item.to
    return Done()


@_like(BOOK, suite.check_chunks)
@operation("bank.counting", item=Booking, per="chunk")
def counting(_ctx: Context, items: Sequence[Booking]) -> list[Result]:
    return [Done({"place": place}) for place, _ in enumerate(items)]


@_like(BOOK, suite.check_order)
@operation("bank.last_wins", item=Booking, tables=[accounts], independent=True)
def last_wins(ctx: Context, item: Booking) -> Result:
    change = Change(item.id, {"amount": item.amount}, position=ctx.position)
    ctx.store.update(accounts, [change])
    return Done()


@_like(BOOK, suite.check_redelivery, reset=calls.clear)
@operation("bank.remembering", item=Booking, tables=[accounts])
def remembering(ctx: Context, item: Booking) -> Result:
    calls.append(item.id)
    change = Change(item.id, {"amount": len(calls)}, position=ctx.position)
    ctx.store.update(accounts, [change])
    return Done()


noted: list[int] = []


@_like(BOOK, suite.check_undo, observe=lambda: len(noted), reset=noted.clear)
@operation("bank.noting", item=Booking, tables=[accounts])
def noting(ctx: Context, item: Booking) -> Result:
    ctx.store.update(accounts, [Change(item.id, {"amount": item.amount})])
    noted.append(item.id)
    return Done()


def _forgets(ctx: Context, item: BaseModel, _result: object) -> UndoResult:
    assert isinstance(item, Booking)
    ctx.store.delete(accounts, [Deletion(item.id, position=ctx.position)])
    return Restored()


@_like(ADD, suite.check_undo)
@operation("bank.wrong_inverse", item=Booking, tables=[accounts], inverse=_forgets)
def wrong_inverse(ctx: Context, item: Booking) -> Result:
    change = Change(item.id, {"amount": item.amount}, position=ctx.position)
    ctx.store.update(accounts, [change])
    return Done()


balance: list[int] = []


def _pay_back(_ctx: Context, _item: BaseModel, _result: object) -> UndoResult:
    balance.append(-1)
    return Restored()


@_like(WRITE, suite.check_undo_redelivery, observe=lambda: sum(balance), reset=balance.clear)
@operation("bank.pay", item=Letter, outside=["money"], slow=True, compensate=_pay_back)
async def pay(_ctx: Context, _item: Letter) -> Result:
    balance.append(1)
    return Done()


def _take_off(ctx: Context, item: BaseModel, result: object) -> UndoResult:
    balance.append(-1)
    return unbook(ctx, item, result)


@_like(ADD, suite.check_undo_redelivery, observe=lambda: sum(balance), reset=balance.clear)
@operation("bank.tally", item=Booking, tables=[accounts], inverse=_take_off)
def tally(ctx: Context, item: Booking) -> Result:
    balance.append(1)
    return book.apply(ctx, item)  # type: ignore[return-value] # it is not asynchronous


def _all_at_the_last(ctx: Context, _item: BaseModel, _result: object) -> UndoResult:
    if ctx.position == len(BOOKINGS) - 1:
        changes = [Change(n, {"amount": 100}, position=ctx.position) for n in (1, 2, 3)]
        ctx.store.update(accounts, changes)
    return Restored()


@_like(ADD, suite.check_cancellation)
@operation("bank.all_or_none", item=Booking, tables=[accounts], inverse=_all_at_the_last)
def all_or_none(ctx: Context, item: Booking) -> Result:
    change = Change(item.id, {"amount": item.amount}, position=ctx.position)
    ctx.store.update(accounts, [change])
    return Done()


@_like(WRITE, suite.check_stopping, patience=0.2)
@operation("bank.stubborn", item=Letter, outside=["mail"], slow=True, compensate=recall)
async def stubborn(_ctx: Context, _item: Letter) -> Result:
    # Not until some moment: a slow machine, which looks later, must find it at it still.
    for _ in range(5):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1.0)
    return Done()
