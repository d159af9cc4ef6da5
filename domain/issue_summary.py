"""Issues of a job by rule and severity: what an operation that validates has said, counted.

An issue stands in an item's result, under ``issues``, with its ``rule``, ``layer`` and
``severity``; the score of an item that failed stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_RULES = 500
"""Rules that are told apart; more than any operation of ours has."""
OTHERS = "(other)"


@dataclass(slots=True)
class Told:
    """How often a rule has spoken, and of how many items."""

    issues: int = 0
    items: int = 0


class IssueSummary:
    """Counts as the items of a job come by; its memory does not grow with them."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str, str], Told] = {}
        self._items = self._with_issues = self._scored = 0
        self._scores = 0.0

    def add(self, result: Any, score: float | None) -> None:
        """One more item: its result, or the details of its failure."""
        self._items += 1
        found = result if isinstance(result, Mapping) else {}
        if score is None and isinstance(found.get("score"), int | float):
            score = float(found["score"])
        if score is not None:
            self._scored += 1
            self._scores += score
        issues = found.get("issues")
        if not isinstance(issues, list) or not issues:
            return
        self._with_issues += 1
        keys = [_key(issue) for issue in issues if isinstance(issue, Mapping)]
        for key in keys:
            self._told(key).issues += 1
        for key in dict.fromkeys(keys):
            self._told(key).items += 1

    def _told(self, key: tuple[str, str, str]) -> Told:
        if key not in self._rules and len(self._rules) >= MAX_RULES:
            # Layers and severities are anybody's words as well.
            key = OTHERS, "", ""
        return self._rules.setdefault(key, Told())

    def document(self) -> dict[str, Any]:
        """The summary as JSON: the rules that have most to say come first."""
        severities: dict[str, int] = {}
        for (_, _, severity), told in self._rules.items():
            severities[severity] = severities.get(severity, 0) + told.issues
        ordered = sorted(self._rules.items(), key=lambda one: (-one[1].issues, one[0]))
        return {
            "items": self._items,
            "items_with_issues": self._with_issues,
            "score": round(self._scores / self._scored, 4) if self._scored else None,
            "severities": severities,
            "rules": [
                {
                    "rule": rule,
                    "layer": layer,
                    "severity": severity,
                    "issues": told.issues,
                    "items": told.items,
                }
                for (rule, layer, severity), told in ordered
            ],
        }


def _key(issue: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        str(issue.get("rule", OTHERS)),
        str(issue.get("layer", "")),
        str(issue.get("severity", "")),
    )
