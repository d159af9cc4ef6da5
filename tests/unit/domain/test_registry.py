"""The registry: explicit, all or nothing, a taken kind is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import FunctionType

import pytest
from pydantic import BaseModel

from domain.errors import PluginInvalid, UnknownOperation
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Result
from domain.registry import Registry


class Price(BaseModel):
    amount: int


@operation("shop.square", item=Price, cpu_bound=True)
def square(ctx: Context, item: Price) -> Result:
    """Work for a processor."""
    return Done(item.amount**2)


def _cube(ctx: Context, item: Price) -> Result:
    return Done(item.amount**3)


cube = operation("shop.cube", item=Price, cpu_bound=True)(_cube)


@operation("shop.reprice", item=Price)
def reprice(ctx: Context, item: Price) -> Result:
    """Set the price of an article."""
    return Done(item.amount)


def _square_of_old() -> Callable[[Context, Price], Result]:
    """A function that was called as another one is now."""
    older = FunctionType(_cube.__code__, globals(), "square")
    older.__qualname__ = "square"
    return older


def _named(kind: str) -> Operation:
    return dataclasses.replace(reprice, kind=kind)


def test_an_operation_is_found_by_its_kind() -> None:
    registry = Registry([reprice])
    assert registry.get("shop.reprice") is reprice


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    registry = Registry([_named("shop.sell"), reprice])
    with pytest.raises(UnknownOperation, match=r"registered: shop\.reprice, shop\.sell") as refused:
        registry.get("shop.burn")
    assert refused.value.pointer == "/operation"
    with pytest.raises(UnknownOperation, match="registered: none"):
        Registry().get("shop.burn")


def test_what_an_operation_was_called_still_finds_it_and_is_taken() -> None:
    renamed = dataclasses.replace(reprice, formerly=("shop.set_price",))
    registry = Registry([renamed])
    assert registry.get("shop.set_price") is renamed
    assert "shop.set_price" in registry
    assert list(registry) == [renamed]
    with pytest.raises(PluginInvalid, match=r"shop\.set_price"):
        registry.register([_named("shop.set_price")])


def test_jobs_are_stored_under_former_names_as_well() -> None:
    renamed = dataclasses.replace(reprice, formerly=("shop.set_price",))
    registry = Registry([renamed, square])
    assert registry.kinds() == ["shop.reprice", "shop.set_price", "shop.square"]
    assert registry.kinds(lambda one: one.cpu_bound) == ["shop.square"]
    assert registry.kinds(lambda one: one is renamed) == ["shop.reprice", "shop.set_price"]


def test_all_names_of_an_operation_are_known_by_each_of_them() -> None:
    renamed = dataclasses.replace(reprice, formerly=("shop.set_price", "prices.set"))
    registry = Registry([renamed, square])
    names = ("shop.reprice", "shop.set_price", "prices.set")
    assert [registry.names_of(kind) for kind in names] == [names] * 3
    assert registry.names_of("shop.square") == ("shop.square",)
    assert registry.names_of("shop.gone") == ("shop.gone",)


@pytest.mark.parametrize(
    "fresh",
    [
        [_named("shop.sell"), reprice],
        [_named("shop.sell"), _named("shop.sell")],
        [_named("shop.sell"), _named("nonsense")],
    ],
    ids=["taken", "twice", "wrong"],
)
def test_registration_is_all_or_nothing(fresh: list[Operation]) -> None:
    registry = Registry([reprice])
    with pytest.raises(PluginInvalid):
        registry.register(fresh)
    assert list(registry) == [reprice]


def test_operations_come_in_order_and_systems_once() -> None:
    registry = Registry([_named("yard.mow"), reprice, _named("shop.close")])
    assert [known.kind for known in registry] == ["shop.close", "shop.reprice", "yard.mow"]
    assert registry.systems == ["shop", "yard"]


def test_what_batches_are_called_is_taken() -> None:
    with pytest.raises(PluginInvalid, match=r"batch\.steps"):
        Registry([_named("batch.steps")])


def test_an_operation_is_registered_that_another_process_finds_by_its_name() -> None:
    assert Registry([square]).get("shop.square") is square
    Registry([dataclasses.replace(square, kind="shop.square_again")])


def test_an_operation_of_a_module_that_is_nowhere_is_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A module that was made of text; another process may have a file of it."""
    monkeypatch.setattr(_cube, "__module__", "nowhere")
    Registry([cube])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (cube, "test_registry._cube is no operation; .* under the name of its function"),
        (dataclasses.replace(square, apply=_square_of_old()), "is another operation by now"),
    ],
    ids=["another name", "another function"],
)
def test_what_another_process_would_not_find_is_refused(declared: Operation, message: str) -> None:
    with pytest.raises(PluginInvalid, match=message):
        Registry([declared])
