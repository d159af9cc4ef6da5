"""Models: bodies checked against pydantic models, each fault with a pointer to its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.bodies import encode
from api.problems import Problem, RequestRefused
from domain.values import Value

Model = TypeVar("Model", bound=BaseModel)

MAX_FAULTS = 20


class Nothing(Value):
    """A body that says nothing, where there is nothing to be said."""


def checked(model: type[Model], value: Any, depth: int) -> Model:
    """The value as an instance of ``model``; raises RequestRefused that names each fault.

    Strict: no number is taken from a string. The value goes through JSON, so that what
    was accepted can be stored.
    """
    try:
        return model.model_validate_json(encode(value, depth), strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [
            {"pointer": _pointer(fault["loc"], value, fault["type"]), "detail": fault["msg"]}
            for fault in faults[:MAX_FAULTS]
        ]
        raise _refusal(errors) from None


def invalid(detail: str, pointer: str) -> RequestRefused:
    """The refusal of a body that is JSON and not what is asked for."""
    return RequestRefused(Problem(422, "invalid", detail, pointer))


def _refusal(errors: Sequence[dict[str, str]]) -> RequestRefused:
    first = errors[0]
    where = first["pointer"] or "the body"
    detail = f"{where}: {first['detail']}"
    return RequestRefused(Problem(422, "invalid", detail, first["pointer"], errors=errors))


def _pointer(place: Sequence[int | str], value: Any, kind: str) -> str:
    """A JSON pointer into ``value``; names of alternatives of a union are no part of it."""
    parts: list[str] = []
    for number, part in enumerate(place, start=1):
        if _has(value, part):
            value = value[part]
        elif kind != "missing" or number < len(place) or not isinstance(value, dict):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _has(value: Any, part: int | str) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)
