"""Names of elements and attributes: a parser of XML keeps each that it has met until its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from domain.systems.annotations.formats.contract import FileRefused

NAMES: Final = 10_000
LENGTH: Final = 1_000_000
"""Characters of all of them."""


class Names:
    """The names that one parser has met, and how much they come to; ``of`` is what it parses."""

    def __init__(self, of: str) -> None:
        self._of = of
        self._known: set[str] = set()
        self._length = 0

    def note(self, tag: str, attributes: Iterable[str]) -> None:
        """Take up those of a tag; raises FileRefused where they never end."""
        self._add(tag)
        for name in attributes:
            self._add(name)

    def _add(self, name: str) -> None:
        if name in self._known:
            return
        self._length += len(name)
        if len(self._known) >= NAMES or self._length > LENGTH:
            raise FileRefused(
                f"{self._of} has more than {NAMES:,} different names of elements and attributes,"
                f" or {LENGTH:,} characters of them; put what they say into texts"
            )
        self._known.add(name)
