"""Telling: what is said of a route, beyond what its path, its rule and its handler say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the query, or a header; ``example`` is one that is good."""

    name: str
    about: str
    schema: Schema
    place: Literal["query", "header"] = "query"
    required: bool = False
    example: Any = None
    joined: bool = False
    """Whether several values stand in one, with commas between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent: JSON of a model, or where ``lines`` says what they are, NDJSON as well.

    With ``form`` it is a form in place of JSON.
    """

    model: type[BaseModel] | Schema
    examples: Mapping[str, Any]
    required: bool = False
    lines: str = ""
    form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes when all is well: JSON of a model, and what else ``Accept`` may ask for."""

    about: str
    model: type[BaseModel] | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    """Other media types, each with an example."""
    live: Sequence[type[BaseModel]] = ()
    """What the ``data`` of an event can be, where a live stream is one of these media types."""
    located: bool = False
    """Whether ``Location`` says where the thing is."""
    part: type[BaseModel] | None = None
    """What ``fields`` may leave in parts: the model, or that of each of its ``items``."""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Operations that can follow, by id, with where in the answer their parameters are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A route: its name for programs, what it answers, and the codes that are its own.

    ``about`` stands where the handler is one of many and says nothing by itself.
    """

    name: str
    tag: str
    answers: Mapping[int, Answer]
    about: str = ""
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    problems: Sequence[str] = ()
    ticket: bool = False
    """Whether a ticket in the query does in place of a token."""


TEXT: Schema = {"type": "string"}
WORD: Schema = {"type": "string", "minLength": 1}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def whole(least: int, most: int, default: int | None = None) -> Schema:
    """The schema of a whole number in a range."""
    found: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return found if default is None else {**found, "default": default}


def one_of(*words: str) -> Schema:
    """The schema of one of some words."""
    return {"type": "string", "enum": list(words)}


def several(schema: Schema) -> Schema:
    """The schema of a parameter that may be repeated."""
    return {"type": "array", "items": dict(schema)}


def query(
    name: str, about: str, schema: Schema = TEXT, *, required: bool = False, example: Any = None
) -> Parameter:
    """A parameter of the query string."""
    return Parameter(name=name, about=about, schema=schema, required=required, example=example)
