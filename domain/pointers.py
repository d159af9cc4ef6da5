"""Pointers: where something is in a JSON document, as RFC 6901 writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def pointer_of(place: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) to a place in an item."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def way_in(value: Any, place: Sequence[int | str], kind: str) -> Iterator[int | str]:
    """The way to where pydantic has found a fault of the kind in ``value``.

    Names of alternatives of a union are no part of it.
    """
    for number, part in enumerate(place, start=1):
        if _has(value, part):
            value = value[part]
        elif kind != "missing" or number < len(place) or not isinstance(value, dict):
            continue
        yield part


def _has(value: Any, part: int | str) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)
