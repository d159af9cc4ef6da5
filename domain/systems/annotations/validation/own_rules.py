"""Layer 5: a project's own rules, compiled once a run and held against each item."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import Any

import orjson

from domain.systems.annotations.validation.definitions import RuleBody
from domain.systems.annotations.validation.expressions import NAMES, Condition
from domain.systems.annotations.validation.issues import Layer, Rule
from domain.systems.annotations.validation.patterns import Patterns
from domain.systems.annotations.validation.subjects import Batch

PREFIX = "custom."

Values = dict[str, Any]
"""The fields of an item, its metadata as ``metadata``."""

Fault = tuple[int, str, str]
"""The place of an item, what is wrong and the remedy, and a JSON pointer to the field."""

Look = Callable[["Columns"], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of a project with the version that it is at."""

    rule: Rule
    body: RuleBody
    labels: frozenset[str]

    @classmethod
    def of(cls, body: RuleBody, version: int) -> OwnRule:
        """The rule as it is stored."""
        rule = Rule(f"{PREFIX}{body.name}", Layer.CUSTOM, body.severity, version=version)
        return cls(rule, body, frozenset(body.labels))

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the rule is given; its ``kind`` says which rule it is."""
        found: Mapping[str, Any] = self.body.definition
        return found

    def says(self, otherwise: str) -> str:
        """The message: the project's own, or what is said without one."""
        return self.body.message or otherwise


_STORED = ("version", *RuleBody.model_fields)
_DOCUMENTS = ("labels", "definition")


def own_rule_of(row: Mapping[str, Any]) -> OwnRule:
    """The rule that a row of the table has; read once as long as its words are the same."""
    return _own_rule(tuple(row[name] for name in _STORED))


@lru_cache(maxsize=1024)
def _own_rule(stored: tuple[Any, ...]) -> OwnRule:
    row = dict(zip(_STORED, stored, strict=True))
    version = row.pop("version")
    given = {name: value for name, value in row.items() if value is not None}
    for name in _DOCUMENTS:
        if name in given:
            given[name] = orjson.loads(given[name])
    return OwnRule.of(RuleBody.model_validate(given), version)


class Columns:
    """The fields of the items that rules are held against, a list each; ``sound`` are theirs."""

    def __init__(self, batch: Batch, sound: Sequence[int]) -> None:
        self._batch = batch
        self.sound = sound
        self.metadata = [batch.items[index].metadata or {} for index in sound]
        self._known: dict[str, Sequence[Any]] = {}

    def of(self, field: str) -> Sequence[Any]:
        """The values of a field, ``None`` for each that is not there."""
        found = self._known.get(field)
        if found is None:
            found = self._known[field] = self._made(field)
        return found

    def for_labels(self, names: Collection[str]) -> Columns:
        """Those of the items that have one of the labels."""
        named = zip(self.sound, self.of("label"), strict=True)
        return Columns(self._batch, [index for index, name in named if name in names])

    def rows(self) -> Iterator[Values]:
        """The plain fields of each item."""
        each = zip(*(self.of(name) for name in NAMES), strict=True)
        return (dict(zip(NAMES, row, strict=True)) for row in each)

    def _made(self, field: str) -> Sequence[Any]:
        batch, sound = self._batch, self.sound
        if field.startswith("metadata."):
            keys = field.split(".")[1:]
            return [_value_in(metadata, keys) for metadata in self.metadata]
        if field == "label_id":
            return [batch.labels[index] for index in sound]
        if field == "label":
            return [batch.names.get(label or 0) for label in self.of("label_id")]
        if field == "selected_text":
            return [batch.selected[index] for index in sound]
        if field == "length":
            spans = zip(self.of("start_char"), self.of("end_char"), strict=True)
            return [end - start for start, end in spans]
        value = attrgetter(field)
        return [value(batch.items[index]) for index in sound]


