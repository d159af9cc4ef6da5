"""How the columns of a CoNLL file are arranged, and what its lines are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import dropwhile, islice

from domain.systems.annotations.formats.conll_tags import TAG, Scheme, scheme_named, scheme_of
from domain.systems.annotations.formats.contract import FileRefused, ReadOptions

DOCSTART = "-DOCSTART-"
_BLANKS = re.compile(r"[ \t]+")
_NO_NAME = {"-X-", "X", "O", "-", "_", "-Y-"}
_BEGIN = re.compile(r"#begin document \((.*?)\)(?:; part (\d+))?")
_NEW = re.compile(r"#\s*(?:newdoc(?:\s+id)?|doc_id|document_id)\b\s*[=:]?\s*(.*)")
_NAMED = re.compile(r"#\s*(?:sent_id|id)\b\s*[=:]?\s*(.*)")

_TELLING = 5_000
"""Lines from the first that has an entity on."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where token and tag stand, and whether the file says where documents begin."""

    separator: str | None
    width: int
    token: int
    tag: int
    scheme: Scheme
    documents: bool
    tagged: bool
    """Whether its scheme was said, or is told by a tag that is more than O."""

    def fields(self, line: str) -> list[str]:
        """The columns of a line."""
        return _fields(line, self.separator)

    def begins(self, line: str) -> bool:
        """Whether a document begins with this line."""
        return line.startswith(DOCSTART) or (_begins(line) and self.is_comment(line))

    def is_comment(self, line: str) -> bool:
        """A line that begins with ``#`` and is not the token ``#``, or one like it."""
        if not line.startswith("#"):
            return False
        fields = self.fields(line)
        return len(fields) != self.width or not TAG.fullmatch(fields[self.tag])

    def has_entity(self, line: str) -> bool:
        """Whether the token of this line is in an entity."""
        fields = self.fields(line)
        return len(fields) == self.width and _is_of_entity(fields[self.tag])


def layout_of(head: str, options: ReadOptions) -> Layout:
    """The layout by the first lines; what is explicit wins."""
    lines = re.split(r"\r\n|\r|\n", head)
    if len(lines) > 1 and len(head) > 1000:
        # The last one may be cut off.
        lines.pop()
    explicit = options.dialect or {}
    bare = [line for line in map(_bare, lines) if line and not line.startswith(("#", DOCSTART))]
    if not bare:
        bare = [line for line in map(_bare, lines) if line.startswith("#")]
    separator = _separator(bare, explicit)
    rows = [_fields(line, separator) for line in bare]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    rows = [row for row in rows if len(row) == width]
    token, tag = _column(explicit, "token", width), _column(explicit, "tag", width)
    if tag is None:
        tag = _tag_column(rows, width)
    if tag is None or width < 2:
        raise FileRefused(
            "no column has tags such as O and B-PER; choose its format, or put them last in a line"
        )
    token = (0 if tag else 1) if token is None else token
    said = scheme_named(options.scheme)
    scheme = said or scheme_of(_sentences(lines, separator, width, tag))
    layout = Layout(separator, width, token, tag, scheme, documents=False, tagged=False)
    tagged = said is not None or any(map(layout.has_entity, lines))
    return replace(layout, documents=any(map(layout.begins, lines)), tagged=tagged)


def with_scheme(layout: Layout, lines: Iterable[str]) -> Layout:
    """The layout with the scheme of a file whose first lines have no entity to tell it by."""
    first = dropwhile(lambda line: not layout.has_entity(line), lines)
    found = _sentences(islice(first, _TELLING), layout.separator, layout.width, layout.tag)
    return replace(layout, scheme=scheme_of(found), tagged=True)


def document_name(line: str) -> str | None:
    """The name that the first line of a document gives it."""
    if line.startswith(DOCSTART):
        fields = [field for field in _BLANKS.split(line)[1:] if field and field not in _NO_NAME]
        return " ".join(fields).strip("()") or None
    begin = _BEGIN.match(line)
    if begin is not None:
        return f"{begin[1]}/{begin[2]}" if begin[2] else begin[1]
    new = _NEW.match(line)
    return new[1].strip() or None if new is not None else None


def sentence_name(line: str) -> str | None:
    """The name that a comment gives a sentence."""
    named = _NAMED.match(line)
    return named[1].strip() or None if named is not None else None


def _begins(line: str) -> bool:
    return line.startswith("#begin document") or _NEW.match(line) is not None


def _bare(line: str) -> str:
    return line.strip(" \t")


def _fields(line: str, separator: str | None) -> list[str]:
    return line.split(separator) if separator else _BLANKS.split(line.strip(" \t"))


def _separator(bare: list[str], explicit: Mapping[str, str]) -> str | None:
    given = explicit.get("separator")
    if given is not None:
        return None if given.isspace() and given != "\t" else given
    return "\t" if sum("\t" in line for line in bare) * 10 >= len(bare) * 9 else None


def _column(explicit: Mapping[str, str], name: str, width: int) -> int | None:
    given = explicit.get(name)
    if given is None:
        return None
    if not given.isdecimal() or not 1 <= int(given) <= width:
        raise FileRefused(f"dialect: {name} is column {given!r}; give a number from 1 to {width}")
    return int(given) - 1


def _tag_column(rows: list[list[str]], width: int) -> int | None:
    """The last column of which most are tags: chunks stand before entities."""
    for column in reversed(range(width)):
        if sum(TAG.fullmatch(row[column]) is not None for row in rows) * 2 > len(rows):
            return column
    return None


def _is_of_entity(tag: str) -> bool:
    return tag != "O" and TAG.fullmatch(tag) is not None


def _sentences(
    lines: Iterable[str], separator: str | None, width: int, tag: int
) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        fields = _fields(line, separator)
        if not line.strip(" \t"):
            found.append([])
        elif len(fields) == width and TAG.fullmatch(fields[tag]):
            found[-1].append(fields[tag])
    return found
