"""The registry: explicit, all or nothing, a taken kind is refused."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import BaseModel

from domain.errors import PluginInvalid, UnknownOperation
from domain.operation import Context, Operation, operation
from domain.outcomes import Done, Result
from domain.registry import Registry


class Price(BaseModel):
    amount: int


@operation("shop.reprice", item=Price)
def reprice(ctx: Context, item: Price) -> Result:
    """Set the price of an article."""
    return Done(item.amount)


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
