"""One result an item, whatever the operation does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, cast

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from domain.errors import PluginInvalid, StoreUnavailable
from domain.execution import invert_items, item_document, parse_items, work_chunk
from domain.operation import Context, Operation, Reversible, operation
from domain.outcomes import Done, Failed, Restored, Result, Skipped
from domain.records import Call, Leaves, Records, Traces
from streams.clock import SystemClock


class Number(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


class Scopes:
    """Records that count their savepoints, and note their calls and what is ``wrote`` in them."""

    def __init__(self) -> None:
        self.begun = self.undone = 0
        self.calls: list[Call] = []
        self.wrote: list[int] = []

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self.begun += 1
        try:
            yield
        except BaseException:
            self.undone += 1
            raise

    @contextmanager
    def during(self, call: Call) -> Iterator[Traces]:
        before = len(self.wrote)
        self.calls.append(call)
        yield lambda: set(self.wrote[before:])


def context(count: int, scopes: Scopes | None = None) -> Context:
    return Context(
        job_id="job",
        tenant="local",
        actor="tester",
        params=None,
        chunk=0,
        attempt=1,
        positions=range(count),
        deadline=0.0,
        clock=SystemClock(),
        records=cast("Records", scopes or Scopes()),
    )


def work(declared: Operation, lines: Sequence[bytes], scopes: Scopes | None = None) -> list[Result]:
    return work_chunk(declared, context(len(lines), scopes), parse_items(declared, lines))


def numbers(count: int) -> list[bytes]:
    return [b'{"number": %d}' % number for number in range(count)]


class Priced(BaseModel):
    """An item whose model has code that fails."""

    currency: str

    @field_validator("currency")
    @classmethod
    def known(cls, value: str) -> str:
        return {"EUR": "euro"}[value]


@operation("test.priced", item=Priced)
def priced(_ctx: Context, item: Priced) -> Result:
    return Done(item.currency)


def test_an_exception_of_a_model_is_the_failure_of_its_item_only() -> None:
    lines = [b'{"currency": "%s"}' % currency for currency in (b"EUR", b"XXX", b"EUR")]
    failed = Failed("handler_error", "KeyError: 'XXX'", retryable=True)
    assert work(priced, lines) == [Done("euro"), failed, Done("euro")]


@operation("test.asked", item=Number)
def asked(_ctx: Context, _item: Number) -> Result:
    Number.model_validate_json("what a model answers is prose")
    return Done()


def test_what_a_handler_finds_invalid_is_no_fault_of_its_item() -> None:
    (failed,) = work(asked, numbers(1))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable, failed.pointer) == ("handler_error", True, "")
    assert "Invalid JSON" in failed.message


@operation("test.even", item=Number)
def even(_ctx: Context, item: Number) -> Result:
    if item.number == 5:
        raise RuntimeError("five is right out")
    return Done(item.number) if item.number % 2 == 0 else Skipped("odd")


def test_an_exception_is_the_failure_of_its_item_only() -> None:
    results = work(even, numbers(7))
    assert results[4] == Done(4)
    assert results[5] == Failed("handler_error", "RuntimeError: five is right out", retryable=True)
    assert results[6] == Done(6)


@pytest.mark.parametrize(
    ("line", "code", "pointer"),
    [
        (b"{", "not_json", ""),
        (b"", "not_json", ""),
        (b'{"number": "x"}', "invalid", "/number"),
        (b'{"number": 1, "more": 2}', "invalid", "/more"),
        (b"\xff", "not_json", ""),
        (b"[1]", "invalid", ""),
    ],
)
def test_a_line_that_is_no_item_fails_with_code_and_pointer(
    line: bytes, code: str, pointer: str
) -> None:
    first, broken, last = work(even, [b'{"number": 2}', line, b'{"number": 4}'])
    assert (first, last) == (Done(2), Done(4))
    assert isinstance(broken, Failed)
    assert (broken.code, broken.pointer) == (code, pointer)


def test_one_bad_item_in_500_costs_at_most_19_calls_of_a_chunk_operation() -> None:
    calls: list[int] = []

    @operation("test.bulk", item=Number, per="chunk")
    def bulk(_ctx: Context, items: Sequence[Number]) -> list[Result]:
        calls.append(len(items))
        if any(item.number == 321 for item in items):
            raise RuntimeError("321")
        return [Done()] * len(items)

    scopes = Scopes()
    results = work(bulk, numbers(500), scopes)
    assert [i for i, result in enumerate(results) if isinstance(result, Failed)] == [321]
    assert len(calls) <= 19
    assert scopes.begun == len(calls)


def test_only_an_item_that_wrote_in_vain_costs_a_rollback() -> None:
    scopes = Scopes()

    @operation("test.vain", item=Number)
    def vain(ctx: Context, item: Number) -> Result:
        if item.number % 2:
            scopes.wrote.append(ctx.position)
        return Done() if item.number < 4 else Failed("no", "no")

    assert work(vain, numbers(8), scopes) == [Done()] * 4 + [Failed("no", "no")] * 4
    assert (scopes.begun, scopes.undone) == (8, 2)


def test_a_chunk_is_halved_down_to_the_item_that_wrote_in_vain() -> None:
    scopes = Scopes()

    @operation("test.vain", item=Number, per="chunk")
    def vain(ctx: Context, items: Sequence[Number]) -> list[Result]:
        scopes.wrote += ctx.positions
        return [Skipped("no") if item.number == 6 else Done() for item in items]

    results = work(vain, numbers(8), scopes)
    assert results.pop(6) == Skipped("no")
    assert results == [Done()] * 7
    assert [len(call.positions) for call in scopes.calls] == [8, 4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize(("read_only", "leaves"), [(False, Leaves.RECORDS), (True, Leaves.PARTS)])
def test_a_call_says_what_it_may_leave_behind(read_only: bool, leaves: Leaves) -> None:
    def fine(_ctx: Context, _item: Number) -> None:
        return None

    @operation("test.called", item=Number, validate=fine, read_only=read_only)
    def called(_ctx: Context, _item: Number) -> Result:
        return Done()

    scopes = Scopes()
    work(called, numbers(2), scopes)
    judged, *worked = scopes.calls
    assert (judged.leaves, list(judged.positions)) == (Leaves.NOTHING, [])
    assert worked == [Call([n], leaves, alone=n) for n in range(2)]


@pytest.mark.parametrize("returned", [[Done()], "text", None, [Done(), "x", Done()]])
def test_a_wrong_answer_is_the_plug_in_s_fault(returned: Any) -> None:
    @operation("test.wrong", item=Number, per="chunk")
    def wrong(_ctx: Context, _items: Sequence[Number]) -> Any:
        return returned

    results = work(wrong, numbers(3))
    assert all(isinstance(r, Failed) and r.code == "plugin_invalid" for r in results)


def test_validate_runs_first_and_its_failures_are_not_applied() -> None:
    applied: list[int] = []

    def small(_ctx: Context, item: Number) -> Failed | None:
        return Failed("too_big", "at most 2", "/number") if item.number > 2 else None

    @operation("test.small", item=Number, validate=small)
    def keep(_ctx: Context, item: Number) -> Result:
        applied.append(item.number)
        return Done()

    results = work(keep, numbers(5))
    assert applied == [0, 1, 2]
    assert results[3] == Failed("too_big", "at most 2", "/number")


@pytest.mark.parametrize("wrong", ["x", Failed("c", None), Done(score="high")])  # type: ignore[arg-type]
def test_a_wrong_result_among_others_fails_its_own_item(wrong: Any) -> None:
    @operation("test.one_wrong", item=Number, per="chunk")
    def some(_ctx: Context, items: Sequence[Number]) -> list[Result]:
        return [wrong if item.number == 3 else Done(item.number) for item in items]

    results = work(some, numbers(8))
    failed = results.pop(3)
    assert isinstance(failed, Failed)
    assert failed.code == "plugin_invalid"
    assert results == [Done(number) for number in range(8) if number != 3]


class Bare(BaseException):
    """No Exception."""


class Speechless(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise Bare


def test_an_operation_that_says_itself_that_it_is_wrong_takes_no_ledger_along() -> None:
    @operation("test.raises", item=Number)
    def some(_ctx: Context, item: Number) -> Result:
        raise PluginInvalid("bad \udcff" + "x" * 1000)

    (failed,) = work(some, numbers(1))
    assert failed == Failed("plugin_invalid", "bad ?" + "x" * 495)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Bare("x"), "Bare: x"),
        (GeneratorExit(), "GeneratorExit: "),
        (OSError("a\udcff.txt"), "OSError: a?.txt"),
        (Speechless(), "Speechless, and to say more raises Bare"),
    ],
)
def test_whatever_is_raised_fails_its_own_item(error: BaseException, message: str) -> None:
    @operation("test.raises", item=Number)
    def some(_ctx: Context, item: Number) -> Result:
        if item.number == 1:
            raise error
        return Done()

    failed = Failed("handler_error", message, retryable=True)
    assert work(some, numbers(3)) == [Done(), failed, Done()]


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ("text", "plugin_invalid"),
        (Done(), "plugin_invalid"),
        (Failed("x", "\udc80"), "handler_error"),
        (Failed("x", "y", details={"path": "\udc80"}), "handler_error"),
    ],
)
def test_what_validate_may_not_return_fails_its_own_item(returned: Any, code: str) -> None:
    def second(_ctx: Context, item: Number) -> Any:
        return returned if item.number == 1 else None

    @operation("test.checked", item=Number, validate=second)
    def keep(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    first, wrong, last = work(keep, numbers(3))
    assert (first, last) == (Done(0), Done(2))
    assert isinstance(wrong, Failed)
    assert wrong.code == code


@pytest.mark.parametrize(
    ("returned", "code"), [(None, "plugin_invalid"), (Failed("x", "\udc80"), "handler_error")]
)
def test_what_an_inverse_may_not_return_fails_its_own_item(returned: Any, code: str) -> None:
    def put_back(_ctx: Context, item: Number, _result: Any) -> Any:
        return returned if item.number == 1 else Restored()

    @operation("test.undone", item=Number, reversible=Reversible.INVERSE, inverse=put_back)
    def do(_ctx: Context, item: Number) -> Result:
        return Done(item.number)

    items = [(number, Number(number=number), number) for number in range(3)]
    undone = invert_items(do, context(3), items)
    assert (undone[0], undone[2]) == (Restored(), Restored())
    assert isinstance(undone[1], Failed)
    assert undone[1].code == code


def test_a_database_that_is_away_is_no_result() -> None:
    @operation("test.away", item=Number)
    def away(_ctx: Context, _item: Number) -> Result:
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        work(away, numbers(1))


def test_nor_is_it_where_a_model_asks_it() -> None:
    class Asking(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def known(cls, _value: int) -> int:
            raise StoreUnavailable("gone")

    @operation("test.asking", item=Asking)
    def asking(_ctx: Context, _item: Asking) -> Result:
        return Done()

    with pytest.raises(StoreUnavailable):
        work(asking, numbers(1))


def test_an_item_is_shown_as_it_was_sent() -> None:
    assert item_document(b'{"a": 1}') == {"a": 1}
    assert item_document(b"{oops") == "{oops"


def test_all_faults_of_an_item_are_told() -> None:
    (failed,) = parse_items(even, [b'{"number": "x", "a/b": 1}'])
    assert isinstance(failed, Failed)
    assert failed.message.endswith("(and 1 more)")
    said = [(issue["severity"], issue["pointer"]) for issue in failed.details["issues"]]
    assert said == [("error", "/number"), ("error", "/a~1b")]
    assert all(issue["message"] for issue in failed.details["issues"])


class Round(BaseModel):
    kind: Literal["round"]
    radius: float


class Square(BaseModel):
    kind: Literal["square"]
    sides: list[int | bool]


class Drawing(BaseModel):
    shape: Annotated[Round | Square, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("line", "pointers"),
    [
        (b'{"shape": {"kind": "round"}}', ["/shape/radius"]),
        (b'{"shape": {"kind": "round", "radius": "x"}}', ["/shape/radius"]),
        (b'{"shape": {"kind": "square", "sides": [1, "x", NaN]}}', ["/shape/sides/1"] * 2),
        (b'{"shape": {"kind": "oval"}}', ["/shape"]),
        (b"{}", ["/shape"]),
    ],
)
def test_a_pointer_leads_into_what_was_sent_and_names_no_alternative(
    line: bytes, pointers: list[str]
) -> None:
    @operation("test.draw", item=Drawing)
    def draw(_ctx: Context, _item: Drawing) -> Result:
        return Done()

    (failed,) = parse_items(draw, [line])
    assert isinstance(failed, Failed)
    assert failed.pointer == pointers[0]
    assert [issue["pointer"] for issue in failed.details["issues"]][: len(pointers)] == pointers
