"""How much text spans may have: each of them, and those of one chunk together."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from domain.outcomes import Done, Restored
from domain.systems.annotations import tables
from domain.systems.annotations.models import MAX_SELECTED
from domain.systems.annotations.validation.amounts import FEW, MAX_TEXT
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import create, issues, said, span, validate
from tests.systems.bench import Workbench, document, fault

LONG = MAX_SELECTED + 1
UPDATE, DELETE = "annotations.update", "annotations.delete"
TOO_MUCH = ("too_much_text", "/end_char", True)


@pytest.fixture
def text(bench: Workbench, ground: Ground) -> int:
    """The id of a text of which a span may not have all."""
    content = {"project_id": ground.project, "content": "a" * LONG}
    return bench.make("annotations.create_texts", [content])[0]


@pytest.fixture
def old(bench: Workbench, ground: Ground, text: int) -> int:
    """The id of an annotation from when there was no limit."""
    (made,) = create(bench, ground, span(ground, 0, 1, text_id=text))
    key: int = document(made)["id"]
    _make_long(bench, [key], text)
    return key


def _make_long(bench: Workbench, keys: list[int], text: int) -> None:
    content = bench.rows(tables.texts)[text]["content"]
    longer = update(tables.annotations).where(tables.annotations.c.id.in_(keys))
    values = {"start_char": 0, "end_char": len(content), "selected_text": content}
    bench.database.write_now(lambda connection: connection.execute(longer.values(values)))


def test_a_new_span_has_no_more_characters_than_a_file_may_say(
    bench: Workbench, ground: Ground, text: int
) -> None:
    long, allowed = span(ground, 0, LONG, text_id=text), span(ground, 1, LONG, text_id=text)
    key = 0
    for full in (True, False):
        wrong, right = create(bench, ground, long, allowed, validate_before_create=full)
        assert fault(wrong) == ("span_too_long", "/end_char", False)
        assert "100,001 characters, more than 100,000; shorten it" in issues(wrong)[0]["message"]
        key = document(right)["id"]
    assert len(bench.rows(tables.annotations)[key]["selected_text"]) == MAX_SELECTED
    (moved,) = bench.work(UPDATE, [{"id": key, "start_char": 0}])
    assert fault(moved)[0] == "span_too_long"
    (checked,) = validate(bench, ground, long)
    assert fault(checked)[0] == "span_too_long"


def test_a_longer_span_that_is_there_can_be_looked_at_changed_and_deleted(
    bench: Workbench, ground: Ground, old: int
) -> None:
    (looked,) = validate(bench, ground, {"id": old})
    assert said(looked) == [("long_span", "warning", "/end_char")]
    before = bench.rows(tables.annotations)[old]
    (changed,) = bench.work(UPDATE, [{"id": old, "label": "thing", "confidence_score": 0.5}])
    assert document(changed)["version"] == 2
    assert bench.undo() == {0: Restored()}
    (shortened,) = bench.work(UPDATE, [{"id": old, "end_char": 5}])
    document(shortened)
    assert bench.rows(tables.annotations)[old]["selected_text"] == "aaaaa"
    assert bench.undo() == {0: Restored()}
    document(bench.work(DELETE, [{"id": old}])[0])
    assert bench.undo() == {0: Restored()}
    after = bench.rows(tables.annotations)[old]
    assert after | {"version": 1} == before


def test_the_spans_of_a_chunk_have_so_much_text_together(
    bench: Workbench, ground: Ground, text: int
) -> None:
    item = span(ground, 0, MAX_SELECTED, text_id=text)
    small = span(ground, 0, 3, text_id=text)
    results = create(bench, ground, *[item] * FEW, item, small)
    assert [type(result) for result in results[:FEW]] == [Done] * FEW
    # They have it all, and the next one may pass in another chunk, as it is.
    assert [fault(result) for result in results[FEW:]] == [TOO_MUCH, TOO_MUCH]
    document(create(bench, ground, item)[0])
    words = issues(results[FEW])[0]["message"]
    assert f"{MAX_TEXT:,} characters" in words
    assert f"chunk_size of {FEW}" in words


def test_no_chunk_reads_or_keeps_more_text_than_that(
    bench: Workbench, ground: Ground, text: int
) -> None:
    keys = bench.make(
        "annotations.create",
        [span(ground, 0, 1, text_id=text)] * (FEW + 2),
        params={"project_id": ground.project},
    )
    _make_long(bench, keys, text)
    change = [{"id": key, "confidence_score": 0.5} for key in keys]
    ids: list[Any] = [{"id": key} for key in keys]
    validated = validate(bench, ground, *ids)
    for results in (validated, bench.work(UPDATE, change), bench.work(DELETE, ids)):
        # Each is longer by one than what is allowed now, so there is one less.
        good = [isinstance(result, Done) for result in results]
        assert good == [True] * (FEW - 1) + [False] * 3
        assert {fault(result) for result in results[FEW - 1 :]} == {("too_much_text", "/id", True)}
        assert said(results[FEW - 1]) == [("too_much_text", "error", "/id")]
        assert issues(results[FEW - 1])[0]["item"] == FEW - 1
    assert set(bench.rows(tables.annotations)) == set(keys[FEW - 1 :])
    # What is done by few is not counted.
    assert {type(result) for result in bench.work(DELETE, ids[FEW - 1 :])} == {Done}


def test_changes_of_one_annotation_count_each(bench: Workbench, ground: Ground, old: int) -> None:
    changes = [{"id": old, "confidence_score": 0.5}] * (FEW + 1)
    results = bench.work(UPDATE, changes)
    assert [isinstance(result, Done) for result in results] == [True] * (FEW - 1) + [False] * 2
