"""Operations: what a job can be told to do, with the JSON Schemas of its input."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api.answers import answer
from api.edge import edge
from api.parameters import Parameters
from domain.operation import Operation


async def operations(request: web.Request) -> web.Response:
    """All registered operations, by kind."""
    Parameters(request, ())
    return answer({"items": [operation_document(kind) for kind in edge(request).registry]})


def operation_document(operation: Operation) -> dict[str, Any]:
    """What a caller needs to know of an operation."""
    return {
        "kind": operation.kind,
        "system": operation.system,
        "description": operation.description,
        "reversible": operation.reversible.value,
        "slow": operation.slow,
        "destructive": operation.destructive,
        "selectable": None if operation.selectable is None else operation.selectable.name,
        "codes": sorted(operation.codes),
        "provider": operation.provider or None,
        "outside": list(operation.outside),
        "compensated": operation.compensate is not None,
        "params": operation.params.model_json_schema(),
        "item": operation.item.model_json_schema(),
    }
