"""One real server for all tests of the client, with a few operations to steer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.embedded import Server, serving
from tests.acceptance.plugins import plugin

SHOP = '''
import asyncio
from pydantic import BaseModel, Field
from domain.operation import operation
from domain.outcomes import Done, Failed, Restored

class Number(BaseModel):
    number: int = Field(ge=0)

def back(ctx, item, result):
    return Restored()

@operation("shop.square", item=Number, inverse=back)
def square(ctx, item):
    """Square numbers, but for thirteen."""
    if item.number == 13:
        return Failed("unlucky", "take another number", "/number")
    return Done({"square": item.number**2})

@operation("shop.wait", item=Number, slow=True, concurrency=4)
async def wait(ctx, item):
    """Take a moment for each number."""
    await asyncio.sleep(item.number / 1000)
    return Done()

class Noted(BaseModel):
    note: str = ""

@operation("shop.noted", item=Number, params=Noted, inverse=back)
def noted(ctx, item):
    """Say how long the note of the job is."""
    return Done({"note": len(ctx.params.note)})

class Price(BaseModel):
    price_id: int = Field(alias="priceId")

class Rule(BaseModel):
    times_as: int = Field(alias="timesAs")

@operation("shop.price", item=Price, params=Rule)
def price(ctx, item):
    """Multiply what has another name outside than within."""
    return Done({"price": item.price_id * ctx.params.times_as})

operations = [square, wait, noted, price]
'''


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home: Path = tmp_path_factory.mktemp("client")
    (home / "data").mkdir()
    with serving(home / "data", PYTHONPATH=plugin(home / "site", "shop", SHOP)) as running:
        yield running
