"""Demo texts: what the demo annotates, and what it finds in it. Pure but for reading files."""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from domain.errors import InvalidCommand

Item = dict[str, Any]

WRONG_SHARE = 200
"""One in so many items is wrong on purpose."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A word of Python in a text; offsets count code points, ``end`` not included."""

    text: str
    label: str
    start: int
    end: int
    word: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """An item that must fail, and the reason for which it must."""

    item: Item
    reason: str


def python_topics() -> dict[str, str]:
    """The topics of Python's own help, by name; every Python ships them."""
    from pydoc_data.topics import topics

    return dict(topics)


def read_texts(files: Sequence[Path]) -> dict[str, str]:
    """Texts by name: a file each, or all members of a JSON object ``{name: text}``.

    Raises InvalidCommand for a file that is neither.
    """
    texts: dict[str, str] = {}
    for file in files:
        try:
            content = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidCommand(f"cannot read {file} as UTF-8 text ({error})") from None
        texts |= _members(file, content) if file.suffix == ".json" else {file.name: content}
    return {name: content for name, content in texts.items() if content.strip()}


def _members(file: Path, content: str) -> dict[str, str]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise InvalidCommand(f"{file} is no JSON ({error})") from None
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise InvalidCommand(f'{file} must hold one object of texts: {{"name": "text", ...}}')
    return document


def find_mentions(texts: Mapping[str, str]) -> list[Mention]:
    """Every keyword and built-in of Python that stands in the texts as a word."""
    words = {word: _label(word) for word in _vocabulary()}
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(words, key=len, reverse=True))})\b")
    return [
        Mention(name, words[found[0]], found.start(), found.end(), found[0])
        for name, content in texts.items()
        for found in pattern.finditer(content)
    ]


def _vocabulary() -> set[str]:
    return {*keyword.kwlist, *(name for name in dir(builtins) if name[0] != "_")}


def _label(word: str) -> str:
    if keyword.iskeyword(word):
        return "keyword"
    meaning = getattr(builtins, word)
    if isinstance(meaning, type):
        return "exception" if issubclass(meaning, BaseException) else "type"
    return "function" if callable(meaning) else "constant"


def middle_label(mentions: Sequence[Mention]) -> str:
    """The label that is neither frequent nor rare: the one to be forgotten at first."""
    ranked = [label for label, _ in Counter(mention.label for mention in mentions).most_common()]
    return ranked[len(ranked) // 2]


def first_of_each(mentions: Sequence[Mention]) -> list[Mention]:
    """The first mention in each text that has at least two."""
    counted = Counter(mention.text for mention in mentions)
    firsts = {mention.text: mention for mention in reversed(mentions)}
    return [mention for name, mention in firsts.items() if counted[name] > 1]


def item_of(mention: Mention, text_ids: Mapping[str, int]) -> Item:
    """The mention as an item of ``annotations.create``."""
    return {
        "text_id": text_ids[mention.text],
        "label": mention.label,
        "start_char": mention.start,
        "end_char": mention.end,
        "selected_text": mention.word,
    }


def mistakes(
    mentions: Sequence[Mention],
    texts: Mapping[str, str],
    text_ids: Mapping[str, int],
    chance: Random,
) -> list[Mistake]:
    """Items made wrong in one of two ways: beyond the end of the text, or of another wording."""
    count = max(2, len(mentions) // WRONG_SHARE)
    drawn = [chance.choice(mentions) for _ in range(count)]
    return [
        _misplaced(mention, texts, text_ids) if number % 2 else _misquoted(mention, text_ids)
        for number, mention in enumerate(drawn)
    ]


def _misplaced(mention: Mention, texts: Mapping[str, str], text_ids: Mapping[str, int]) -> Mistake:
    beyond = len(texts[mention.text])
    moved = {"start_char": mention.start + beyond, "end_char": mention.end + beyond}
    return Mistake({**item_of(mention, text_ids), **moved}, "span")


def _misquoted(mention: Mention, text_ids: Mapping[str, int]) -> Mistake:
    return Mistake({**item_of(mention, text_ids), "selected_text": mention.word + "?"}, "wording")


def mixed(
    right: Sequence[Item], wrong: Sequence[Mistake], chance: Random
) -> tuple[list[Item], dict[int, Mistake]]:
    """All items with the wrong ones spread among them, and the positions of those."""
    total = len(right) + len(wrong)
    places = dict(zip(sorted(chance.sample(range(total), len(wrong))), wrong, strict=True))
    rest: Iterator[Item] = iter(right)
    items = [places[place].item if place in places else next(rest) for place in range(total)]
    return items, places
