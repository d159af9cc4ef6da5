"""Where an annotation may stand and what it may name."""

from __future__ import annotations

import pytest

from domain.outcomes import Failed
from domain.systems.annotations.rules import Labels, selection

TEXT = "a🐍é b"


@pytest.mark.parametrize(
    ("start", "end", "selected", "found"),
    [
        (0, 1, None, "a"),
        (1, 2, "🐍", "🐍"),
        (1, 3, None, "🐍é"),
        (0, 5, TEXT, TEXT),
        (3, 4, " ", " "),
    ],
)
def test_a_span_selects_code_points(start: int, end: int, selected: str | None, found: str) -> None:
    assert selection(TEXT, start, end, selected) == found


@pytest.mark.parametrize(
    ("start", "end", "pointer", "words"),
    [
        (0, 0, "/start_char", "start_char 0 must be less than end_char 0"),
        (3, 1, "/start_char", "must be less"),
        (4, 6, "/end_char", "end_char 6 is beyond the text's 5 characters"),
        (9, 12, "/end_char", "beyond"),
    ],
)
def test_a_span_must_lie_in_its_text(start: int, end: int, pointer: str, words: str) -> None:
    found = selection(TEXT, start, end, None)
    assert isinstance(found, Failed)
    assert (found.code, found.pointer, found.retryable) == ("span_out_of_range", pointer, False)
    assert words in found.message


def test_a_selected_text_must_be_the_text_of_the_span() -> None:
    found = selection(TEXT, 0, 2, "a" * 100)
    assert isinstance(found, Failed)
    assert (found.code, found.pointer) == ("text_mismatch", "/selected_text")
    assert "'a🐍'" in found.message
    assert "…" in found.message
    assert "a" * 50 not in found.message


def test_a_label_is_named_by_id_or_by_name() -> None:
    labels = Labels(7, frozenset({3}), {"person": 4})
    assert labels.resolve(3, None) == 3
    assert labels.resolve(None, "person") == 4


@pytest.mark.parametrize(
    ("label_id", "name", "code", "pointer", "retryable"),
    [
        (4, None, "label_not_found", "/label_id", True),
        (None, "Person", "label_not_found", "/label", True),
        (None, None, "invalid", "/label_id", False),
        (3, "person", "invalid", "/label_id", False),
    ],
)
def test_a_label_that_is_not_named_right(
    label_id: int | None, name: str | None, code: str, pointer: str, retryable: bool
) -> None:
    found = Labels(7, frozenset({3}), {"person": 4}).resolve(label_id, name)
    assert isinstance(found, Failed)
    assert (found.code, found.pointer, found.retryable) == (code, pointer, retryable)
