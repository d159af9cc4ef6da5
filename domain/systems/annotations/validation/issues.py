"""Issues: what a rule has to say of an item, how grave it is, and what that makes of the score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from domain.outcomes import Failed

MAX_ISSUES = 50
"""Issues of one item that are told of; the score counts all of them."""
_MOST_DIGITS = 20
"""Of a whole number that a message repeats."""


class Severity(StrEnum):
    """What an issue means for its item: an error keeps it from taking effect."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Layer(StrEnum):
    """Which kind of rule has found an issue, from the form of an item to a project's own rules."""

    SCHEMA = "schema"
    BUSINESS = "business"
    QUALITY = "quality"
    CONSISTENCY = "consistency"
    CUSTOM = "custom"


COST: Mapping[Severity, float] = {Severity.ERROR: 1.0, Severity.WARNING: 0.2, Severity.INFO: 0.05}
"""What an issue takes from its item's score."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with the severity that holds in a project.

    ``version`` is that of a project's own rule, 0 for one of ours. ``retryable`` says that the
    item may pass later unchanged, as when a label is made meanwhile.
    """

    id: str
    layer: Layer
    severity: Severity
    description: str = ""
    retryable: bool = False
    version: int = 0


class Issue(NamedTuple):
    """What a rule says of one item; ``pointer`` is a JSON pointer into the item."""

    rule: Rule
    pointer: str
    message: str

    def document(self, position: int) -> dict[str, Any]:
        """The issue as it is stored and shown; ``position`` is the item's place in the job."""
        rule = self.rule
        said: dict[str, Any] = {
            "rule": rule.id,
            "layer": rule.layer.value,
            "severity": rule.severity.value,
            "item": position,
            "pointer": self.pointer,
            "message": self.message,
        }
        if rule.version:
            said["rule_version"] = rule.version
        return said


def score_of(issues: Iterable[Issue]) -> float:
    """The score of an item, 0 to 1: an error leaves nothing of it."""
    left = 1.0 - sum(COST[issue.rule.severity] for issue in issues)
    return round(max(left, 0.0), 3)


def told(issues: Sequence[Issue], position: int) -> dict[str, Any]:
    """The issues of an item as JSON, the gravest first, and how many of them are left out."""
    ordered = sorted(issues, key=lambda issue: -COST[issue.rule.severity])
    said: dict[str, Any] = {"issues": [one.document(position) for one in ordered[:MAX_ISSUES]]}
    if len(issues) > MAX_ISSUES:
        said["issues_left_out"] = len(issues) - MAX_ISSUES
    return said


def plain(number: float) -> str:
    """A number in a message, with all of its digits unless it has very many."""
    if isinstance(number, int) or number.is_integer():
        digits = len(str(abs(int(number))))
        if digits <= _MOST_DIGITS:
            return str(int(number))
        if isinstance(number, int):
            return f"a number of {digits} digits"
    return repr(number)


def fails(issues: Sequence[Issue], threshold: float) -> bool:
    """Whether an item with these issues takes no effect."""
    return score_of(issues) < threshold or any(
        issue.rule.severity is Severity.ERROR for issue in issues
    )


def verdict(issues: Sequence[Issue], position: int, threshold: float) -> Failed | None:
    """The failure of an item with an error, or with a score below the threshold; else ``None``."""
    if not fails(issues, threshold):
        return None
    errors = [issue for issue in issues if issue.rule.severity is Severity.ERROR]
    score = score_of(issues)
    details = {**told(issues, position), "score": score}
    if not errors:
        return Failed(
            "below_threshold",
            f"the score {plain(score)} is below the project's threshold {plain(threshold)}; mend "
            "what the issues name, or lower the threshold",
            details=details,
        )
    first = errors[0]
    others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Failed(
        first.rule.id,
        f"{first.message}{others}",
        first.pointer,
        retryable=all(issue.rule.retryable for issue in errors),
        details=details,
    )
