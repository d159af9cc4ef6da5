"""Counting: offsets in UTF-16 units become code points once the text is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.systems.annotations.formats.contract import OffsetUnit
from domain.systems.annotations.formats.offsets import Positions
from domain.systems.annotations.validation.becoming import Becoming
from domain.systems.annotations.validation.catalogue import SPLIT_CHARACTER
from domain.systems.annotations.validation.subjects import Batch, Ends, Subject


class GivenOffsets(Protocol):
    """An item that may say where a span is."""

    @property
    def start_char(self) -> int | None: ...  # noqa: D102 - as on the wire
    @property
    def end_char(self) -> int | None: ...  # noqa: D102


def given_in_utf16(offsets: str, items: Sequence[GivenOffsets]) -> Sequence[Ends]:
    """Which offsets of items are to be converted, by what their request says that they count."""
    if offsets != "utf16":
        return ()
    return [(item.start_char is not None, item.end_char is not None) for item in items]


def counted(batch: Batch, indexes: Sequence[int], content: str) -> list[int]:
    """The items on a text whose offsets are between its characters, from now on in code points."""
    positions = Positions(content, OffsetUnit.UTF16)
    units = positions.offset(len(content))
    good: list[int] = []
    for index in indexes:
        item, (of_start, of_end) = batch.items[index], batch.utf16[index]
        start = _code_point(positions, item.start_char, units) if of_start else item.start_char
        end = _code_point(positions, item.end_char, units) if of_end else item.end_char
        for where, offset, found in (
            ("start_char", item.start_char, start),
            ("end_char", item.end_char, end),
        ):
            if found is None:
                said = f"{where} {offset} is between the two halves of a character in UTF-16"
                batch.add(index, SPLIT_CHARACTER, f"/{where}", f"{said}; correct it")
        if start is not None and end is not None:
            batch.items[index] = _moved(item, start, end)
            good.append(index)
    return good


def _code_point(positions: Positions, offset: int, units: int) -> int | None:
    """``None`` within a character; what is beyond the text stays beyond it."""
    return positions.code_point(offset) if offset <= units else offset


def _moved(item: Subject, start: int, end: int) -> Becoming:
    return Becoming(
        text_id=item.text_id,
        start_char=start,
        end_char=end,
        label_id=item.label_id,
        label=item.label,
        selected_text=item.selected_text,
        confidence_score=item.confidence_score,
        metadata=item.metadata,
    )
