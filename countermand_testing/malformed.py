"""Malformed items: good ones with something wrong, and what is no item at all."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from pydantic import BaseModel

STRANGERS: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    1e308,
    "",
    "\x00",
    "\N{SNAKE}" * 2000,
    "2024-02-30",
    [],
    [[[[]]]],
    {},
    {"$ref": "#"},
)
AT_MOST = 60


def malformed(model: type[BaseModel], items: list[Any], chance: Random) -> list[Any]:
    """Good items with a field left out, of another type, or too many.

    Some of them may be of the model all the same, and then be whatever the operation says.
    """
    wrong: list[Any] = [None, 1, [], {}, "text", [items[0]]]
    fields = list(model.model_fields)
    for item in items[:3]:
        if not isinstance(item, dict):
            continue
        wrong.append(item | {"a_field_that_nobody_knows": 1})
        for name in fields:
            left = copy.deepcopy(item)
            left.pop(name, None)
            wrong.append(left)
            wrong += [item | {name: stranger} for stranger in chance.sample(STRANGERS, 6)]
    chance.shuffle(wrong)
    return wrong[:AT_MOST]
