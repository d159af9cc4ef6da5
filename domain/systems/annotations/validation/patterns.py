"""Patterns: regular expressions of a project, matched in time linear to the text (RE2).

A project writes them, and every item is held against them: an engine that goes back could be
kept busy for hours by one short pattern.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import lru_cache
from threading import Lock
from typing import Any, Generic, TypeVar

import re2  # type: ignore[import-untyped] # has none

from domain.systems.annotations.validation.allowance import Allowance

MAX_PATTERN = 1000
MOST_STEPS = 300_000_000
"""Size of a pattern by characters of a text: three seconds where each meets all of the other."""
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


class Finding(IntEnum):
    """What is known of a pattern and a text."""

    ABSENT = 0
    FOUND = 1
    TOO_LARGE = 2
    """The two together could take longer than a chunk has."""
    NO_TIME = 3
    """It was not looked for: the chunk has had its time."""


def checked_pattern(pattern: str) -> str:
    """The pattern; raises ValueError, saying why, when RE2 does not take it."""
    size_of(pattern)
    return pattern


@lru_cache(maxsize=4096)
def size_of(pattern: str) -> int:
    """The steps that a pattern takes a character at most; raises ValueError as for a check."""
    try:
        return int(_automata.of(pattern, _search).programsize)
    except re2.error as error:
        why = error.args[0] if error.args else error
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else why
        raise ValueError(
            f"RE2 does not take the pattern: {why}; it has no look-around and no back-references"
        ) from None


class Patterns:
    """Several patterns that are looked for in the same texts."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def found(self, texts: Sequence[str], allowance: Allowance | None = None) -> list[bytearray]:
        """For each of the patterns, in which of the texts it is found: a ``Finding`` a text.

        What a set of all of them finds is there. What it does not find is looked for again by
        the pattern itself, since a set gives up where a text takes more memory than it has; and
        there is none where the patterns together are too large for one. One pattern after the
        other goes through all texts, so that no more than one has to be in memory.
        """
        allowance = allowance or Allowance()
        found = [bytearray(len(texts)) for _ in self._patterns]
        with allowance.apart():
            sizes = [size_of(pattern) for pattern in self._patterns]
            quick = _automata.of(self._patterns, _set)
        if quick is not None:
            _look_for_all(quick, sum(sizes), texts, found, allowance)
        for pattern, size, column in zip(self._patterns, sizes, found, strict=True):
            if not all(column):
                with allowance.apart():
                    search = _automata.of(pattern, _search)
                _look(search, size, texts, column, allowance)
        return found


def _look_for_all(
    quick: Any,
    size: int,
    texts: Sequence[str],
    found: Sequence[bytearray],
    allowance: Allowance,
) -> None:
    for place, text in enumerate(texts):
        steps = size * len(text)
        if steps <= MOST_STEPS and allowance.has_room(steps):
            for number in quick.Match(text) or ():
                found[number][place] = Finding.FOUND


def _look(
    search: Any, size: int, texts: Sequence[str], column: bytearray, allowance: Allowance
) -> None:
    for place, text in enumerate(texts):
        if column[place]:
            continue
        steps = size * len(text)
        if steps > MOST_STEPS:
            column[place] = Finding.TOO_LARGE
        elif allowance.has_room(steps):
            column[place] = search.search(text) is not None
        else:
            column[place] = Finding.NO_TIME


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
