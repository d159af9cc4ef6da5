"""Offsets in UTF-16 units: converted where the text is at hand, refused within a character."""

from __future__ import annotations

from typing import Any

import pytest

from domain.systems.annotations import tables
from tests.systems.annotations.conftest import Ground
from tests.systems.annotations.validation.setting import said
from tests.systems.bench import Workbench, document

TEXT = "👩‍🚀 Zoë née e\u0301clair 😀 𐍈da, 🏳️‍🌈!"
"""A woman astronaut (three characters), accents of both kinds, and more beyond 16 bits."""


def units(characters: str) -> int:
    """The length that a browser sees."""
    return len(characters.encode("utf-16-le")) // 2


@pytest.fixture
def text(bench: Workbench, ground: Ground) -> int:
    """The id of a text with all of them."""
    content = {"project_id": ground.project, "content": TEXT}
    return bench.make("annotations.create_texts", [content])[0]


def _spans(text: int, *words: str) -> list[dict[str, Any]]:
    """An item for each of the words, as a browser would send it."""
    return [
        {
            "text_id": text,
            "label": "person",
            "start_char": units(TEXT[: TEXT.index(word)]),
            "end_char": units(TEXT[: TEXT.index(word)] + word),
            "selected_text": word,
        }
        for word in words
    ]


def _work(bench: Workbench, ground: Ground, verb: str, items: list[dict[str, Any]]) -> Any:
    params = {"project_id": ground.project, "offsets": "utf16"}
    return bench.work(f"annotations.{verb}", items, params=params)


def test_what_a_browser_counts_becomes_code_points(
    bench: Workbench, ground: Ground, text: int
) -> None:
    words = ["👩‍🚀", "Zoë", "e\u0301clair", "😀", "𐍈da", "🏳️‍🌈", "!"]
    results = _work(bench, ground, "create", _spans(text, *words))
    rows = bench.rows(tables.annotations)
    for word, result in zip(words, results, strict=True):
        row = rows[document(result)["id"]]
        assert row["selected_text"] == word
        assert (row["start_char"], row["end_char"]) == (
            TEXT.index(word),
            TEXT.index(word) + len(word),
        )
    again = _work(bench, ground, "validate", _spans(text, *words))
    assert all(("duplicate", "warning", "/start_char") in said(result) for result in again)


def test_half_a_character_is_refused_where_it_is_said(
    bench: Workbench, ground: Ground, text: int
) -> None:
    (whole,) = _spans(text, "😀")
    del whole["selected_text"]
    start, end = whole["start_char"], whole["end_char"]
    inner = start + 1
    wrong = [
        whole | {"start_char": inner, "end_char": end + 1},
        whole | {"end_char": inner},
        whole | {"start_char": inner, "end_char": inner},
        whole | {"end_char": units(TEXT) + 1},
        whole,
    ]
    for verb in ("validate", "create"):
        assert [said(result) for result in _work(bench, ground, verb, wrong)] == [
            [("split_character", "error", "/start_char")],
            [("split_character", "error", "/end_char")],
            [
                ("split_character", "error", "/start_char"),
                ("split_character", "error", "/end_char"),
            ],
            [("span_out_of_range", "error", "/end_char")],
            [],
        ]


def test_of_a_change_only_what_is_sent_counts_so(
    bench: Workbench, ground: Ground, text: int
) -> None:
    (result,) = _work(bench, ground, "create", _spans(text, "𐍈da"))
    key = document(result)["id"]
    start = TEXT.index("𐍈da")
    end = units(TEXT[:start] + "𐍈da,")
    _work(bench, ground, "update", [{"id": key, "end_char": end}])
    row = bench.rows(tables.annotations)[key]
    assert (row["start_char"], row["selected_text"]) == (start, "𐍈da,")
    (result,) = _work(bench, ground, "update", [{"id": key, "start_char": units(TEXT[:start]) + 1}])
    assert said(result) == [("split_character", "error", "/start_char")]
    _work(bench, ground, "update", [{"id": key, "confidence_score": 1.0}])
    assert bench.rows(tables.annotations)[key]["selected_text"] == "𐍈da,"
