"""Layer 5: a project's own rules, compiled once a run and held against each item.

A rule is checked when it is stored and not again: what is taken no longer is still applied where
it can be, by what its words mean today, and one that can be applied no more says so of each item.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import Any

import orjson

from domain.systems.annotations.validation.allowance import Allowance
from domain.systems.annotations.validation.catalogue import RULE_NOT_APPLIED
from domain.systems.annotations.validation.definitions import RuleBody
from domain.systems.annotations.validation.expressions import NAMES, Condition
from domain.systems.annotations.validation.issues import Layer, Rule, Severity, plain
from domain.systems.annotations.validation.patterns import Finding, Patterns, checked_pattern
from domain.systems.annotations.validation.subjects import Batch

PREFIX = "custom."
MAX_QUOTED = 100
"""Characters of an expression or a fault that a message repeats: an item may have a hundred."""

Values = dict[str, Any]
"""The fields of an item, its metadata as ``metadata``."""

Fault = tuple[int, Rule, str, str]
"""The place of an item, whose issue it is, what is wrong and the remedy, and a JSON pointer to the
field. It is the project's rule, or one of ours where that was not applied."""

Look = Callable[["Columns"], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of a project with the version that it is at."""

    rule: Rule
    definition: Mapping[str, Any]
    """What the rule is given; its ``kind`` says which rule it is."""
    labels: frozenset[str]
    message: str

    def says(self, otherwise: str) -> str:
        """The message: the project's own, or what is said without one."""
        return self.message or otherwise


_STORED = ("version", *RuleBody.model_fields)


def own_rule_of(row: Mapping[str, Any]) -> OwnRule:
    """The rule that a row of the table has; read once as long as its words are the same."""
    return _own_rule(tuple(row[name] for name in _STORED))


@lru_cache(maxsize=1024)
def _own_rule(stored: tuple[Any, ...]) -> OwnRule:
    row = dict(zip(_STORED, stored, strict=True))
    severity = Severity(row["severity"] or Severity.ERROR)
    rule = Rule(f"{PREFIX}{row['name']}", Layer.CUSTOM, severity, version=row["version"])
    labels = frozenset(_document(row["labels"] or "[]"))
    return OwnRule(rule, _document(row["definition"]), labels, row["message"] or "")


def _document(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Numbers that are taken no longer, and stand in what was written before: NaN, 10^400.
        return json.loads(text)


class Columns:
    """The fields of the items that rules are held against, a list each; ``sound`` are theirs."""

    def __init__(self, batch: Batch, sound: Sequence[int], allowance: Allowance) -> None:
        self._batch = batch
        self.sound = sound
        self.allowance = allowance
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
        wanted = [index for index, name in named if name in names]
        return Columns(self._batch, wanted, self.allowance)

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
        self._patterns: dict[str, list[OwnRule]] = {}
        for rule in rules:
            try:
                if rule.definition["kind"] == "regex":
                    self._patterns.setdefault(_matched_field(rule), []).append(rule)
                elif rule.definition["kind"] != UNIQUE:
                    self._looks.append((rule, _LOOKS[rule.definition["kind"]](rule)))
            except (ValueError, TypeError, KeyError) as error:
                self._looks.append((rule, _unreadable(rule, error)))

    def check(self, batch: Batch, sound: Sequence[int], allowance: Allowance) -> None:
        """Hold the rules against each item that has a span and a label."""
        if not (self._looks or self._patterns):
            return
        columns = Columns(batch, sound, allowance)
        with allowance.resumed():
            for rule, look in self._looks:
                _look(batch, columns, rule, look)
            for field, rules in self._patterns.items():
                self._match(batch, columns, field, _readable(batch, columns, rules))

    @staticmethod
    def _match(batch: Batch, columns: Columns, field: str, rules: Sequence[OwnRule]) -> None:
        patterns = Patterns([rule.definition["pattern"] for rule in rules])
        values = columns.of(field)
        places = [place for place, value in enumerate(values) if value is not None]
        texts = [_as_text(values[place]) for place in places]
        for rule, found in zip(rules, patterns.found(texts, columns.allowance), strict=True):
            faults = _faults_of(rule)
            if not any(finding in found for finding in faults):
                continue
            for place, finding in zip(places, found, strict=True):
                if finding in faults and (
                    not rule.labels or columns.of("label")[place] in rule.labels
                ):
                    whose, said = faults[finding]
                    batch.add(columns.sound[place], whose, pointer_to(field), said)


def _matched_field(rule: OwnRule) -> str:
    """The field of a pattern; raises as a definition that has none, or no pattern."""
    field, pattern = rule.definition["field"], rule.definition["pattern"]
    if not (isinstance(field, str) and isinstance(pattern, str)):
        raise TypeError("field and pattern have to be strings")
    return field


def _look(batch: Batch, columns: Columns, rule: OwnRule, look: Look) -> None:
    wanted = columns.for_labels(rule.labels) if rule.labels else columns
    for place, whose, said, where in look(wanted):
        batch.add(wanted.sound[place], whose, where, said)


def _readable(batch: Batch, columns: Columns, rules: Sequence[OwnRule]) -> list[OwnRule]:
    """The rules whose patterns RE2 takes; once the time is spent, none of them is compiled."""
    good: list[OwnRule] = []
    for rule in rules:
        try:
            if columns.allowance.left():
                checked_pattern(rule.definition["pattern"])
            good.append(rule)
        except ValueError as error:
            _look(batch, columns, rule, _unreadable(rule, error))
    return good


def _as_text(value: Any) -> str:
    """What a pattern is looked for in: a string as it is, anything else as JSON writes it."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # A whole number of the store may be larger than those that are taken now.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _faults_of(rule: OwnRule) -> dict[int, tuple[Rule, str]]:
    """What is said of an item, and by which rule, by what is known of the pattern in it."""
    field, pattern = rule.definition["field"], rule.definition["pattern"]
    wrong = Finding.FOUND if rule.definition.get("negate", False) else Finding.ABSENT
    how = "matches" if wrong is Finding.FOUND else "does not match"
    large = f"{field} is too long for a pattern as large as {_brief(repr(pattern))}"
    remedy = "make the pattern smaller or the text shorter"
    late = _not_applied(rule)
    return {
        wrong: (rule.rule, rule.says(f"{field} {how} {pattern!r}; correct it")),
        Finding.TOO_LARGE: (late, f"{large}, and {rule.rule.id} was not looked at; {remedy}"),
        Finding.NO_TIME: (late, _no_time(rule)),
    }


def _not_applied(rule: OwnRule) -> Rule:
    """Whose issue it is that a rule had no time, which is no fault of the item: as grave as it."""
    return replace(RULE_NOT_APPLIED, severity=rule.rule.severity)


def _no_time(rule: OwnRule) -> str:
    return (
        f"{rule.rule.id} was not looked at, as the rules of the project have taken the time that "
        "a chunk has; send it again with fewer items, or make patterns and expressions smaller"
    )


def _brief(words: str) -> str:
    return words if len(words) <= MAX_QUOTED else f"{words[:MAX_QUOTED]}..."


def _unreadable(rule: OwnRule, error: Exception) -> Look:
    why = _brief(f"{type(error).__name__}: {error}")
    said = f"{rule.rule.id} cannot be applied ({why}); mend the rule, or disable it"

    def look(columns: Columns) -> Iterator[Fault]:
        return ((place, rule.rule, said, "") for place in range(len(columns.sound)))

    return look


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
                yield place, rule.rule, said, where

    return look


def _range(rule: OwnRule) -> Look:
    given = rule.definition
    field, least, most = given["field"], given.get("minimum"), given.get("maximum")
    where = pointer_to(field)
    span = f"{'' if least is None else plain(least)}..{'' if most is None else plain(most)}"
    low, high = -inf if least is None else least, inf if most is None else most
    no_number = rule.says(f"{field} is no number; give it one in {span}")

    def look(columns: Columns) -> Iterator[Fault]:
        for place, value in enumerate(columns.of(field)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield place, rule.rule, no_number, where
            elif not low <= value <= high:
                said = f"{field} is {plain(value)}, not in {span}; correct it"
                yield place, rule.rule, rule.says(said), where

    return look


def _allowed(rule: OwnRule) -> Look:
    field, allowed = rule.definition["field"], rule.definition["values"]
    # In Python True is 1, in JSON it is not.
    simple = {
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
                good = (type(value) is bool, value) in simple
            if not good:
                yield place, rule.rule, said, where

    return look


def _expression(rule: OwnRule) -> Look:
    words = rule.definition["expression"]
    condition = Condition(words)
    wrong = rule.says(f"{words!r} does not hold; correct the annotation")
    late, quoted = (_not_applied(rule), _no_time(rule), ""), _brief(repr(words))

    @lru_cache(maxsize=64)
    def without_result(why: str) -> str:
        return f"{quoted} cannot be worked out: {why}; mend the rule or the item"

    def look(columns: Columns) -> Iterator[Fault]:
        rows = zip(columns.rows(), columns.metadata, strict=True)
        for place, (values, metadata) in enumerate(rows):
            if not columns.allowance.has_room(condition.parts * (LEAST + values["length"])):
                yield place, *late
                continue
            try:
                if not condition.holds(values, metadata):
                    yield place, rule.rule, wrong, ""
            except ValueError as error:
                yield place, rule.rule, without_result(_brief(str(error))), ""

    return look


UNIQUE = "unique"
"""The kind that is about several annotations, and is looked at with them."""
LEAST = 10_000
"""Steps that are reckoned for any part of an expression: metadata may be longer than the text."""

_LOOKS: Mapping[str, Callable[[OwnRule], Look]] = {
    "required": _required,
    "range": _range,
    "allowed": _allowed,
    "expression": _expression,
}
