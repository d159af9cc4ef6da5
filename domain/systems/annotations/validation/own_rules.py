"""Layer 5: a project's own rules, compiled once a run and held against each item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from domain.systems.annotations.validation.definitions import RuleBody
from domain.systems.annotations.validation.expressions import Condition
from domain.systems.annotations.validation.issues import Layer, Rule
from domain.systems.annotations.validation.patterns import Patterns
from domain.systems.annotations.validation.subjects import Batch, Subject

PREFIX = "custom."

Values = dict[str, Any]
"""The fields of an item, its metadata as ``metadata``."""

Fault = tuple[str, str]
"""What is wrong and the remedy, and a JSON pointer to the field."""

Look = Callable[[Values], Fault | None]


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


class OwnRules:
    """The rules of a project that are about one item at a time."""

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
            (field, several, _patterns(tuple(rule.definition["pattern"] for rule in several)))
            for field, several in patterns.items()
        ]

    def check(self, batch: Batch, sound: Iterable[int]) -> None:
        """Hold the rules against each item that has a span and a label."""
        if not (self._looks or self._patterns):
            return
        for index in sound:
            item, label = batch.items[index], batch.labels[index]
            values = _values(item, batch.selected[index], label, batch.names.get(label or 0))
            for rule, look in self._looks:
                if not rule.labels or values["label"] in rule.labels:
                    fault = look(values)
                    if fault is not None:
                        batch.add(index, rule.rule, fault[1], fault[0])
            for field, rules, patterns in self._patterns:
                self._match(batch, index, values, field, rules, patterns)

    @staticmethod
    def _match(
        batch: Batch,
        index: int,
        values: Values,
        field: str,
        rules: Sequence[OwnRule],
        patterns: Patterns,
    ) -> None:
        text = value_of(values, field)
        if text is None:
            return
        found = patterns.found(text if isinstance(text, str) else str(text))
        for rule, is_found in zip(rules, found, strict=True):
            negate = rule.definition.get("negate", False)
            if is_found is negate and (not rule.labels or values["label"] in rule.labels):
                how = "matches" if negate else "does not match"
                said = f"{field} {how} {rule.definition['pattern']!r}; correct it"
                batch.add(index, rule.rule, pointer_to(field), rule.says(said))


def value_of(values: Values, field: str) -> Any:
    """The value of a field, ``None`` for one that is not there."""
    if not field.startswith("metadata."):
        return values[field]
    found: Any = values["metadata"]
    for key in field.split(".")[1:]:
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


def _values(item: Subject, selected: str | None, label: int | None, name: str | None) -> Values:
    start, end = item.start_char, item.end_char
    return {
        "text_id": item.text_id,
        "label_id": label,
        "label": name,
        "start_char": start,
        "end_char": end,
        "length": end - start,
        "selected_text": selected,
        "confidence_score": item.confidence_score,
        "metadata": item.metadata or {},
    }


@lru_cache(maxsize=256)
def _patterns(patterns: tuple[str, ...]) -> Patterns:
    return Patterns(patterns)


def _required(rule: OwnRule) -> Look:
    field = rule.definition["field"]
    fault = rule.says(f"{field} has no value; give it one"), pointer_to(field)
    return lambda values: fault if value_of(values, field) in (None, "") else None


def _range(rule: OwnRule) -> Look:
    given = rule.definition
    field, least, most = given["field"], given.get("minimum"), given.get("maximum")
    where = pointer_to(field)
    span = f"{'' if least is None else f'{least:g}'}..{'' if most is None else f'{most:g}'}"

    def look(values: Values) -> Fault | None:
        value = value_of(values, field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return rule.says(f"{field} is no number; give it one in {span}"), where
        if (least is not None and value < least) or (most is not None and value > most):
            return rule.says(f"{field} is {value:g}, not in {span}; correct it"), where
        return None

    return look


def _allowed(rule: OwnRule) -> Look:
    field, allowed = rule.definition["field"], rule.definition["values"]
    # In Python True is 1, in JSON it is not.
    plain = {
        (type(value) is bool, value) for value in allowed if not isinstance(value, list | dict)
    }
    where = pointer_to(field)
    some = ", ".join(repr(value) for value in allowed[:5]) + (", ..." if len(allowed) > 5 else "")

    def look(values: Values) -> Fault | None:
        value = value_of(values, field)
        if value is None:
            return None
        if isinstance(value, list | dict):
            good = value in allowed
        else:
            good = (type(value) is bool, value) in plain
        return None if good else (rule.says(f"{field} is none of {some}; take one of them"), where)

    return look


def _expression(rule: OwnRule) -> Look:
    words = rule.definition["expression"]
    condition = Condition(words)
    wrong = rule.says(f"{words!r} does not hold; correct the annotation")

    def look(values: Values) -> Fault | None:
        try:
            return None if condition.holds(values, values["metadata"]) else (wrong, "")
        except ValueError as error:
            return f"{words!r} cannot be worked out: {error}; mend the rule or the item", ""

    return look


_LOOKS: Mapping[str, Callable[[OwnRule], Look]] = {
    "required": _required,
    "range": _range,
    "allowed": _allowed,
    "expression": _expression,
}
