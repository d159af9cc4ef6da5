"""Field mapping: renames, paths, constants and templates."""

from __future__ import annotations

from typing import Any

import pytest

from domain.systems.annotations.formats.mapping import (
    Constant,
    Path,
    Template,
    by_other_names,
    lacking,
    mapped,
    parsed_mapping,
    renames,
    reversed_renames,
)

RECORD = {"id": 7, "body": "Ada", "deep": {"list": [{"x": 1}], "none": None}, "a.b": "dotted"}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("body", "Ada"),
        ("deep.list.0.x", 1),
        ("a.b", "dotted"),
        ({"path": "deep.none"}, None),
        ({"constant": ["c"]}, ["c"]),
        ({"template": "{id}: {body}{deep.none}{absent}!"}, "7: Ada!"),
    ],
)
def test_where_a_field_comes_from(source: Any, value: Any) -> None:
    assert mapped(RECORD, parsed_mapping({"wanted": source}))["wanted"] == value


@pytest.mark.parametrize("path", ["absent", "deep.list.1", "deep.list.-1", "body.x", "deep.list.x"])
def test_what_is_not_there_stays_absent(path: str) -> None:
    assert "wanted" not in mapped(RECORD, {"wanted": Path(path)})


def test_a_rename_takes_the_field_and_nothing_else_does() -> None:
    assert mapped({"a": 1, "b": 2}, renames({"c": "a"})) == {"c": 1, "b": 2}
    assert mapped({"c": 1, "b": 2}, reversed_renames({"c": "a"})) == {"a": 1, "b": 2}
    assert mapped({"a": 1}, {"t": Template("{a}{a}"), "k": Constant(0)}) == {
        "a": 1,
        "t": "11",
        "k": 0,
    }


def test_two_fields_may_change_places() -> None:
    assert mapped({"a": 1, "b": 2}, renames({"a": "b", "b": "a"})) == {"a": 2, "b": 1}


def test_a_template_reaches_nothing_but_fields() -> None:
    found = mapped({"a": "x"}, {"t": Template("{a.__class__}{0}{a!r}{{a}}")})
    assert found["t"] == "{x}"


def test_a_template_lacks_what_is_absent() -> None:
    mapping = {"a": Template("{id}{absent}"), "b": Template("{id}"), "c": Path("absent")}
    assert lacking(RECORD, mapping) == {"a"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Path("key"), Path("id")),
        (Path("keys"), Path("keys")),
        (Template("{key}-{x}{{key}}"), Template("{id}-{x}{{id}}")),
        (Constant("key"), Constant("key")),
    ],
)
def test_a_source_may_have_its_field_by_another_name(source: Any, expected: Any) -> None:
    assert by_other_names(source, {"key": "id"}) == expected


@pytest.mark.parametrize(
    "source", [7, None, {"path": 7}, {"path": "a", "constant": 1}, {"eval": "x"}]
)
def test_a_mapping_that_says_nothing_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match="give the name of a field"):
        parsed_mapping({"wanted": source})


def test_a_mapping_has_a_bound() -> None:
    with pytest.raises(ValueError, match="at most 100"):
        parsed_mapping({f"f{n}": "a" for n in range(101)})
