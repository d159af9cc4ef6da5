"""Patterns: regular expressions of a project, matched in time linear to the text (RE2).

A project writes them, and every item is held against them: an engine that goes back could be
kept busy for hours by one short pattern.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Generic, TypeVar

import re2  # type: ignore[import-untyped] # has none

MAX_PATTERN = 1000
_MOST = 8 << 20
"""Bytes that an automaton may take at most: RE2 refuses what does not fit."""
_TRIED = tuple((64 << 10) << step for step in range(7))
"""Bytes below that are tried for what an automaton is, before anything is searched with it."""
_TO_SEARCH = 8
"""How much more it may take than that. RE2 keeps the states that it met within the same bytes,
and where they do not fit it searches several times as slow; patterns that repeat a class of
Unicode have room enough with 8 times as much, and not with 4."""
_ROOM = 64 << 20
"""Bytes that all automata together may take which a process keeps from one use to the next."""

Key = TypeVar("Key")


class Automata(Generic[Key]):
    """Automata that were used lately, as many as there is room for by what they may take.

    One that is not kept is made anew: that takes time, where all of them would take memory
    without an end, since any number of projects may have a hundred of them each.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def of(self, key: Key, make: Callable[[Key, int], Any]) -> Any:
        """What is made of the key with memory enough to search; raises re2.error."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        made = _fitting(key, make)
        with self._lock:
            self._kept[key] = made
            while sum(memory for _, memory in self._kept.values()) > self._room:
                self._kept.popitem(last=False)
        return made[0]


def _fitting(key: Key, make: Callable[[Key, int], Any]) -> tuple[Any, int]:
    """What is made of the key, and the bytes that it may take."""
    memory = _enough(key, make)
    made = make(key, memory)
    return made, _TRIED[0] * _TO_SEARCH if made is None else memory


def _enough(key: Key, make: Callable[[Key, int], Any]) -> int:
    """The bytes in which there is room for the automaton and for what it keeps of a search."""
    for memory in _TRIED:
        with suppress(re2.error):
            make(key, memory)
            return min(memory * _TO_SEARCH, _MOST)
    return _MOST


_automata: Automata[Any] = Automata(_ROOM)
"""Those of patterns by the pattern, and those of sets by all patterns of the set."""


def checked_pattern(pattern: str) -> str:
    """The pattern; raises ValueError, saying why, when RE2 does not take it."""
    try:
        _automata.of(pattern, _search)
    except re2.error as error:
        why = error.args[0] if error.args else error
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else why
        raise ValueError(
            f"RE2 does not take the pattern: {why}; it has no look-around and no back-references"
        ) from None
    return pattern


class Patterns:
    """Several patterns that are looked for in the same texts."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def found(self, texts: Sequence[str]) -> list[bytearray]:
        """For each of the patterns, in which of the texts it is found: 1 or 0 a text.

        What a set of all of them finds is there. What it does not find is looked for again by
        the pattern itself, since a set gives up where a text takes more memory than it has; and
        there is none where the patterns together are too large for one. One pattern after the
        other goes through all texts, so that no more than one has to be in memory.
        """
        found = [bytearray(len(texts)) for _ in self._patterns]
        quick = _automata.of(self._patterns, _set)
        if quick is not None:
            for place, text in enumerate(texts):
                for number in quick.Match(text) or ():
                    found[number][place] = True
        for pattern, column in zip(self._patterns, found, strict=True):
            if not all(column):
                _look(_automata.of(pattern, _search), texts, column)
        return found


def _look(search: Any, texts: Sequence[str], column: bytearray) -> None:
    for place, text in enumerate(texts):
        if not column[place]:
            column[place] = search.search(text) is not None


def _set(patterns: tuple[str, ...], memory: int) -> Any:
    """One automaton for all of them; ``None`` where they are too large together."""
    made = re2.Set.SearchSet(_options(memory))
    for pattern in patterns:
        made.Add(pattern)
    try:
        made.Compile()
    except re2.error:
        if memory == _MOST:
            return None
        raise
    return made


def _search(pattern: str, memory: int) -> Any:
    made = re2.compile(pattern, _options(memory))
    # The library would keep the last 128 of them itself, whatever they take.
    re2.purge()
    return made


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options
