"""Patterns: regular expressions of a project, matched in time linear to the text (RE2).

A project writes them, and every item is held against them: an engine that goes back could be
kept busy for hours by one short pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import re2  # type: ignore[import-untyped] # has none

MAX_PATTERN = 1000
_MEMORY = 8 << 20
"""Bytes that the automaton of a pattern may take; RE2 refuses what does not fit."""


def checked_pattern(pattern: str) -> str:
    """The pattern; raises ValueError, saying why, when RE2 does not take it."""
    _search(pattern)
    return pattern


class Patterns:
    """Several patterns that are looked for in the same text at once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._searches = [_search(pattern) for pattern in patterns]
        self._quick = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._quick.Add(pattern)
        self._quick.Compile()

    def found(self, text: str) -> list[bool]:
        """Which of the patterns are found in the text.

        What the set finds is there. What it does not find is looked for again, since it gives
        up where a text takes more memory than it has.
        """
        quick = self._quick.Match(text) or ()
        if len(quick) == len(self._searches):
            return [True] * len(quick)
        hits = frozenset(quick)
        return [
            number in hits or pattern.search(text) is not None
            for number, pattern in enumerate(self._searches)
        ]


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return options


def _search(pattern: str) -> Any:
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        why = error.args[0] if error.args else error
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else why
        raise ValueError(
            f"RE2 does not take the pattern: {why}; it has no look-around and no back-references"
        ) from None
