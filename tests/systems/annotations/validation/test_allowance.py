"""How much a project's own rules may take of one chunk: time, and memory for what they say."""

from __future__ import annotations

import random
import tracemalloc
from time import thread_time

import pytest

from domain.outcomes import Failed
from domain.systems.annotations.validation.allowance import AT_FIRST, Allowance
from domain.systems.annotations.validation.becoming import Becoming
from domain.systems.annotations.validation.examination import MAX_RULES
from domain.systems.annotations.validation.issues import MAX_ISSUES, Layer, Rule, Severity
from domain.systems.annotations.validation.own_rules import OwnRule, OwnRules
from domain.systems.annotations.validation.patterns import Finding, Patterns, checked_pattern
from domain.systems.annotations.validation.subjects import Batch
from tests.processor_time import processor_time
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import create, issues, rule, span
from tests.systems.bench import Workbench, document

LARGE = "|".join(f"[ab]*a[ab]{{9{number}0}}{end}" for number, end in enumerate("cdefghijkl"))
"""Nine thousand states, of which any number can be reached together."""
SLOW = "[ab]*a[ab]{200}x"
SECONDS = 1.0


def _noise(length: int) -> str:
    return "".join(random.Random(1).choices("ab", k=length))


def test_a_pattern_that_is_too_large_for_a_text_is_an_issue_and_not_a_minute(
    bench: Workbench, ground: Ground
) -> None:
    content = {"project_id": ground.project, "content": _noise(100_000) + "c"}
    (text,) = bench.make("annotations.create_texts", [content])
    pattern = f"{LARGE}|{LARGE.replace('c', 'm')}"[:1000].rsplit("|", 1)[0]
    definition = {"kind": "regex", "field": "selected_text", "pattern": pattern}
    for number in range(5):
        rule(bench, ground, definition, name=f"rule_{number}", severity="warning")
    with processor_time() as taken:
        short, long = create(
            bench, ground, span(ground, 0, 3), span(ground, 0, 100_000, text_id=text)
        )
    document(long)
    assert taken.seconds < SECONDS * 5
    own = [one for one in issues(long) if one["rule"].startswith("custom.")]
    assert [one["rule"] for one in own] == [f"custom.rule_{number}" for number in range(5)]
    assert all(
        "selected_text is too long for a pattern as large as" in one["message"] for one in own
    )
    assert "does not match" in issues(short)[0]["message"]


def test_patterns_are_looked_for_as_long_as_the_chunk_has_time() -> None:
    several = Patterns([checked_pattern(SLOW), checked_pattern("b")])
    texts = [_noise(20_000)] * 200
    with processor_time() as taken:
        slow, _ = several.found(texts, Allowance(0.2))
    assert taken.seconds < SECONDS
    assert slow[0] in (Finding.ABSENT, Finding.NO_TIME)
    assert slow[-1] == Finding.NO_TIME
    assert several.found(["b"], Allowance(0)) == [bytearray([Finding.NO_TIME])] * 2


def test_what_is_made_ready_for_later_chunks_takes_nothing_of_the_time() -> None:
    allowance = Allowance(0.05)
    began = thread_time()
    with allowance.apart():
        while thread_time() - began < 0.1:
            pass
    assert allowance.has_room(1)


def test_one_item_is_not_kept_waiting_for_all_of_the_rules(
    bench: Workbench, ground: Ground
) -> None:
    content = {"project_id": ground.project, "content": _noise(100_000)}
    (text,) = bench.make("annotations.create_texts", [content])
    rules = [
        {
            "project_id": ground.project,
            "name": f"rule_{number}",
            "definition": {"kind": "regex", "field": "selected_text", "pattern": f"{SLOW}{number}"},
        }
        for number in range(MAX_RULES)
    ]
    bench.make("annotations.create_validation_rules", rules)
    with processor_time() as taken:
        (result,) = create(bench, ground, span(ground, 0, 100_000, text_id=text))
    assert taken.seconds < AT_FIRST + 10 * SECONDS
    assert isinstance(result, Failed)
    assert result.code == "custom.rule_0"
    assert result.details["issues_left_out"] >= MAX_RULES - MAX_ISSUES


@pytest.mark.parametrize("kind", ["regex", "expression"])
def test_what_was_not_looked_at_says_so_of_each_item(kind: str) -> None:
    words = "lower(upper(" * 15 + "selected_text" + "))" * 15 + " == 'a'"
    definition = {"kind": kind, "field": "selected_text", "pattern": SLOW, "expression": words}
    batch = _batch(3, "Ada")
    OwnRules([_own("mine", definition)]).check(batch, batch.sound(), Allowance(0))
    for found in batch.issues.values():
        assert [one.rule.id for one in found] == ["custom.mine"]
        assert "custom.mine was not looked at" in found[0].message
    assert len(batch.issues) == 3


def test_what_is_said_of_many_items_by_many_rules_is_in_memory_once() -> None:
    words = "confidence_score > 1 or " + " or ".join(["selected_text == 'abcdefgh'"] * 20)
    rules = [
        _own(f"rule_{n}", {"kind": "expression", "expression": f"{words} or length == {n}"})
        for n in range(20)
    ]
    batch = _batch(1000, "Ada")
    own = OwnRules(rules)
    tracemalloc.start()
    try:
        own.check(batch, batch.sound(), Allowance())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, batch.issues.values())) == 20_000
    assert peak < 5 << 20


def _own(name: str, definition: dict[str, str]) -> OwnRule:
    rule = Rule(f"custom.{name}", Layer.CUSTOM, Severity.ERROR, version=1)
    return OwnRule(rule, definition, frozenset(), "")


def _batch(count: int, words: str) -> Batch:
    item = Becoming(1, 0, len(words), 1, None, None, None, None)
    batch = Batch(1, [item] * count, [0] * count)
    batch.selected, batch.labels, batch.names = [words] * count, [1] * count, {1: "person"}
    return batch
