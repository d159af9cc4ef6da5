"""Which rule of retention governs a job, and rules that contradict themselves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.errors import InvalidCommand
from domain.retention import Rule, check_rule, governing

RULES = [
    Rule(archive_after=1),
    Rule(kind="shop.*", archive_after=2),
    Rule(kind="shop.price.*", archive_after=3),
    Rule(kind="shop.price.set", archive_after=4),
    Rule(tenant="north", archive_after=5),
    Rule(tenant="north", kind="shop.*", archive_after=6),
    Rule(tenant="north", kind="notes.add", archive_after=7),
]


@pytest.mark.parametrize(
    ("tenant", "operation", "age"),
    [
        ("south", "notes.add", 1),
        ("south", "shop.open", 2),
        ("south", "shopping.cart", 1),
        ("south", "shop.price.raise", 3),
        ("south", "shop.price.set", 4),
        ("north", "notes.drop", 5),
        ("north", "notes.add", 7),
        ("north", "shop.open", 6),
        # A tenant's own rule goes before everybody's, however closely that names the kind.
        ("north", "shop.price.set", 6),
    ],
)
def test_the_closest_rule_governs(tenant: str, operation: str, age: float) -> None:
    rule = governing(RULES, tenant, operation)
    assert rule is not None
    assert rule.archive_after == age
    assert governing(RULES[::-1], tenant, operation) == rule


@pytest.mark.parametrize(
    ("kinds", "governs"),
    [
        (["*", "old.texts.load"], "old.texts.load"),
        (["new.load", "old.texts.load"], "new.load"),
        (["new.*", "old.texts.load"], "old.texts.load"),
        (["*", "old.*"], "old.*"),
        (["new.*", "old.*"], "new.*"),
        (["new.*", "old.texts.*"], "old.texts.*"),
        (["oldest", "old.texts.load"], "old.texts.load"),
    ],
)
def test_what_an_operation_was_called_counts_after_what_it_is_called(
    kinds: list[str], governs: str
) -> None:
    rules = [Rule(kind=kind) for kind in kinds]
    for given in (rules, rules[::-1]):
        rule = governing(given, "south", "new.load", "old.texts.load", "oldest")
        assert rule is not None
        assert rule.kind == governs


def test_where_no_rule_is_about_a_job_nothing_governs_it() -> None:
    assert governing(RULES[4:], "south", "shop.open") is None


@pytest.mark.parametrize(
    ("said", "keep", "field"),
    [
        ({"shred_after": 10, "archive_after": 9}, False, "/shred_after"),
        ({}, False, "/shred_after"),
        ({"archive_after": 9}, True, "/keep"),
        ({"shred_after": 0}, True, "/keep"),
    ],
)
def test_a_contradiction_is_refused_by_its_field(
    said: dict[str, float], keep: bool, field: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        check_rule(Rule(**said), keep=keep)
    assert refused.value.pointer == field


def test_what_is_no_contradiction_is_taken() -> None:
    check_rule(Rule(shred_after=9, archive_after=9), keep=False)
    check_rule(Rule(), keep=True)


@pytest.mark.parametrize("kind", ["", "*.set", "shop.*.set", "shop*", "shop.\0", "a/b"])
def test_a_kind_is_an_operation_a_prefix_or_all(kind: str) -> None:
    with pytest.raises(ValidationError):
        Rule(kind=kind, shred_after=1)


@pytest.mark.parametrize("age", [-1, float("inf"), float("nan"), 1e12])
def test_an_age_is_a_number_of_seconds(age: float) -> None:
    with pytest.raises(ValidationError):
        Rule(shred_after=age)
