"""What is kept of an export: parts of texts that stand together, in any order of chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.operation import Context
from domain.outcomes import Done, Failed, Skipped
from domain.systems.annotations.export_documents import packed, unpacked
from domain.systems.annotations.export_reading import kept
from domain.systems.annotations.formats.documents import (
    Box,
    Document,
    ImageDocument,
    Span,
    TextDocument,
)
from tests.systems.bench import FixedClock


@dataclass
class Kept:
    """Parts by the first of their items."""

    parts: dict[int, list[Document]] = field(default_factory=dict)

    def add(self, position: int, data: bytes) -> None:
        self.parts[position] = list(unpacked(data))


def test_documents_come_back_as_they_were() -> None:
    boxed = Box(1.5, 2, 3, 4, "a\nb", 0.5, (((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)),), True, {"x": 1})
    documents: list[Document] = [
        TextDocument(
            "a\n\u2028b\r", (Span(0, 1, "x", None, {"deep": [None]}),), "", ("y",), {"z": {}}
        ),
        ImageDocument("a.png", 640, 480, (boxed,), "7", {"n": 10**30}),
        TextDocument("-"),
    ]
    assert list(unpacked(packed(documents))) == documents


def test_a_part_has_what_stands_together_so_that_a_retry_takes_its_place() -> None:
    texts = [TextDocument(f"{n}") for n in range(6)]
    found: list[Document | Failed | Skipped | None] = [*texts]
    found[2], found[4] = Failed("x", "y"), None
    positions = [10, 11, 12, 13, 14, 20]
    parts = Kept()
    context = Context("j", "t", "a", None, 0, 1, positions, 0.0, FixedClock(), parts=parts)
    results = kept(context, positions, [1, 2, 3, 4, 5, 6], found, lambda _: ["key"])
    assert parts.parts == {10: texts[:2], 13: [texts[3]], 20: [texts[5]]}
    assert results[0] == Done({"id": 1, "annotations": 0, "losses": ["key"]})
    assert isinstance(results[4], Skipped)
    again = Context("j", "t", "a", None, 1, 1, [12], 0.0, FixedClock(), parts=parts)
    kept(again, [12], [3], [texts[2]], lambda _: [])
    ordered = [text for _, part in sorted(parts.parts.items()) for text in part]
    assert ordered == [texts[0], texts[1], texts[2], texts[3], texts[5]]
