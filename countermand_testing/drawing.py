"""Drawing: hypothesis strategies for items, from the JSON Schema of their model.

What the schema cannot say (a validator of the model's own) is asked of the model itself.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from countermand_testing.case import ContractBrokenError

Schema = Mapping[str, Any]
Drawn = st.SearchStrategy[Any]

LARGEST = 2**63 - 1
"""What JSON numbers may be, here and in both databases."""
LONGEST = 50
DEEPEST = 4
_JSON = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.text(max_size=LONGEST)
_FORMATS: dict[str, Drawn] = {
    "date": st.dates().map(str),
    "date-time": st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    "time": st.times().map(str),
    "uuid": st.uuids().map(str),
}


def items_of(model: type[BaseModel], known: Sequence[Any] = ()) -> Drawn:
    """Items of a model; some values are those of ``known`` items, so that ids exist."""
    schema = model.model_json_schema()
    drawn = _draw(schema, schema.get("$defs", {}), 0)
    if known:
        drawn = st.builds(_mixed, drawn, st.sampled_from(list(known)), st.randoms())
    return drawn.filter(lambda item: _is_of(model, item))


def _mixed(item: Any, known: Any, chance: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(known, dict):
        return known if chance.random() < 0.5 else item
    taken = {name: value for name, value in known.items() if chance.random() < 0.8}
    return item | taken


def _is_of(model: type[BaseModel], item: Any) -> bool:
    try:
        model.model_validate_json(orjson.dumps(item))
    except (ValidationError, TypeError):
        return False
    return True


def _draw(schema: Schema, defined: Mapping[str, Any], depth: int) -> Drawn:
    if "$ref" in schema:
        return _draw(defined[schema["$ref"].rpartition("/")[2]], defined, depth + 1)
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema.get("const")])
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        flat = [option for option in options if "$ref" not in option]
        chosen = flat if flat and depth > DEEPEST else options
        return st.one_of([_draw(option, defined, depth) for option in chosen])
    kind = schema.get("type")
    if kind in ("object", "array"):
        return (_object if kind == "object" else _array)(schema, defined, depth)
    return _plain(schema)


def _plain(schema: Schema) -> Drawn:
    kind = schema.get("type", "any")
    if kind not in _PLAIN:
        raise ContractBrokenError(f"no items can be drawn for {schema}; give a strategy for them")
    return _PLAIN[kind](schema)


def _object(schema: Schema, defined: Mapping[str, Any], depth: int) -> Drawn:
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    fields = {name: _draw(inner, defined, depth + 1) for name, inner in properties.items()}
    more = schema.get("additionalProperties")
    if not fields and more:
        values = _draw(more, defined, depth + 1) if isinstance(more, dict) else _JSON
        return st.dictionaries(st.text(string.ascii_letters, max_size=8), values, max_size=3)
    must = {name: drawn for name, drawn in fields.items() if name in required}
    may = {name: drawn for name, drawn in fields.items() if name not in required}
    return st.fixed_dictionaries(must, optional=may)


def _array(schema: Schema, defined: Mapping[str, Any], depth: int) -> Drawn:
    fewest = schema.get("minItems", 0)
    most = min(schema.get("maxItems", fewest + 4), fewest + 4)
    if "prefixItems" in schema:
        return st.tuples(*(_draw(i, defined, depth + 1) for i in schema["prefixItems"])).map(list)
    inner = _draw(schema.get("items", {}), defined, depth + 1)
    unique = repr if schema.get("uniqueItems") else None
    return st.lists(inner, min_size=fewest, max_size=most, unique_by=unique)


def _text(schema: Schema) -> Drawn:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=False)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    shortest = schema.get("minLength", 0)
    longest = min(schema.get("maxLength", shortest + LONGEST), shortest + LONGEST)
    # Half a pair of surrogates is no UTF-8, hence in no JSON document.
    letters = st.characters(exclude_categories=["Cs"])
    return st.text(letters, min_size=shortest, max_size=longest)


def _bounds(schema: Schema, step: int) -> tuple[Any, Any]:
    """The smallest and the largest number; those that are excluded are ``step`` away."""
    whole = (-LARGEST, LARGEST) if step else (None, None)
    low, high = schema.get("minimum", whole[0]), schema.get("maximum", whole[1])
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    return low, high


def _number(schema: Schema) -> Drawn:
    return st.floats(*_bounds(schema, 0), allow_nan=False, allow_infinity=False)


_PLAIN: dict[str, Callable[[Schema], Drawn]] = {
    "string": _text,
    "integer": lambda schema: st.integers(*_bounds(schema, 1)),
    "number": _number,
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
    "any": lambda _: _JSON,
}
