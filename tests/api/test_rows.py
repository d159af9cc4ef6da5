"""Exports: no spreadsheet takes a cell for a formula, and nothing is lost on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from api import rows
from domain.outcomes import ItemStatus
from streams.items import Fault, ItemView


def view(position: int = 0, message: str = "no", result: Any = None) -> ItemView:
    fault = Fault("odd", message, "/n", False)
    return ItemView(position, ItemStatus.FAILED, result, -5, None, fault, 0, 1, b'{"n": 1}')


def parsed(*views: ItemView, payload: bool = False) -> list[dict[str, str]]:
    line = rows.csv_line(payload=payload)
    text = rows.csv_head(payload=payload) + b"".join(map(line, views))
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


@pytest.mark.parametrize(
    "message",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1+1", "\n=1", "-x"],
)
def test_a_formula_becomes_text(message: str) -> None:
    assert parsed(view(message=message))[0]["message"] == f"'{message}"


@pytest.mark.parametrize("message", ["-5", "-5.25", "-1e-7", "plain", "a=b", 'q"uo,te\nline'])
def test_other_cells_stay_as_they_are(message: str) -> None:
    assert parsed(view(message=message))[0]["message"] == message


def test_numbers_and_documents_stay_what_they_are() -> None:
    row = parsed(view(result={"n": [1, "ä"]}), payload=True)[0]
    assert row["score"] == "-5"
    assert row["retryable"] == "false"
    assert orjson.loads(row["result"]) == {"n": [1, "ä"]}
    assert orjson.loads(row["item"]) == {"n": 1}


async def test_blocks_are_bounded_and_whole() -> None:
    async def views() -> AsyncGenerator[ItemView, None]:
        for position in range(2000):
            yield view(position)

    blocks = [block async for block in rows.blocks(views(), rows.json_line(payload=False))]
    assert len(blocks) > 3
    assert max(map(len, blocks)) < rows.BLOCK + 33_000
    positions = [orjson.loads(line)["position"] for line in b"".join(blocks).splitlines()]
    assert positions == list(range(2000))
