"""Caseless: words that are looked for in a text, in upper or lower case.

Both databases lower ASCII by themselves, and no more than that can be relied on: SQLite knows no
other letters, and PostgreSQL those of the locale that its database was made with. Of all others,
the query itself says what differs from them by case alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_CASED_BELOW = 0x20000
"""No script beyond has cases: ideographs."""


def contains(column: ColumnElement[str], words: str) -> ColumnElement[bool]:
    """Whether a text has the words in it, in whatever case."""
    if words.isascii():
        return column.icontains(words, autoescape=True)
    folded = "".join(map(_folded, words))
    others = {character: _others().get(character, "") for character in sorted(set(folded))}
    pattern = "".join(_as_class(character, others[character]) for character in folded)
    replaced = "".join(others.values())
    by = "".join(character * len(many) for character, many in others.items())
    return _contains(
        column, *(literal(text, Text()) for text in (f"*{pattern}*", replaced, by, folded))
    )


class _contains(FunctionElement[bool]):  # noqa: N801 - an SQL function by its look
    """Of a column: the pattern of SQLite, then what PostgreSQL replaces, by what, and looks for."""

    type = Boolean()
    inherit_cache = True


@compiles(_contains, "sqlite")
def _sqlite_contains(element: _contains, compiler: SQLCompiler, **options: Any) -> str:
    column, pattern = (compiler.process(clause, **options) for clause in [*element.clauses][:2])
    # LIKE has no classes of characters.
    return f"(lower({column}) GLOB {pattern})"


@compiles(_contains, "postgresql")
def _postgresql_contains(element: _contains, compiler: SQLCompiler, **options: Any) -> str:
    column, _, *rest = element.clauses
    text, replaced, by, folded = (compiler.process(one, **options) for one in (column, *rest))
    return f"(strpos(translate(lower({text}), {replaced}, {by}), {folded}) > 0)"


def _as_class(character: str, others: str) -> str:
    """What matches a character in each of its cases; what means something to GLOB, as it is."""
    return f"[{character}{others}]" if others or character in "*?[" else character


def _folded(character: str) -> str:
    """A character for all that differ from it by case alone; one that becomes two stays."""
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


@cache
def _others() -> Mapping[str, str]:
    """Of folded characters beyond ASCII, all others that are folded to them."""
    found: defaultdict[str, str] = defaultdict(str)
    for character in map(chr, range(_CASED_BELOW)):
        folded = _folded(character)
        if folded != character and not folded.isascii():
            found[folded] += character
    return dict(found)
