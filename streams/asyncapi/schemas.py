"""Schemas: the JSON Schemas of all messages, as pydantic derives them from the vocabularies.

They keep to what draft-07 (AsyncAPI's own dialect) and draft 2020-12 have in common, so
that every tool can read them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from domain.commands import Command, RecordOutcomes
from domain.events import EVENTS, JobEvent, JobStatus
from streams.deadletters import Burial
from streams.envelope import WORK_MODE, OutcomeMessage, Work, WorkMode

Document = dict[str, Any]

PLACE = "#/components/schemas/"
COMMANDS: tuple[type[BaseModel], ...] = get_args(get_args(Command)[0])
CALLERS = tuple(kind for kind in COMMANDS if kind is not RecordOutcomes)
"""The commands that are anybody's; the others are between processes of the engine."""
OUTCOMES: tuple[type[BaseModel], ...] = get_args(get_args(OutcomeMessage)[0])
EVENT_KINDS: tuple[type[JobEvent], ...] = tuple(EVENTS.values())
LETTER = "DeadLetter"
LETTER_HEADERS = "DeadLetterHeaders"
WORK_HEADERS = "WorkHeaders"

_STORED = {"originator_id": "job_id", "originator_version": "version"}


class _Plain(GenerateJsonSchema):
    """Without the titles that only repeat a field's name, and without OpenAPI's dialect."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - theirs
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        found = super().tagged_union_schema(schema)
        found.pop("discriminator", None)
        return found


def schemas() -> Document:
    """Every message's schema and what they share, by name."""
    kinds: list[type[BaseModel]] = [*COMMANDS, Work, *OUTCOMES, *EVENT_KINDS, Burial]
    _, found = models_json_schema(
        [(kind, "validation") for kind in kinds],
        by_alias=True,
        ref_template=PLACE + "{model}",
        schema_generator=_Plain,
    )
    named: Document = found["$defs"]
    for kind in EVENT_KINDS:
        named[kind.__name__] = _published(kind, named[kind.__name__])
    at_rest = [status.value for status in JobStatus if status.terminal]
    named[JobStatus.__name__]["x-at-rest"] = at_rest
    named[LETTER_HEADERS] = {
        **named.pop(Burial.__name__),
        "title": LETTER_HEADERS,
        "additionalProperties": True,
    }
    named[WORK_HEADERS] = {
        "title": WORK_HEADERS,
        "type": "object",
        "properties": {
            WORK_MODE: {
                "description": inspect.getdoc(WorkMode),
                "enum": [mode.value for mode in WorkMode],
                "default": WorkMode.SEQUENTIAL.value,
                "type": "string",
            }
        },
        "additionalProperties": True,
    }
    named[LETTER] = {
        "description": "The bytes of the message, whatever they are.",
        "type": "string",
        "format": "binary",
    }
    for schema in _objects(named):
        _require_constants(schema)
    return dict(sorted(named.items()))


def _published(kind: type[JobEvent], stored: Mapping[str, Any]) -> Document:
    """The schema of an event as ``encode_event`` writes it: with its kind and its place."""
    fields = {_STORED.get(name, name): each for name, each in stored["properties"].items()}
    head = {
        "schema_version": {"const": kind.schema_number, "type": "integer"},
        "type": {"const": kind.alias, "type": "string"},
        "position": {
            "description": "Its place in the log of all events; grows, with gaps.",
            "minimum": 0,
            "type": "integer",
        },
    }
    required = [_STORED.get(name, name) for name in stored["required"]]
    return {
        **stored,
        "properties": {**head, **fields},
        "required": [*head, *required],
    }


def _require_constants(schema: Document) -> None:
    """Say that a message names its kind and schema: a reader tells messages apart by them."""
    constants = [name for name, each in schema["properties"].items() if "const" in each]
    others = [name for name in schema.get("required", []) if name not in constants]
    if constants:
        schema["required"] = [*constants, *others]


def _objects(value: Any) -> Iterator[Document]:
    """All object schemas in a tree of schemas."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict) and value.get("type") == "object":
            yield value
        for each in value.values():
            yield from _objects(each)
