"""Rules that a project writes itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import re2  # type: ignore[import-untyped] # has none
from pydantic import ValidationError
from sqlalchemy import update

from domain.outcomes import Failed
from domain.systems.annotations import tables as of_platform
from domain.systems.annotations.validation import tables
from domain.systems.annotations.validation.definitions import NewRule
from domain.systems.annotations.validation.examination import MAX_RULES
from domain.systems.annotations.validation.expressions import Condition, checked_expression
from domain.systems.annotations.validation.patterns import Automata, Patterns, checked_pattern
from tests.processor_time import processor_time
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import create, issues, rule, said, span, validate
from tests.systems.bench import Workbench, document, fault

SECONDS = 1.0


KINDS: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({"kind": "required", "field": "metadata.a.b"}, {"a": {}}, "/metadata/a/b"),
    ({"kind": "required", "field": "metadata.a.b"}, {"a": {"b": 0}}, None),
    ({"kind": "required", "field": "confidence_score"}, {}, "/confidence_score"),
    ({"kind": "regex", "field": "selected_text", "pattern": "^A"}, {}, None),
    ({"kind": "regex", "field": "selected_text", "pattern": "^B"}, {}, "/selected_text"),
    ({"kind": "regex", "field": "label", "pattern": "son", "negate": True}, {}, "/label_id"),
    ({"kind": "regex", "field": "metadata.k", "pattern": "^1$"}, {"k": 1}, None),
    ({"kind": "regex", "field": "metadata.k", "pattern": "^true$"}, {"k": True}, None),
    (
        {"kind": "regex", "field": "metadata.k", "pattern": r'^\["é",1e-7\]$'},
        {"k": ["é", 1e-7]},
        None,
    ),
    ({"kind": "regex", "field": "metadata.k", "pattern": "^a$"}, {"k": "a"}, None),
    ({"kind": "range", "field": "length", "minimum": 4}, {}, "/end_char"),
    ({"kind": "range", "field": "confidence_score", "maximum": 0.5}, {}, None),
    ({"kind": "range", "field": "metadata.k", "maximum": 2}, {"k": True}, "/metadata/k"),
    ({"kind": "allowed", "field": "label", "values": ["thing"]}, {}, "/label_id"),
    ({"kind": "allowed", "field": "metadata.k", "values": [1]}, {"k": True}, "/metadata/k"),
    ({"kind": "allowed", "field": "metadata.k", "values": [[1]]}, {"k": [1]}, None),
    ({"kind": "expression", "expression": "label == 'person' and length == 3"}, {}, None),
    ({"kind": "expression", "expression": "confidence_score > 0.5"}, {}, ""),
    ({"kind": "expression", "expression": "metadata('k') in ('x', 'y')"}, {"k": "x"}, None),
    ({"kind": "expression", "expression": "'x' in metadata('k')"}, {"k": ["w", "x"]}, None),
    ({"kind": "expression", "expression": "len(metadata('k')) > 1"}, {"k": ["x"]}, ""),
    ({"kind": "expression", "expression": "metadata('k') is None"}, {"k": {"x": 1}}, ""),
    ({"kind": "expression", "expression": "metadata('k') is True"}, {"k": True}, None),
    ({"kind": "range", "field": "metadata.k", "minimum": 2**53 + 1}, {"k": 2**53 + 1}, None),
    ({"kind": "range", "field": "metadata.k", "minimum": 2**53 + 1}, {"k": 2**53}, "/metadata/k"),
]


def test_each_kind(bench: Workbench, ground: Ground) -> None:
    for number, (definition, _, _) in enumerate(KINDS):
        rule(bench, ground, definition, name=f"rule_{number}")
    items = [span(ground, 0, 3, metadata=metadata) for _, metadata, _ in KINDS]
    results = validate(bench, ground, *items)
    for number, ((_, _, pointer), result) in enumerate(zip(KINDS, results, strict=True)):
        own = f"custom.rule_{number}"
        found = [one for one in issues(result) if one["rule"] == own]
        expected = [] if pointer is None else [("error", pointer, 1)]
        known = [(one["severity"], one["pointer"], one["rule_version"]) for one in found]
        assert known == expected, KINDS[number]


@pytest.mark.parametrize("number", [10**400, -(10**4200)], ids=["large", "small"])
def test_a_stored_number_beyond_all_floating_ones_is_out_of_range(
    bench: Workbench, ground: Ground, number: int
) -> None:
    (made,) = create(bench, ground, span(ground, 0, 3, metadata={"k": 1}))
    known = update(of_platform.annotations).values(metadata=f'{{"k":{number}}}')
    bench.database.write_now(lambda connection: connection.execute(known))
    change = {"id": document(made)["id"], "confidence_score": 1}
    document(bench.work("annotations.update", [change])[0])
    rule(bench, ground, {"kind": "range", "field": "metadata.k", "minimum": 0, "maximum": 2})
    (result,) = validate(bench, ground, {"id": document(made)["id"]})
    assert fault(result) == ("custom.mine", "/metadata/k", False)
    digits = len(str(abs(number)))
    assert f"a number of {digits} digits, not in 0..2; correct it" in issues(result)[0]["message"]


def test_a_rule_for_some_labels_with_words_of_its_own(bench: Workbench, ground: Ground) -> None:
    definition = {"kind": "regex", "field": "selected_text", "pattern": r"^\d+$"}
    rule(
        bench,
        ground,
        definition,
        labels=["thing"],
        severity="warning",
        message="write it in digits",
    )
    person, thing = create(bench, ground, span(ground, 0, 3), span(ground, 0, 3, label="thing"))
    assert [one["message"] for one in issues(person)] == []
    assert "write it in digits" in [one["message"] for one in issues(thing)]
    document(thing)


def test_what_must_be_unique_together(bench: Workbench, ground: Ground) -> None:
    rule(bench, ground, {"kind": "unique", "fields": ["label_id"]})
    first, second, other = create(
        bench, ground, span(ground, 0, 3), span(ground, 4, 9), span(ground, 4, 9, label="thing")
    )
    document(first)
    document(other)
    assert fault(second) == ("custom.mine", "/label_id", False)
    (third,) = create(bench, ground, span(ground, 13, 20))
    assert f"annotation {document(first)['id']}" in issues(third)[0]["message"]
    # An annotation is not in its own way.
    (changed,) = bench.work(
        "annotations.update", [{"id": document(first)["id"], "confidence_score": 1}]
    )
    document(changed)


def test_a_project_has_no_more_rules_than_are_applied(bench: Workbench, ground: Ground) -> None:
    definition = {"kind": "required", "field": "label"}
    items = [
        {"project_id": ground.project, "name": f"rule_{number}", "definition": definition}
        for number in range(MAX_RULES + 1)
    ]
    create_rules = "annotations.create_validation_rules"
    results = bench.work(create_rules, items)
    assert [index for index, result in enumerate(results) if isinstance(result, Failed)] == [
        MAX_RULES
    ]
    assert fault(results[-1]) == ("too_many_rules", "/project_id", False)
    (again,) = bench.work(create_rules, items[-1:])
    assert fault(again)[0] == "too_many_rules"


def test_rules_have_versions_and_can_be_put_to_sleep(bench: Workbench, ground: Ground) -> None:
    key = rule(bench, ground, {"kind": "range", "field": "length", "maximum": 2})
    update_rules = "annotations.update_validation_rules"
    change = {"definition": {"kind": "range", "field": "length", "maximum": 1}}
    (changed,) = bench.work(update_rules, [{"id": key, "version": 1, **change}])
    assert document(changed)["version"] == 2
    (result,) = validate(bench, ground, span(ground, 0, 3))
    assert issues(result)[0]["rule_version"] == 2
    assert "..1" in issues(result)[0]["message"]
    bench.work(update_rules, [{"id": key, "enabled": False}])
    (result,) = validate(bench, ground, span(ground, 0, 3))
    assert said(result) == []
    assert [row["version"] for row in bench.rows(tables.rules).values()] == [3]


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({"kind": "regex", "field": "label", "pattern": "(?=a)"}, "pattern"),
        ({"kind": "regex", "field": "label", "pattern": r"(a)\1"}, "pattern"),
        ({"kind": "regex", "field": "label", "pattern": "((a{1000}){1000}){1000}"}, "pattern"),
        ({"kind": "regex", "field": "tenant", "pattern": "a"}, "field"),
        ({"kind": "range", "field": "length", "minimum": "x"}, "minimum"),
        ({"kind": "range", "field": "length"}, "range"),
        ({"kind": "range", "field": "length", "minimum": 2, "maximum": 1}, "range"),
        ({"kind": "expression", "expression": "selected_text is 'word'"}, "expression"),
        ({"kind": "expression", "expression": "1 < length is not 257"}, "expression"),
        ({"kind": "expression", "expression": "metadata is not None"}, "expression"),
        ({"kind": "expression", "expression": "length > 1 and is_upper"}, "expression"),
        ({"kind": "expression", "expression": "1 < 2"}, "expression"),
        ({"kind": "allowed", "field": "label", "values": []}, "values"),
        ({"kind": "allowed", "field": "label", "values": [2**64]}, "values"),
        ({"kind": "unique", "fields": ["metadata"]}, "fields"),
        ({"kind": "expression", "expression": "2 ** 9 > 1"}, "expression"),
        ({"kind": "required", "field": "label", "more": 1}, "more"),
        ({"kind": "python", "code": "1"}, "definition"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_no_rule(definition: Any, pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NewRule(project_id=1, name="mine", definition=definition)
    assert pointer in [str(part) for fault in refused.value.errors() for part in fault["loc"]]


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({"kind": "regex", "field": "label", "pattern": "(?=a)"}, "/definition/pattern"),
        ({"kind": "regex", "field": "label", "pattern": "a", "more": 1}, "/definition/more"),
        ({"kind": "regex", "field": "label"}, "/definition/pattern"),
        ({"kind": "range", "field": "length"}, "/definition"),
        ({"kind": "range", "field": "length", "minimum": "x"}, "/definition/minimum"),
        ({"kind": "unique", "fields": ["metadata"]}, "/definition/fields/0"),
        ({"kind": "python"}, "/definition"),
    ],
)
def test_a_rule_of_a_job_is_refused_with_a_pointer_into_the_item(
    bench: Workbench, ground: Ground, definition: dict[str, Any], pointer: str
) -> None:
    item = {"project_id": ground.project, "name": "mine", "definition": definition}
    (result,) = bench.work("annotations.create_validation_rules", [item])
    assert fault(result) == ("invalid", pointer, False)
    assert [one["pointer"] for one in issues(result)] == [pointer]


def test_a_message_has_no_character_that_a_database_does_not_keep() -> None:
    definition: Any = {"kind": "required", "field": "label"}
    with pytest.raises(ValidationError, match=r"U\+0000"):
        NewRule(project_id=1, name="mine", definition=definition, message="a\0b")


def test_a_number_in_a_message_has_all_of_its_digits(bench: Workbench, ground: Ground) -> None:
    rule(bench, ground, {"kind": "range", "field": "metadata.k", "maximum": 0.30000001})
    (result,) = validate(bench, ground, span(ground, 0, 3, metadata={"k": 0.30000002}))
    assert "is 0.30000002, not in ..0.30000001;" in issues(result)[0]["message"]


def test_what_an_expression_can_say_nothing_of_is_told(bench: Workbench, ground: Ground) -> None:
    rule(bench, ground, {"kind": "expression", "expression": "metadata('k') == 1"})
    results = validate(
        bench,
        ground,
        span(ground, 0, 3, metadata={"k": {"a": 1}}),
        span(ground, 4, 9, metadata={"k": [1, [2]]}),
    )
    for result, kind in zip(results, ("an object", "a list of lists or objects"), strict=True):
        assert f"metadata 'k' is {kind}" in issues(result)[0]["message"]


@pytest.mark.parametrize(
    "expression",
    [
        "().__class__.__bases__",
        "selected_text.upper()",
        "2 ** 2 ** 2 ** 2",
        "1 << 100000",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "f'{label}'",
        "metadata('a')['b']",
        "__import__('os')",
        "eval('1')",
        "open('/etc/passwd')",
        "label := 1",
        "length; length",
        "import os",
        "'a' @ 'b'",
        "b'a'",
        "1j",
        "...",
        "*label",
        "len(label, key=1)",
        "unknown == 1",
        "10000000000000000",
        "",
        "(" * 300 + "1" + ")" * 300,
        "-" * 900 + "1",
        " and ".join(["length"] * 150),
    ],
)
def test_what_an_expression_cannot_be(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked_expression(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "selected_text + selected_text + selected_text",
        "'%1000000000d' % length",
        "selected_text * 1000000000",
        "999999999999999 * 999999999999999 * 999999999999999",
        "length / 0",
        "confidence_score > 1",
        "len(len)",
        "-label",
    ],
)
def test_what_an_expression_cannot_do(expression: str) -> None:
    condition = Condition(checked_expression(expression))
    values = {"selected_text": "a" * 90_000, "length": 3, "confidence_score": None, "label": "x"}
    with processor_time() as taken, pytest.raises(ValueError, match=r"."):
        condition.holds(values, {})
    assert taken.seconds < SECONDS


def test_the_costliest_expression_is_soon_done() -> None:
    most = " or ".join(["lower(selected_text) == label"] * 20)
    values = {"selected_text": "A" * 100_000, "label": "x"}
    with processor_time() as taken:
        assert Condition(checked_expression(most)).holds(values, {}) is False
    assert taken.seconds < SECONDS


def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    evil = Patterns([checked_pattern(r"^(a+)+$"), checked_pattern("b$")])
    with processor_time() as taken:
        assert _found(evil, "a" * 100_000 + "b") == [False, True]
    assert taken.seconds < SECONDS


HEAVY: list[list[str]] = [
    [r"^[\p{L}\p{M}' -]{1,200}$"],
    [r"[\p{L}\p{M}' -]{1,100}", r"[\p{L}\p{M}' -]{1,99}"],
    [rf"^\p{{Lu}}\p{{Ll}}+( \p{{Lu}}\p{{Ll}}+){{0,{most}}}$" for most in range(9, 21)],
    [rf"^.{{1,{most}}}$" for most in range(401, 501)],
]
"""Each is taken alone; those of a list are more together than one automaton may take."""


@pytest.mark.parametrize("patterns", HEAVY)
def test_patterns_that_are_large_together_are_looked_for_one_by_one(patterns: list[str]) -> None:
    several = Patterns([checked_pattern(pattern) for pattern in patterns])
    assert _found(several, "Žofie") == [True] * len(patterns)
    assert _found(several, "\n") == [False] * len(patterns)


def test_a_project_with_large_patterns_has_its_annotations_held_against_them(
    bench: Workbench, ground: Ground
) -> None:
    for number, pattern in enumerate([*HEAVY[0], *HEAVY[2]]):
        definition = {"kind": "regex", "field": "selected_text", "pattern": pattern}
        rule(bench, ground, definition, name=f"rule_{number}")
    good, wrong = create(bench, ground, span(ground, 0, 3), span(ground, 20, 21))
    document(good)
    assert fault(wrong) == ("custom.rule_0", "/selected_text", False)
    assert [one["rule"] for one in issues(wrong)] == [f"custom.rule_{n}" for n in range(13)]


def made_from(least: dict[str, int], made: list[str]) -> Callable[[str, int], str]:
    """What makes of a key itself, with so many KiB or more, and writes down what it made."""

    def make(key: str, memory: int) -> str:
        if memory >> 10 < least[key]:
            raise re2.error("it does not fit")
        made.append(f"{key} {memory >> 10}")
        return key

    return make


def test_automata_are_kept_as_long_as_there_is_room() -> None:
    kept: Automata[str] = Automata(room=5 << 20)
    made: list[str] = []
    least = {"a": 1, "none": 1 << 20, **dict.fromkeys(("large b", "large c", "large d"), 256)}
    make = made_from(least, made)

    used = ["a", "large b", "large c", "a"]
    assert [kept.of(key, make) for key in used] == used
    assert made[1::2] == ["a 512", "large b 2048", "large c 2048"]
    with pytest.raises(re2.error):
        kept.of("none", make)
    made.clear()
    # One more is one too many: who was not used for the longest time makes room.
    kept.of("large d", make)
    for key in ("a", "large c", "large d"):
        kept.of(key, make)
    assert made[1:] == ["large d 2048"]
    kept.of("large b", make)
    assert made[3:] == ["large b 2048"]


@pytest.mark.parametrize(
    ("least", "taken"),
    [(1, 512), (64, 512), (65, 1024), (300, 4096), (1024, 8192), (1025, 8192), (8192, 8192)],
)
def test_an_automaton_has_room_to_search_beside_what_it_is(least: int, taken: int) -> None:
    made: list[str] = []
    kept: Automata[str] = Automata(room=taken << 10)
    kept.of("a", made_from({"a": least}, made))
    assert made[-1] == f"a {taken}"
    # That much is counted: there is room for it, and for nothing beside it.
    kept.of("a", made_from({}, made))
    kept.of("b", made_from({"b": 1}, made))
    made.clear()
    kept.of("a", made_from({"a": least}, made))
    assert made


def test_a_pattern_is_searched_with_more_memory_than_it_compiles_in() -> None:

    def compiled(pattern: str, memory: int) -> Any:
        options = re2.Options()
        options.max_mem, options.log_errors = memory, False
        return re2.compile(pattern, options)

    kept: Automata[str] = Automata(room=64 << 20)
    for pattern, memory in (("[0-9]{4}", 512 << 10), (r"(\pL|\pN){30}!", 8 << 20)):
        assert kept.of(pattern, compiled).options.max_mem == memory


def _found(patterns: Patterns, text: str) -> list[bool]:
    """Which of the patterns are found in a text."""
    return [bool(column[0]) for column in patterns.found([text])]
