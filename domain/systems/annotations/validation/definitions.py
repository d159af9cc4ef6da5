"""Definitions of a project's own rules: the kinds that there are, and what each is given.

A definition is a JSON object with a ``kind``. It is checked when the rule is stored, so that
what is stored can be applied.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    with_config,
)
from typing_extensions import TypedDict

from domain.systems.annotations.models import Id, Line, Name, storable
from domain.systems.annotations.validation.expressions import (
    MAX_EXPRESSION,
    NAMES,
    meaningful_expression,
)
from domain.systems.annotations.validation.issues import Severity
from domain.systems.annotations.validation.patterns import MAX_PATTERN, checked_pattern

METADATA = "metadata."
MAX_VALUES = 1000
MAX_LABELS = 200
MAX_WHOLE = 2**63 - 1
_IN_METADATA = re.compile(r"metadata(\.[^.\x00-\x1f]{1,200}){1,8}")
_RULE_NAME = r"^[a-z][a-z0-9_]{0,59}$"
_STRICT = ConfigDict(extra="forbid")


def _field(name: str) -> str:
    if name in NAMES or _IN_METADATA.fullmatch(name):
        return name
    raise ValueError(f"there is no field {name!r}; name {', '.join(NAMES)} or metadata.KEY")


FieldName = Annotated[str, Field(max_length=500), AfterValidator(_field)]


def _exact(value: Any, handler: ValidatorFunctionWrapHandler) -> float:
    """A whole number as it is sent: as a floating one it would be another beyond 2^53."""
    number: float = handler(value)
    return value if type(value) is int and -MAX_WHOLE <= value <= MAX_WHOLE else number


Number = Annotated[float, Field(allow_inf_nan=False), WrapValidator(_exact)]
Pattern = Annotated[
    str, Field(min_length=1, max_length=MAX_PATTERN), AfterValidator(checked_pattern)
]
Words = Annotated[
    str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(meaningful_expression)
]
Together = Literal["label_id", "start_char", "end_char", "selected_text"]


@with_config(_STRICT)
class Required(TypedDict):
    """The field has a value."""

    kind: Literal["required"]
    field: FieldName


@with_config(_STRICT)
class Regex(TypedDict):
    """The pattern (RE2) is found in the field, or is not, with ``negate``."""

    kind: Literal["regex"]
    field: FieldName
    pattern: Pattern
    negate: NotRequired[bool]


@with_config(_STRICT)
class Range(TypedDict):
    """The field is a number from ``minimum`` to ``maximum``, both included."""

    kind: Literal["range"]
    field: FieldName
    minimum: NotRequired[Number]
    maximum: NotRequired[Number]


def _with_room(definition: Range) -> Range:
    least, most = definition.get("minimum"), definition.get("maximum")
    if least is None and most is None:
        raise ValueError("a range has a minimum, a maximum or both; give it one")
    if least is not None and most is not None and least > most:
        raise ValueError(f"no number is from {least!r} to {most!r}; exchange minimum and maximum")
    return definition


@with_config(_STRICT)
class Allowed(TypedDict):
    """The field is one of the values."""

    kind: Literal["allowed"]
    field: FieldName
    values: Annotated[
        list[JsonValue], Field(min_length=1, max_length=MAX_VALUES), AfterValidator(storable)
    ]


@with_config(_STRICT)
class Unique(TypedDict):
    """No two annotations of a text have the same values in all of the fields."""

    kind: Literal["unique"]
    fields: Annotated[list[Together], Field(min_length=1, max_length=4)]


@with_config(_STRICT)
class Expression(TypedDict):
    """The expression is true."""

    kind: Literal["expression"]
    expression: Words


Definition = Annotated[
    Required | Regex | Annotated[Range, AfterValidator(_with_room)] | Allowed | Unique | Expression,
    Field(discriminator="kind"),
]

RuleName = Annotated[str, Field(pattern=_RULE_NAME)]
Message = Annotated[Line, Field(max_length=500)]
OfLabels = Annotated[list[Name], Field(max_length=MAX_LABELS)]


class RuleBody(BaseModel):
    """A rule of a project as it is applied.

    It is for annotations with one of the ``labels``, or for all when there is none. ``message``
    says what to do; without one, the kind of the rule says it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RuleName
    definition: Definition
    severity: Severity = Severity.ERROR
    enabled: bool = True
    message: Message = ""
    labels: OfLabels = []


class NewRule(RuleBody):
    """A rule of a project; its name is unique there."""

    project_id: Id


class ChangedRule(BaseModel):
    """What is to change of a rule; ``version``, when given, must be its present one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None
    name: RuleName = ""
    definition: Definition = Field(default={}, validate_default=False)  # type: ignore[assignment]
    severity: Severity = Severity.ERROR
    enabled: bool = True
    message: Message = ""
    labels: OfLabels = []
