"""Declarations of operations: what is left out is sensible, what contradicts itself is refused."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest
from pydantic import BaseModel

from domain.errors import PluginInvalid, ResultInvalid
from domain.operation import Context, NoParams, Operation, Reversible, operation
from domain.outcomes import Conflicted, Done, Failed, Restored, Result, Skipped, UndoResult
from domain.returned import results_of, undone_of


class Price(BaseModel):
    amount: int


class FixedClock:
    """Always the same moment."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def _apply(ctx: Context, item: Price) -> Result:
    """Set the price.

    Of an article.
    """
    return Done()


async def _wait(ctx: Context, item: Price) -> Result:
    return Done()


def _inverse(ctx: Context, item: Price, result: object) -> UndoResult:
    return Restored()


async def _wait_back(ctx: Context, item: Price, result: object) -> UndoResult:
    return Restored()


def _yield(ctx: Context, item: Price) -> Iterator[Result]:
    yield Done()


async def _yield_later(ctx: Context, item: Price) -> AsyncIterator[Result]:
    yield Done()


class _Waiting:
    """Is called as a function that waits."""

    async def __call__(self, ctx: Context, item: Price, result: object = None) -> Result:
        return Done()


def _declared(kind: str = "shop.reprice", **options: object) -> Operation:
    apply, item = options.pop("apply", _apply), options.pop("item", Price)
    return operation(kind, item=item, **options)(apply)  # type: ignore[arg-type]


def test_a_declaration_needs_a_kind_and_an_item_and_nothing_more() -> None:
    declared = _declared()
    assert declared.params is NoParams
    assert declared.reversible is Reversible.BEFORE_IMAGE
    assert declared.system == "shop"
    assert declared.description == "Set the price.\n\nOf an article."
    assert not declared.is_async


