"""Sets of item positions, kept as sorted half-open ranges.

A job of a million items is one range; what is left of it after failures is a few
hundred. All functions are pure; a ``Ranges`` is never changed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, starmap
from operator import itemgetter
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Sorted, disjoint, non-adjacent half-open spans ``(first, end)`` of item positions."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def span(cls, first: int, end: int) -> Self:
        """The positions ``first .. end - 1``; empty when ``end <= first``."""
        return cls(((first, end),)) if end > first else cls()

    @classmethod
    def of(cls, positions: Iterable[int]) -> Self:
        """The given positions, in any order, duplicates folded."""
        return cls(tuple(_merged((p, p + 1) for p in sorted(positions))))

    @classmethod
    def from_spans(cls, spans: Iterable[Iterable[int]]) -> Self:
        """Spans from outside, in any order; raises ValueError on one without ``first < end``."""
        pairs = sorted(_checked(span) for span in spans)
        return cls(tuple(_merged(pairs)))

    def __len__(self) -> int:
        return sum(end - first for first, end in self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(starmap(range, self.spans))

    def __contains__(self, position: int) -> bool:
        place = bisect_right(self.spans, position, key=itemgetter(0))
        return place > 0 and position < self.spans[place - 1][1]

    def __or__(self, other: Ranges) -> Ranges:
        if not self.spans:
            return other
        if not other.spans:
            return self
        return Ranges(tuple(_merged(sorted(self.spans + other.spans))))

    def __and__(self, other: Ranges) -> Ranges:
        return self - (self - other)

    def __sub__(self, other: Ranges) -> Ranges:
        left: list[Span] = []
        cuts = iter(other.spans)
        cut = next(cuts, None)
        for index, (first, end) in enumerate(self.spans):
            if cut is None:
                # Taking a few off a long tail, chunk after chunk, must not walk the tail.
                left.extend(self.spans[index:])
                break
            while cut is not None and cut[1] <= first:
                cut = next(cuts, None)
            start = first
            while cut is not None and cut[0] < end:
                if cut[0] > start:
                    left.append((start, cut[0]))
                start = cut[1]
                if cut[1] >= end:
                    break
                cut = next(cuts, None)
            if start < end:
                left.append((start, end))
        return Ranges(tuple(left))

    def take(self, count: int) -> tuple[Ranges, Ranges]:
        """The first ``count`` positions, and the rest."""
        left = count
        for index, (first, end) in enumerate(self.spans):
            size = end - first
            if size >= left:
                head = (*self.spans[:index], (first, first + left)) if left else self.spans[:index]
                tail = ((first + left, end),) if size > left else ()
                return Ranges(head), Ranges(tail + self.spans[index + 1 :])
            left -= size
        return self, Ranges()

    def within(self, first: int, end: int) -> Ranges:
        """The positions ``first .. end - 1`` of these; the others are not walked."""
        start = bisect_left(self.spans, first, key=itemgetter(1))
        found: list[Span] = []
        for index in range(start, len(self.spans)):
            low, high = self.spans[index]
            if low >= end:
                break
            if high > first:
                found.append((max(low, first), min(high, end)))
        return Ranges(tuple(found))

    def halves(self) -> tuple[Ranges, Ranges]:
        """Two halves, the first one the smaller when the count is odd."""
        return self.take(len(self) // 2)

    def to_json(self) -> list[list[int]]:
        """``[[first, end], ...]``, the form in which ranges travel and are stored."""
        return [list(span) for span in self.spans]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        pair = core_schema.list_schema(core_schema.int_schema(ge=0), min_length=2, max_length=2)
        parse = core_schema.no_info_after_validator_function(
            cls.from_spans, core_schema.list_schema(pair)
        )
        return core_schema.json_or_python_schema(
            json_schema=parse,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), parse]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda ranges: ranges.to_json()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "description": "Positions of items as half-open spans: [[0, 3], [5, 6]] is 0, 1, 2, 5.",
            **handler(schema),
        }


def _checked(span: Iterable[int]) -> Span:
    first, end = span
    if not 0 <= first < end:
        raise ValueError(f"a range must be 0 <= first < end, not [{first}, {end}]")
    return first, end


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    current: Span | None = None
    for span in spans:
        if current is None:
            current = span
        elif span[0] <= current[1]:
            current = (current[0], max(current[1], span[1]))
        else:
            yield current
            current = span
    if current is not None:
        yield current
