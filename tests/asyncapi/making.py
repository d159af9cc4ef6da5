"""Making: messages from a JSON Schema, as a producer that knows only the schema would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


class Making:
    """Strategies for the schemas of a document; raises KeyError for words it does not know."""

    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]

    def message(self, name: str) -> st.SearchStrategy[Any]:
        return self.of(self._schemas[name])

    def of(self, schema: Schema) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self.message(schema["$ref"].rpartition("/")[2])
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "anyOf" in schema or "oneOf" in schema:
            return st.one_of([self.of(each) for each in schema.get("anyOf", schema.get("oneOf"))])
        if "type" not in schema:
            return JSON
        make = {
            "object": self._object,
            "array": self._array,
            "string": _string,
            "integer": _integer,
            "number": _number,
            "boolean": lambda _: st.booleans(),
            "null": lambda _: st.none(),
        }
        return make[schema["type"]](schema)

    def _object(self, schema: Schema) -> st.SearchStrategy[Any]:
        if "properties" not in schema:
            return self._map(schema)
        made = {name: self.of(each) for name, each in schema["properties"].items()}
        required = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {name: each for name, each in made.items() if name in required},
            optional={name: each for name, each in made.items() if name not in required},
        )

    def _map(self, schema: Schema) -> st.SearchStrategy[Any]:
        if "patternProperties" in schema:
            ((pattern, values),) = schema["patternProperties"].items()
            names = self.of({"type": "string", "pattern": pattern, **schema["propertyNames"]})
            return st.dictionaries(names.filter(bool), self.of(values), max_size=3)
        values = schema["additionalProperties"]
        made = JSON if values is True else self.of(values)
        return st.dictionaries(st.text(max_size=5), made, max_size=3)

    def _array(self, schema: Schema) -> st.SearchStrategy[Any]:
        low = schema.get("minItems", 0)
        return st.lists(
            self.of(schema["items"]), min_size=low, max_size=min(schema.get("maxItems", 3), low + 3)
        )


def _string(schema: Schema) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    low, high = schema.get("minLength", 0), min(schema.get("maxLength", 50), 50)
    if "pattern" in schema:
        # Python's $ also matches before a last newline; the schema's does not.
        made = st.from_regex(schema["pattern"], fullmatch=True)
        return made.filter(lambda text: low <= len(text) <= high or low == 0)
    return st.text(min_size=low, max_size=high)


def _integer(schema: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum", -(2**53)), schema.get("maximum", 2**53))


def _number(schema: Schema) -> st.SearchStrategy[Any]:
    above = schema.get("exclusiveMinimum")
    low, high = schema.get("minimum", above), schema.get("maximum")
    return st.floats(
        low, high, exclude_min=above is not None, allow_nan=False, allow_infinity=False
    )
