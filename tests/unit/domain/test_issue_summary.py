"""Issues counted by rule and severity."""

from __future__ import annotations

from typing import Any

from domain.issue_summary import MAX_RULES, IssueSummary


def issue(rule: str, severity: str = "warning") -> dict[str, Any]:
    return {"rule": rule, "layer": "quality", "severity": severity, "message": "x"}


def test_issues_and_items_are_counted_and_the_score_is_the_mean() -> None:
    summary = IssueSummary()
    summary.add({"id": 1}, 1.0)
    summary.add({"id": 2, "issues": [issue("cut"), issue("cut"), issue("low")]}, 0.4)
    summary.add({"issues": [issue("gone", "error")], "score": 0.0}, None)
    summary.add(None, None)
    summary.add("anything", None)
    assert summary.document() == {
        "items": 5,
        "items_with_issues": 2,
        "score": 0.4667,
        "severities": {"warning": 3, "error": 1},
        "rules": [
            {"rule": "cut", "layer": "quality", "severity": "warning", "issues": 2, "items": 1},
            {"rule": "gone", "layer": "quality", "severity": "error", "issues": 1, "items": 1},
            {"rule": "low", "layer": "quality", "severity": "warning", "issues": 1, "items": 1},
        ],
    }


def test_a_job_that_says_nothing_has_no_score() -> None:
    assert IssueSummary().document()["score"] is None


def test_what_looks_like_issues_and_is_none_is_passed_over() -> None:
    summary = IssueSummary()
    summary.add({"issues": "many"}, None)
    summary.add({"issues": [1, {}]}, None)
    assert [one["rule"] for one in summary.document()["rules"]] == ["(other)"]


def test_its_memory_does_not_grow_with_the_rules() -> None:
    summary = IssueSummary()
    for number in range(MAX_RULES * 2):
        summary.add({"issues": [issue(f"rule {number}")]}, None)
    rules = summary.document()["rules"]
    assert len(rules) == MAX_RULES + 1
    assert (rules[0]["rule"], rules[0]["issues"]) == ("(other)", MAX_RULES)


def test_its_memory_does_not_grow_with_layers_and_severities_either() -> None:
    summary = IssueSummary()
    for number in range(MAX_RULES * 2):
        told = {"rule": "x", "layer": f"layer {number}", "severity": f"severity {number}"}
        summary.add({"issues": [told]}, None)
    document = summary.document()
    assert len(document["rules"]) == MAX_RULES + 1
    assert len(document["severities"]) == MAX_RULES + 1
    assert sum(document["severities"].values()) == MAX_RULES * 2
    assert document["rules"][0] == {
        "rule": "(other)",
        "layer": "",
        "severity": "",
        "issues": MAX_RULES,
        "items": MAX_RULES,
    }