class OwnRules:
    """The rules of a project that are about one item at a time.

    Each goes through the values of its field at once: a run has ten thousand of them, and a
    table of all values of each item would take longer to make than to look at.
    """

    def __init__(self, rules: Sequence[OwnRule]) -> None:
        self._looks: list[tuple[OwnRule, Look]] = []
        patterns: dict[str, list[OwnRule]] = {}
        for rule in rules:
            kind = rule.definition["kind"]
            if kind == "regex":
                patterns.setdefault(rule.definition["field"], []).append(rule)
            elif kind in _LOOKS:
                self._looks.append((rule, _LOOKS[kind](rule)))
        self._patterns = [
            (field, several, Patterns([rule.definition["pattern"] for rule in several]))
            for field, several in patterns.items()
        ]

    def check(self, batch: Batch, sound: Sequence[int]) -> None:
        """Hold the rules against each item that has a span and a label."""
        if not (self._looks or self._patterns):
            return
        columns = Columns(batch, sound)
        for rule, look in self._looks:
            wanted = columns.for_labels(rule.labels) if rule.labels else columns
            for place, said, where in look(wanted):
                batch.add(wanted.sound[place], rule.rule, where, said)
        for field, rules, patterns in self._patterns:
            self._match(batch, columns, field, rules, patterns)

    @staticmethod
    def _match(
        batch: Batch, columns: Columns, field: str, rules: Sequence[OwnRule], patterns: Patterns
    ) -> None:
        values = columns.of(field)
        places = [place for place, value in enumerate(values) if value is not None]
        texts = [str(values[place]) for place in places]
        for rule, found in zip(rules, patterns.found(texts), strict=True):
            wrong = bool(rule.definition.get("negate", False))
            if wrong not in found:
                continue
            how = "matches" if wrong else "does not match"
            said = rule.says(f"{field} {how} {rule.definition['pattern']!r}; correct it")
            for place, is_found in zip(places, found, strict=True):
                if is_found == wrong and (
                    not rule.labels or columns.of("label")[place] in rule.labels
                ):
                    batch.add(columns.sound[place], rule.rule, pointer_to(field), said)


def _value_in(metadata: Mapping[str, Any], keys: Sequence[str]) -> Any:
    found: Any = metadata
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def pointer_to(field: str) -> str:
    """Where a field is in an item."""
    if field == "length":
        return "/end_char"
    if field == "label":
        return "/label_id"
    parts = field.split(".") if field.startswith("metadata.") else [field]
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


def _required(rule: OwnRule) -> Look:
    field = rule.definition["field"]
    said, where = rule.says(f"{field} has no value; give it one"), pointer_to(field)

    def look(columns: Columns) -> Iterator[Fault]:
        for place, value in enumerate(columns.of(field)):
            if value is None or value == "":
                yield place, said, where

    return look


def _range(rule: OwnRule) -> Look:
    given = rule.definition
    field, least, most = given["field"], given.get("minimum"), given.get("maximum")
    where = pointer_to(field)
    span = f"{'' if least is None else _short(least)}..{'' if most is None else _short(most)}"
    low, high = -inf if least is None else least, inf if most is None else most
    no_number = rule.says(f"{field} is no number; give it one in {span}")

    def look(columns: Columns) -> Iterator[Fault]:
        for place, value in enumerate(columns.of(field)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield place, no_number, where
            elif not low <= value <= high:
                said = f"{field} is {_short(value)}, not in {span}; correct it"
                yield place, rule.says(said), where

    return look


def _short(number: float) -> str:
    """A number in a message; a whole number of JSON may be too large for a floating one."""
    try:
        return f"{number:g}"
    except OverflowError:
        return f"a number of {len(str(abs(number)))} digits"


def _allowed(rule: OwnRule) -> Look:
    field, allowed = rule.definition["field"], rule.definition["values"]
    # In Python True is 1, in JSON it is not.
    plain = {
        (type(value) is bool, value) for value in allowed if not isinstance(value, list | dict)
    }
    where = pointer_to(field)
    some = ", ".join(repr(value) for value in allowed[:5]) + (", ..." if len(allowed) > 5 else "")
    said = rule.says(f"{field} is none of {some}; take one of them")

    def look(columns: Columns) -> Iterator[Fault]:
        for place, value in enumerate(columns.of(field)):
            if value is None:
                continue
            if isinstance(value, list | dict):
                good = value in allowed
            else:
                good = (type(value) is bool, value) in plain
            if not good:
                yield place, said, where

    return look


def _expression(rule: OwnRule) -> Look:
    words = rule.definition["expression"]
    condition = Condition(words)
    wrong = rule.says(f"{words!r} does not hold; correct the annotation")

    def look(columns: Columns) -> Iterator[Fault]:
        rows = zip(columns.rows(), columns.metadata, strict=True)
        for place, (values, metadata) in enumerate(rows):
            try:
                if not condition.holds(values, metadata):
                    yield place, wrong, ""
            except ValueError as error:
                why = f"{words!r} cannot be worked out: {error}; mend the rule or the item"
                yield place, why, ""

    return look


_LOOKS: Mapping[str, Callable[[OwnRule], Look]] = {
    "required": _required,
    "range": _range,
    "allowed": _allowed,
    "expression": _expression,
}
