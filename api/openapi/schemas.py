"""Schemas: the JSON Schemas of all bodies and answers, as pydantic derives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

Document = dict[str, Any]
Model = type[BaseModel]
Mode = Literal["validation", "serialization"]

PLACE = "#/components/schemas/"


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat a field's name; what is always answered is required."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - theirs
        return False

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        may_lack = field["type"] == "typed-dict-field" and not field.get("required", total)
        if self.mode == "serialization" and not may_lack:
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)


class Schemas:
    """The schemas of some bodies and answers, by name, and where each of them stands."""

    def __init__(self, bodies: Iterable[Model], answers: Iterable[Model]) -> None:
        wanted: list[tuple[Model, Mode]] = [
            *((model, "validation") for model in dict.fromkeys(bodies)),
            *((model, "serialization") for model in dict.fromkeys(answers)),
        ]
        self._places, found = models_json_schema(
            wanted, ref_template=PLACE + "{model}", schema_generator=_Plain
        )
        self.named: Document = dict(sorted(found["$defs"].items()))

    def partly(self, model: Model, part: Model) -> Document:
        """A model, whole or with only some fields of ``part``, which is it or one of its items."""
        name = f"SomeOf{part.__name__}"
        whole = self.named[part.__name__]
        some = {key: value for key, value in whole.items() if key != "required"}
        self.named = dict(sorted({**self.named, name: some}.items()))
        if part is model:
            return {"anyOf": [self.of(model, "serialization"), {"$ref": PLACE + name}]}
        page = self.named[model.__name__]
        items = {"type": "array", "items": {"$ref": PLACE + name}}
        page = {**page, "properties": {**page["properties"], "items": items}}
        return {"anyOf": [self.of(model, "serialization"), page]}

    def of(self, model: Model, mode: Mode) -> Document:
        """The reference to a model's schema."""
        return dict(self._places[model, mode])
