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
from time import thread_time
from typing import Any, Generic, TypeVar

import re2  # type: ignore[import-untyped] # has none

from domain.systems.annotations.validation.allowance import Allowance

MAX_PATTERN = 1000
AT_ONCE = 20_000_000
"""Size of a pattern by characters of a text that is searched without a trial: a fifth of a second
where each meets all of the other."""
IN_A_SET = 5_000_000
"""The same of all patterns together: a set, however slow it is at a text, goes on to its end."""
_ON_TRIAL = 2_000_000
"""The same of what a pattern is tried on first of a text."""
_PIECES = 8
"""Pieces of a text, from its beginning to its end, that a pattern is tried on."""
_MEASURABLE = 0.001
"""Seconds of a trial below which nothing is concluded from it."""
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
    """The two together take longer than the chunk has left."""
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

        What a set of all of them finds in short texts is there. What it does not find is looked
        for again by the pattern itself, since a set gives up where a text takes more memory than
        it has; and there is none where the patterns together are too large for one. One pattern
        after the other goes through all texts, so that no more than one has to be in memory.
        What is not kept from an earlier chunk is compiled in the time of this one.
        """
        if not self._patterns:
            return []
        allowance = allowance or Allowance()
        found = [bytearray(len(texts)) for _ in self._patterns]
        if all(allowance.left() and size_of(pattern) for pattern in self._patterns):
            self._look_for_all(texts, found, allowance)
        for pattern, column in zip(self._patterns, found, strict=True):
            if not all(column):
                _look(pattern, texts, column, allowance)
        return found

    def _look_for_all(
        self, texts: Sequence[str], found: Sequence[bytearray], allowance: Allowance
    ) -> None:
        size = sum(map(size_of, self._patterns))
        short = [place for place, text in enumerate(texts) if size * len(text) <= IN_A_SET]
        if not (short and allowance.left()):
            return
        quick = _automata.of(self._patterns, _set)
        if quick is None:
            return
        for place in short:
            if not allowance.has_room(size * len(texts[place])):
                return
            for number in quick.Match(texts[place]) or ():
                found[number][place] = Finding.FOUND


def _look(pattern: str, texts: Sequence[str], column: bytearray, allowance: Allowance) -> None:
    """Look for a pattern where it is not found yet; it is not compiled once the time is spent."""
    search = _automata.of(pattern, _search) if allowance.left() else None
    for place, text in enumerate(texts):
        if not column[place]:
            column[place] = Finding.NO_TIME if search is None else _sought(search, text, allowance)


def _sought(search: Any, text: str, allowance: Allowance) -> Finding:
    steps = search.programsize * len(text)
    if not allowance.has_room(steps):
        return Finding.NO_TIME
    if steps > AT_ONCE:
        refused = _on_trial(search, text, allowance)
        if refused is not None:
            return refused
    return Finding.FOUND if search.search(text) is not None else Finding.ABSENT


def _on_trial(search: Any, text: str, allowance: Allowance) -> Finding | None:
    """Why a pattern is not looked for in a long text, by the time that pieces of it take.

    The size of a pattern says what it may take at most: one that repeats a class of Unicode has
    hundreds of thousands of steps, of which a character meets a few. So it is tried on longer
    and longer pieces, as it may become slow late in a text, or once there is much of it.
    """
    length = max(_ON_TRIAL // search.programsize // _PIECES, 1)
    while length * _PIECES < len(text) // 2:
        needed = _needed(search, text, length, allowance)
        left = allowance.left()
        if not left:
            return Finding.NO_TIME
        if needed > left:
            return Finding.TOO_LARGE
        length *= 4
    return None


def _needed(search: Any, text: str, length: int, allowance: Allowance) -> float:
    """The seconds for a text at the rate of its pieces; 0 where they take none to speak of.

    A second look is the better measure: in the first one, RE2 makes what it keeps of a search.
    """
    between = (len(text) - length) // (_PIECES - 1)
    pieces = [text[place * between : place * between + length] for place in range(_PIECES)]
    needed = 0.0
    for _ in range(2):
        began = thread_time()
        for piece in pieces:
            search.search(piece)
        taken = thread_time() - began
        needed = taken * len(text) / (length * _PIECES) if taken >= _MEASURABLE else 0.0
        if needed <= allowance.left():
            break
    return needed


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
