"""texts.import: texts with their spans, whose words are in memory a few at a time."""

from __future__ import annotations

from typing import Any

import pytest

from domain.outcomes import Restored
from domain.systems.annotations import importing, tables
from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.intakes import text_item
from tests.systems.annotations.conftest import TEXT, Ground
from tests.systems.bench import Workbench, document


def span(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"start_char": start, "end_char": end, "label": "person", **more}


def test_an_item_has_the_words_of_its_spans_once() -> None:
    spans = (Span(0, 3, "PER", 0.5, {"sure": True}), Span(0, 20, "ALL"))
    item = text_item(TextDocument(TEXT, spans, "letter-1", ("old",), {"page": 3}))
    assert item == {
        "key": "letter-1",
        "content": TEXT,
        "labels": ["old"],
        "metadata": {"page": 3},
        "annotations": [
            span(0, 3, confidence_score=0.5, metadata={"sure": True}) | {"label": "PER"},
            span(0, 20) | {"label": "ALL"},
        ],
    }


def test_spans_are_stored_a_few_at_a_time(
    bench: Workbench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "WORDS_AT_ONCE", 8)
    first = {"content": TEXT, "annotations": [span(0, 3), span(4, 9), span(13, 20), span(0, 20)]}
    second = {"content": "Grace", "annotations": [span(0, 5)]}
    results = bench.work("texts.import", [first, second], params={"project_id": ground.project})
    assert [document(each)["annotations"] for each in results] == [4, 1]
    rows = bench.rows(tables.annotations).values()
    words = [row["selected_text"] for row in rows]
    assert words == ["Ada", "wrote", "Charles", "Ada wrote to Charles", "Grace"]
    texts = [document(each)["id"] for each in results]
    assert [row["text_id"] for row in rows] == [texts[0]] * 4 + [texts[1]]
    assert bench.undo() == {0: Restored(), 1: Restored()}
    assert not bench.rows(tables.annotations)
