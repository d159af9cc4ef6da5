"""Models: bodies checked against pydantic models, each fault with a pointer to its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.bodies import encode, parse_optional
from api.problems import Problem, RequestRefused
from domain.pointers import pointer_of, way_in
from domain.values import Value

Model = TypeVar("Model", bound=BaseModel)

MAX_FAULTS = 20


class Nothing(Value):
    """A body that says nothing, where there is nothing to be said."""


def checked(
    model: type[Model], value: Any, depth: int, *, whole: type[BaseModel] | None = None
) -> Model:
    """The value as an instance of ``model``; raises RequestRefused that names each fault.

    Strict: no number is taken from a string. The value goes through JSON, so that what
    was accepted can be stored. ``whole`` is what the client may send, where some of it has
    been taken out of the value.
    """
    try:
        return model.model_validate_json(encode(value, depth), strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [
            {
                "pointer": pointer_of(way_in(value, fault["loc"], fault["type"])),
                "detail": _words(fault, whole or model, value),
            }
            for fault in _causes(faults)[:MAX_FAULTS]
        ]
        raise _refusal(errors) from None


def understood(model: type[Model], text: bytes, depth: int) -> Model:
    """A body that may be left out, as ``checked`` has it; raises RequestRefused."""
    return checked(model, parse_optional(text), depth)


def invalid(detail: str, pointer: str) -> RequestRefused:
    """The refusal of a body that is JSON and not what is asked for."""
    return RequestRefused(Problem(422, "invalid", detail, pointer))


def _refusal(errors: Sequence[dict[str, str]]) -> RequestRefused:
    first = errors[0]
    where = first["pointer"] or "the body"
    detail = f"{where}: {first['detail']}"
    return RequestRefused(Problem(422, "invalid", detail, first["pointer"], errors=errors))


def _causes(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows: a list is not too short by itself when what is in it is wrong."""
    around = {fault["loc"][:length] for fault in faults for length in range(1, len(fault["loc"]))}
    return [fault for fault in faults if fault["loc"] not in around]


def _words(fault: ErrorDetails, model: type[BaseModel], value: Any) -> str:
    """What is wrong, and what there is in place of a field that there is not."""
    if fault["type"] != "extra_forbidden":
        return fault["msg"].removeprefix("Value error, ")
    *places, _ = way_in(value, fault["loc"], fault["type"])
    return f"there is no such field; possible: {', '.join(_fields(model, places)) or 'none'}"


def _fields(model: type[BaseModel], places: Sequence[int | str]) -> list[str]:
    """The fields that there can be at a place, by the schema of the model."""
    whole = _schema(model)
    found = list(_alternatives(whole, whole))
    for place in places:
        inner = [each for schema in found if isinstance(each := _inside(schema, place), dict)]
        found = [one for each in inner for one in _alternatives(each, whole)]
    return sorted({name for schema in found for name in schema.get("properties", ())})


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _alternatives(schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a schema refers to, and each of those of which it is one."""
    if "$ref" in schema:
        yield from _alternatives(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
        return
    yield schema
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _alternatives(each, whole)


def _inside(schema: dict[str, Any], place: int | str) -> Any:
    """The schema of what stands there; None where nothing does."""
    if isinstance(place, int):
        return schema.get("items")
    return schema.get("properties", {}).get(place) or schema.get("additionalProperties")
