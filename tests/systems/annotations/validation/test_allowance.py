"""How much a project's own rules may take of one chunk: time, and memory for what they say."""

from __future__ import annotations

import random
import tracemalloc
from time import thread_time

import pytest

from domain.outcomes import Failed
from domain.systems.annotations import operations
from domain.systems.annotations.validation.allowance import AT_FIRST, FOR_EACH, Allowance
from domain.systems.annotations.validation.becoming import Becoming
from domain.systems.annotations.validation.examination import MAX_RULES
from domain.systems.annotations.validation.issues import MAX_ISSUES, Layer, Rule, Severity
from domain.systems.annotations.validation.own_rules import OwnRule, OwnRules
from domain.systems.annotations.validation.patterns import Finding, Patterns, checked_pattern
from domain.systems.annotations.validation.subjects import Batch
from streams.stores.database import Database
from tests.databases import sqlite_database
from tests.processor_time import processor_time
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import create, issues, rule, span
from tests.systems.bench import Workbench, document, fault

__all__ = ["sqlite_database"]

LARGE = "|".join(f"[ab]*a[ab]{{9{number}0}}{end}" for number, end in enumerate("cdefghijkl"))
"""Nine thousand states, of which any number can be reached together."""
SLOW = "[ab]*a[ab]{200}x"
SECONDS = 1.0


@pytest.fixture
def bench(sqlite_database: Database) -> Workbench:
    """On one database: what rules take is taken in this process, whichever it is."""
    return Workbench(sqlite_database, operations)


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
    own = [one for one in issues(long) if one["rule"] == "rule_not_applied"]
    for number, one in enumerate(own):
        assert "selected_text is too long for a pattern as large as" in one["message"]
        assert f"custom.rule_{number} was not looked at" in one["message"]
    assert [one["severity"] for one in own] == ["warning"] * 5
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


NAMES = r"^\p{Lu}[\p{L}\p{M}' ,.-]{1,200}$"


@pytest.mark.parametrize(
    ("pattern", "text", "finding"),
    [
        (r"^[\p{L}\p{M}' -]{1,200}$", "Žofie " * 250, Finding.ABSENT),
        (r"^[\p{L}\p{M}' -]{1,200}$", "é" * 100_000, Finding.ABSENT),
        (NAMES, "Žofie, " * 215, Finding.ABSENT),
        (NAMES.removesuffix("$"), "Žofie, " * 215, Finding.FOUND),
        (NAMES, "1" * 100_000, Finding.ABSENT),
        (r"[\p{L}\p{M}' -]{1,200}!$", "Ada " * 5_000 + "!", Finding.FOUND),
    ],
)
def test_a_large_pattern_that_is_quick_is_looked_for_in_a_long_text(
    pattern: str, text: str, finding: Finding
) -> None:
    several = Patterns([checked_pattern(pattern)])
    with processor_time() as taken:
        ((found,),) = several.found([text], Allowance.of(1))
    assert found == finding
    assert taken.seconds < SECONDS


@pytest.mark.parametrize("beginning", ["", "-" * 20_000, "-" * 90_000])
def test_a_pattern_is_given_up_soon_however_far_into_a_text_it_becomes_slow(
    beginning: str,
) -> None:
    slow = Patterns(["|".join(f"[ab]*a[ab]{{9{number}0}}c" for number in range(10))])
    text = beginning + _noise(100_000 - len(beginning))
    slow.found(["a"])
    with processor_time() as taken:
        ((found,),) = slow.found([text], Allowance(0.1))
    assert taken.seconds < 2 * SECONDS
    assert found in (Finding.TOO_LARGE, Finding.NO_TIME)


def test_many_patterns_are_not_looked_for_at_once_in_a_long_text() -> None:
    several = Patterns([checked_pattern(f"{SLOW}{number}") for number in range(30)])
    several.found(["b"])
    with processor_time() as taken:
        found = several.found([_noise(20_000)], Allowance.of(1))
    assert taken.seconds < AT_FIRST + SECONDS
    assert found[0] == bytearray([Finding.ABSENT])