@pytest.mark.parametrize(
    ("options", "reversible"),
    [
        ({}, Reversible.BEFORE_IMAGE),
        ({"inverse": _inverse}, Reversible.INVERSE),
        ({"slow": True}, Reversible.NO),
        ({"slow": True, "inverse": _inverse}, Reversible.INVERSE),
        ({"cpu_bound": True}, Reversible.NO),
        ({"cpu_bound": True, "inverse": _inverse}, Reversible.INVERSE),
        ({"reversible": Reversible.NO}, Reversible.NO),
        ({"read_only": True}, Reversible.NO),
        ({"outside": ["mail"]}, Reversible.NO),
        ({"outside": ["mail"], "inverse": _inverse}, Reversible.INVERSE),
        ({"outside": ["mail"], "compensate": _inverse}, Reversible.BEFORE_IMAGE),
        ({"outside": ["mail"], "compensate": _inverse, "slow": True}, Reversible.COMPENSATION),
        ({"outside": ["x"], "compensate": _inverse, "cpu_bound": True}, Reversible.COMPENSATION),
    ],
)
def test_how_it_is_undone_follows_from_the_rest(
    options: dict[str, object], reversible: Reversible
) -> None:
    assert _declared(**options).reversible is reversible


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("reprice", {}, "must read system.verb"),
        ("shop.", {}, "must read system.verb"),
        (".reprice", {}, "must read system.verb"),
        ("shop.re price", {}, "must read system.verb"),
        ("my shop.reprice", {}, "must read system.verb"),
        ("größe.reprice", {}, "write it with a to z, A to Z, digits and _"),
        (f"{'s' * 101}.reprice", {}, "100 characters at most"),
        ("shop." + "a" * 196, {}, "has 201 characters; use at most 200"),
        ("shop.a", {"outside": "mail"}, "outside is one text where names are wanted"),
        ("shop.a", {"codes": "no_price"}, r"write codes=\['no_price'\]"),
        ("shop.a", {"formerly": "shop.old"}, r"write formerly=\['shop.old'\]"),
        ("shop.a", {"formerly": ["old"]}, "formerly 'old' must read system.verb"),
        ("shop.a", {"item": dict}, "item <class 'dict'> is no model; derive one from BaseModel"),
        ("shop.a", {"params": Price(amount=1)}, "params .* is no model"),
        ("shop.a", {"per": "chunks"}, "per is 'chunks'; use 'item' or 'chunk'"),
        ("shop.a", {"apply": "reprice"}, "the function is 'reprice'; give it a function"),
        ("shop.a", {"apply": lambda item: Done()}, r"the function is called as \(ctx, item\)"),
        ("shop.a", {"validate": _inverse}, r"validate is called as \(ctx, item\)"),
        ("shop.a", {"inverse": _apply}, r"inverse is called as \(ctx, item, result\)"),
        ("shop.a", {"outside": ["mail"], "compensate": _apply}, "compensate is called as"),
        ("shop.a", {"apply": _yield}, "the function yields, which is no result"),
        ("shop.a", {"apply": _yield_later, "slow": True}, "the function yields"),
        ("shop.a", {"validate": partial(_yield)}, "validate yields"),
        ("shop.a", {"validate": _wait}, "validate waits for nothing; make it sync"),
        ("shop.a", {"inverse": _wait_back}, "make it sync, or use compensate"),
        ("shop.a", {"inverse": _Waiting()}, "make it sync, or use compensate"),
        ("shop.a", {"slow": True, "per": "chunk"}, "use per='item'"),
        ("shop.a", {"cpu_bound": True, "per": "chunk"}, "use per='item'"),
        ("shop.a", {"apply": _wait}, "declare it slow=True"),
        ("shop.a", {"apply": _Waiting()}, "declare it slow=True"),
        ("shop.a", {"apply": partial(_Waiting())}, "declare it slow=True"),
        ("shop.a", {"apply": _wait, "cpu_bound": True}, "declare it slow=True alone"),
        ("shop.a", {"apply": _wait, "cpu_bound": True, "slow": True}, "slow=True alone"),
        ("shop.a", {"apply": lambda ctx, item: Done(), "cpu_bound": True}, "at a module's top"),
        ("shop.a", {"apply": partial(_apply), "cpu_bound": True}, "at a module's top level"),
        ("shop.a", {"slow": True, "reversible": Reversible.BEFORE_IMAGE}, "give it an inverse"),
        ("shop.a", {"cpu_bound": True, "reversible": Reversible.BEFORE_IMAGE}, "an inverse, or"),
        ("shop.a", {"reversible": Reversible.INVERSE}, "no inverse is given"),
        ("shop.a", {"compensate": _inverse}, "say what compensate takes back"),
        ("shop.a", {"read_only": True, "inverse": _inverse}, "or leave read_only out"),
        ("shop.a", {"read_only": True, "outside": ["mail"]}, "or leave read_only out"),
        ("shop.a", {"read_only": True, "slow": True}, "or leave read_only out"),
        (
            "shop.a",
            {"compensate": _inverse, "inverse": _inverse, "outside": ["mail"]},
            "or by an inverse; leave one out",
        ),
        (
            "shop.a",
            {"outside": ["mail", "fax"], "reversible": Reversible.BEFORE_IMAGE},
            "do not take back mail and fax",
        ),
        ("shop.a", {"reversible": Reversible.COMPENSATION}, "but none is given"),
        ("shop.a", {"provider": "open ai"}, "must be a word, as openai"),
        ("shop.a", {"timeout": 0}, "must be positive"),
        ("shop.a", {"timeout": float("nan")}, "must be positive, and finite"),
        ("shop.a", {"timeout": float("inf")}, "must be positive, and finite"),
        ("shop.a", {"concurrency": 0}, "must be positive"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    kind: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(PluginInvalid, match=message):
        _declared(kind, **options)


async def test_a_compensation_is_called_as_a_slow_operation_of_its_own() -> None:
    async def wait(ctx: Context, item: Price, result: object) -> UndoResult:
        return Failed("no", f"{item.amount} {result} {ctx.idempotency_key}")

    def once(ctx: Context, item: Price, result: object) -> UndoResult:
        return Restored()

    context = Context("j", "t", "a", None, 0, 1, [3], 0.0, FixedClock(), taking_back=True)
    waiting = _declared(outside=["mail"], compensate=wait, per="chunk").compensating
    assert waiting is not None
    assert (waiting.slow, waiting.per, waiting.is_async) == (True, "item", True)
    assert waiting.kind == "shop.reprice.compensation"
    returned = waiting.apply(context, (Price(amount=7), {"id": 1}))
    assert inspect.isawaitable(returned)
    assert await returned == Failed("no", "7 {'id': 1} j:3:undo")
    direct = _declared(outside=["mail"], compensate=once).compensating
    assert direct is not None
    assert not direct.is_async
    assert direct.apply(context, (Price(amount=7), None)) == Restored()
    assert _declared().compensating is None


def test_the_key_of_an_effect_is_not_that_of_its_compensation() -> None:
    context = Context("j", "t", "a", None, 0, 1, [3], 0.0, FixedClock())
    back = replace(context, taking_back=True)
    assert (context.idempotency_key, back.idempotency_key) == ("j:3", "j:3:undo")
    assert back.key_of(3) == "j:3"


def test_what_a_compensation_returns_is_checked() -> None:
    declared = _declared(outside=["mail"], compensate=_inverse)
    assert undone_of(declared, Restored()) == Restored()
    with pytest.raises(PluginInvalid, match="returned NoneType; return Restored, Conflicted"):
        undone_of(declared, None)
    with pytest.raises(TypeError, match="no JSON document"):
        undone_of(declared, Failed("x", "\udc80"))


def test_what_is_done_outside_can_only_be_validated_beforehand() -> None:
    assert _declared().only_writes_records
    assert not _declared(outside=["mail"], compensate=_inverse).only_writes_records
    assert not _declared(outside=["mail"], compensate=_inverse).may_be_rehearsed


def test_what_only_reads_can_be_rehearsed() -> None:
    declared = _declared(read_only=True)
    assert declared.may_be_rehearsed
    assert not declared.only_writes_records


def test_parts_are_kept_only_where_a_chunk_is_worked() -> None:
    context = Context("j", "t", "a", None, 0, 1, [3], 0.0, FixedClock())
    with pytest.raises(PluginInvalid, match="no chunk of a job"):
        _ = context.made


def test_a_kind_may_have_several_parts() -> None:
    assert _declared("shop.price.set").system == "shop"


def test_a_name_that_kafka_does_not_take_can_be_left_behind() -> None:
    assert _declared("shop.size", formerly=["größe.x"]).formerly == ("größe.x",)


def test_a_function_of_which_nobody_can_say_what_it_takes_is_taken() -> None:
    assert _declared(apply=max).apply is max


@pytest.mark.parametrize("apply", [_wait, partial(_wait), _Waiting()])
def test_an_operation_that_waits_is_declared_slow(apply: object) -> None:
    assert _declared(apply=apply, slow=True).is_async


def test_params_of_an_operation_without_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        NoParams.model_validate({"colour": "red"})


# -- results ----------------------------------------------------------------------


def test_results_are_one_an_item() -> None:
    declared = _declared()
    assert results_of(declared, Done(1), 1) == [Done(1)]
    both: list[Result] = [Skipped("sold"), Failed("taken", "somebody has it")]
    assert results_of(declared, both, 2) == both


@pytest.mark.parametrize(
    ("returned", "count", "message"),
    [
        ([Done()], 2, "1 results for 2 items"),
        ([], 1, "0 results for 1 items"),
        (None, 1, "returned NoneType; return Done, Failed or Skipped"),
        ([Done(), True], 2, "returned bool"),
    ],
)
def test_anything_else_is_the_plugins_fault(returned: object, count: int, message: str) -> None:
    with pytest.raises(PluginInvalid, match=message):
        results_of(_declared(), returned, count)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (Done(score="high"), "a Done whose score is str; give it a float, an int or None"),  # type: ignore[arg-type]
        (Done(score=True), "a Done whose score is bool"),
        (Failed("", "no code"), "a Failed whose code is str; give it text of 1 to 100 characters"),
        (Failed("c" * 101, "a long code"), "whose code is str"),
        (Failed("c\0", "no text for a database"), "whose code is str"),
        (Failed(5, "no text"), "whose code is int"),  # type: ignore[arg-type]
        (Failed("c", None), "a Failed whose message is NoneType; give it text"),  # type: ignore[arg-type]
        (Failed("c", "m", None), "a Failed whose pointer is NoneType"),  # type: ignore[arg-type]
        (Failed("c", "m", retryable="yes"), "retryable is str; give it True or False"),  # type: ignore[arg-type]
        (Skipped(None), "a Skipped whose reason is NoneType"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_a_wrong_type_is_told(result: Result, message: str) -> None:
    with pytest.raises(ResultInvalid, match=message):
        results_of(_declared(), [Done(), result], 2)


def test_a_conflict_of_a_wrong_type_is_told() -> None:
    declared = _declared(outside=["mail"], compensate=_inverse)
    with pytest.raises(ResultInvalid, match="a Conflicted whose by is NoneType; give it text"):
        undone_of(declared, Conflicted("prices 1", None, "changed"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "result",
    [
        Done("\ud800"),
        Done({"id": 2**80}),
        Failed("no_file", "a\udcff.txt"),
        Failed("no_file", "not there", details={"path": "a\udcff.txt"}),
        Skipped("\ud800"),
    ],
)
def test_a_result_that_no_ledger_can_hold_fails_its_own_item(result: Result) -> None:
    with pytest.raises(TypeError, match="what is no JSON document"):
        results_of(_declared(), result, 1)


@pytest.mark.parametrize("result", [Done(), Done({1: "a"}), Done(Decimal("1.5")), Done(0.5, 0.5)])
def test_what_can_be_written_as_json_is_a_result(result: Result) -> None:
    assert results_of(_declared(), result, 1) == [result]


# -- context ----------------------------------------------------------------------


def _context() -> Context:
    return Context(
        job_id="job-1",
        tenant="local",
        actor="ada",
        params=NoParams(),
        chunk=3,
        attempt=2,
        positions=(17, 18),
        deadline=60.0,
        clock=FixedClock(),
    )


def test_the_idempotency_key_does_not_depend_on_chunk_or_attempt() -> None:
    context = _context()
    assert context.position == 17
    assert context.idempotency_key == "job-1:17"
    assert context.key_of(18) == "job-1:18"


def test_a_slow_operation_has_no_records() -> None:
    with pytest.raises(PluginInvalid, match="no transaction is open"):
        _ = _context().store