def test_a_pattern_is_compiled_in_the_time_of_the_chunk_that_needs_it() -> None:
    large = [rf"^[\p{{L}}\p{{N}}' -]{{1,{most}}}$" for most in range(189, 201)]
    with processor_time() as taken:
        assert Patterns(large).found(["Ada"], Allowance(0)) == [bytearray([Finding.NO_TIME])] * 12
    assert taken.seconds < 0.1
    rules = [
        _own(f"rule_{number}", {"kind": "regex", "field": "selected_text", "pattern": pattern})
        for number, pattern in enumerate(large)
    ]
    batch = _batch(1, "Ada")
    with processor_time() as taken:
        OwnRules(rules).check(batch, batch.sound(), Allowance(0.3))
    assert taken.seconds < SECONDS * 2
    assert batch.issues[0][-1].rule.id == "rule_not_applied"


def test_what_a_chunk_does_beside_its_rules_takes_nothing_of_their_time() -> None:
    allowance = Allowance(0.05)
    _work(0.1)
    with allowance.resumed():
        assert allowance.left() > 0
        _work(0.02)
    _work(0.1)
    with allowance.resumed():
        assert 0 < allowance.left() < 0.04
        _work(0.1)
    assert not allowance.left()


def _work(seconds: float) -> None:
    began = thread_time()
    while thread_time() - began < seconds:
        pass


def _make_slow_rules(bench: Workbench, ground: Ground, count: int, **more: str) -> None:
    rules = [
        {
            "project_id": ground.project,
            "name": f"rule_{number}",
            "definition": {"kind": "regex", "field": "selected_text", "pattern": f"{SLOW}{number}"},
            **more,
        }
        for number in range(count)
    ]
    bench.make("annotations.create_validation_rules", rules)


def test_an_annotation_that_comes_ten_times_has_no_more_time_than_ten_that_come_once(
    bench: Workbench, ground: Ground
) -> None:
    content = {"project_id": ground.project, "content": _noise(100_000)}
    (text,) = bench.make("annotations.create_texts", [content])
    (made,) = create(bench, ground, span(ground, 0, 100_000, text_id=text))
    _make_slow_rules(bench, ground, 40, severity="warning")
    changes = [{"id": document(made)["id"], "confidence_score": n / 10} for n in range(10)]
    with processor_time() as taken:
        results = bench.work("annotations.update", changes)
    assert taken.seconds < AT_FIRST + 10 * FOR_EACH + 2 * SECONDS
    assert {one["rule"] for one in issues(results[-1])} >= {"rule_not_applied"}


def test_what_had_no_time_is_no_fault_of_the_item(bench: Workbench, ground: Ground) -> None:
    content = {"project_id": ground.project, "content": _noise(100_000) + "c"}
    (text,) = bench.make("annotations.create_texts", [content])
    rule(bench, ground, {"kind": "regex", "field": "selected_text", "pattern": LARGE})
    (long,) = create(bench, ground, span(ground, 0, 100_000, text_id=text))
    assert fault(long) == ("rule_not_applied", "/selected_text", True)
    assert "custom.mine was not looked at" in issues(long)[0]["message"]


def test_one_item_is_not_kept_waiting_for_all_of_the_rules(
    bench: Workbench, ground: Ground
) -> None:
    content = {"project_id": ground.project, "content": _noise(100_000)}
    (text,) = bench.make("annotations.create_texts", [content])
    _make_slow_rules(bench, ground, MAX_RULES)
    with processor_time() as taken:
        (result,) = create(bench, ground, span(ground, 0, 100_000, text_id=text))
    assert taken.seconds < AT_FIRST + 2 * SECONDS
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
        assert [one.rule.id for one in found] == ["rule_not_applied"]
        assert found[0].rule.retryable
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
