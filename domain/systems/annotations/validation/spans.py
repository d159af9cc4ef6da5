"""Layers 2 and 3: where an annotation stands, what it names, and whether its span is a good one.

Both in one pass, since each text is in memory only once and briefly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from domain.outcomes import Failed
from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.lookup import labels_of
from domain.systems.annotations.models import MAX_SELECTED
from domain.systems.annotations.rules import selection, text_not_found
from domain.systems.annotations.validation.amounts import Room, too_much_text
from domain.systems.annotations.validation.catalogue import RULES, SPAN_TOO_LONG
from domain.systems.annotations.validation.counting import counted
from domain.systems.annotations.validation.issues import Rule, plain
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.thresholds import Thresholds

Place = tuple[int, int, int]
"""The place of an item in its batch, and where its span begins and ends."""

_UNSPACED = (
    *((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1980, 0x19DF), (0x1A20, 0x1AAF)),
    *((0x2E80, 0x9FFF), (0xA980, 0xA9FF), (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0xFF66, 0xFF9F)),
    *((0x1B000, 0x1B16F), (0x20000, 0x3FFFF)),
)
"""Scripts that do not part words by spaces: Thai, Lao, Tibetan, Burmese, Khmer, Tai Lue, Tai Tham,
Javanese, Chinese, Japanese with its kana of half width."""

MAX_MARKS = 30
"""Accents of one letter, as in the stream-safe format of Unicode (UAX 15)."""


def check_labels(store: Records, batch: Batch) -> None:
    """The label of each item; layer 2."""
    labels = labels_of(store, batch.project_id, batch.items)
    batch.names = labels.names
    resolved: dict[tuple[int | None, str | None], int | Failed] = {}
    for index, item in enumerate(batch.items):
        named = item.label_id, item.label
        found = resolved.get(named)
        if found is None:
            found = resolved[named] = labels.resolve(*named)
        if isinstance(found, Failed):
            _refuse(batch, index, found)
            batch.labels.append(None)
        else:
            batch.labels.append(found)


def check_spans(store: Records, batch: Batch, quality: Quality | None) -> None:
    """The span of each item; layer 2, and with ``quality`` layer 3 as well."""
    items = batch.items
    by_text: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        by_text.setdefault(item.text_id, []).append(index)
    batch.selected = [None] * len(items)
    room = Room()
    for text_id, content in _contents(store, batch.project_id, by_text):
        indexes: Sequence[int] = by_text.pop(text_id)
        if batch.utf16:
            indexes = counted(batch, indexes, content)
        spans = _within(batch, indexes, content, room)
        if quality is not None:
            quality.check_spans(batch, content, spans)
    for text_id, left in by_text.items():
        for index in left:
            _refuse(batch, index, text_not_found(text_id, batch.project_id))


def _within(batch: Batch, indexes: Sequence[int], content: str, room: Room) -> list[Place]:
    """The spans that are within their text; what they select is noted, or what is wrong with it."""
    items, selected, length = batch.items, batch.selected, len(content)
    spans: list[Place] = []
    for index in indexes:
        item = items[index]
        start, end, given = item.start_char, item.end_char, item.selected_text
        # An item with a wrong selected_text has a span that can be looked at.
        if start < end <= length:
            spans.append((index, start, end))
            if given is None:
                if end - start <= MAX_SELECTED and room.takes(end - start):
                    selected[index] = content[start:end]
                else:
                    _refuse_long(batch, index, end - start)
                continue
            # A longer one of the store, from when there was no limit, stays as it is.
            if given == content[start:end]:
                selected[index] = given
                continue
        wrong = selection(content, start, end, given)
        if isinstance(wrong, Failed):
            _refuse(batch, index, wrong)
    return spans


def _refuse_long(batch: Batch, index: int, characters: int) -> None:
    """A new span that is too long, alone or beside the others of its chunk."""
    if characters > MAX_SELECTED:
        many = f"the span has {characters:,} characters, more than {MAX_SELECTED:,}; shorten it"
        batch.add(index, SPAN_TOO_LONG, "/end_char", many)
    else:
        _refuse(batch, index, too_much_text("/end_char"))


def _contents(
    store: Records, project_id: int, by_text: dict[int, list[int]]
) -> Iterator[tuple[int, str]]:
    for row in store.each(tables.texts, list(by_text), ["project_id", "content"]):
        if row["project_id"] == project_id:
            yield row["id"], row["content"]


def _refuse(batch: Batch, index: int, failed: Failed) -> None:
    batch.add(index, RULES[failed.code], failed.pointer, failed.message)


class Quality:
    """Layer 3 by the limits of a project."""

    def __init__(self, limits: Thresholds) -> None:
        rules = limits.rules
        self._blank = rules.get("blank_span")
        self._untrimmed = rules.get("untrimmed_span")
        self._cut = rules.get("cut_word")
        self._long = rules.get("long_span")
        self._unsure = rules.get("low_confidence")
        self._most = limits.max_span
        self._least = limits.min_confidence

    def check_spans(self, batch: Batch, content: str, spans: Sequence[Place]) -> None:
        """Spans that are within their text."""
        cut, most, length = self._cut, self._most, len(content)
        for index, start, end in spans:
            if content[start].isspace() or content[end - 1].isspace():
                self._spaced(batch, index, content, start, end)
            if cut is not None:
                # Most spans begin and end beside a blank: one look, and no call.
                if start and content[start - 1] != " " and _is_within_word(content, start):
                    where = "start_char is within a word; move it to the word's start"
                    batch.add(index, cut, "/start_char", where)
                if end < length and content[end] != " " and _is_within_word(content, end):
                    where = "end_char is within a word; move it to the word's end"
                    batch.add(index, cut, "/end_char", where)
            if end - start > most and self._long is not None:
                many = f"the span has {end - start} characters, more than {most}; shorten it"
                batch.add(index, self._long, "/end_char", many)

    def check_confidence(self, batch: Batch) -> None:
        """The confidence of each item."""
        rule, least = self._unsure, self._least
        if rule is None or not least:
            return
        for index, item in enumerate(batch.items):
            sure = item.confidence_score
            if sure is not None and sure < least:
                little = f"confidence_score {plain(sure)} is below {plain(least)}; look at it again"
                batch.add(index, rule, "/confidence_score", little)

    def _spaced(self, batch: Batch, index: int, content: str, start: int, end: int) -> None:
        found = content[start:end]
        if not found.strip():
            self._say(batch, index, self._blank, "/start_char", "the span is white space alone")
            return
        if found[0].isspace():
            self._say(batch, index, self._untrimmed, "/start_char", "white space begins the span")
        if found[-1].isspace():
            self._say(batch, index, self._untrimmed, "/end_char", "white space ends the span")

    @staticmethod
    def _say(batch: Batch, index: int, rule: Rule | None, pointer: str, what: str) -> None:
        if rule is not None:
            batch.add(index, rule, pointer, f"{what}; move the offsets to what is meant")


def _is_within_word(content: str, place: int) -> bool:
    """Whether a boundary there would cut a word, or a letter from its accents."""
    right = content[place]
    if right.isalnum():
        letter = _letter_before(content, place)
        return letter != "" and not (_is_unspaced(letter) or _is_unspaced(right))
    return _is_mark(right) and _letter_before(content, place) != ""


def _letter_before(content: str, place: int) -> str:
    """The letter or digit that ends there, with its accents if it has some; else nothing."""
    for at in range(place - 1, max(place - 2 - MAX_MARKS, -1), -1):
        character = content[at]
        if character.isalnum():
            return character
        if not _is_mark(character):
            break
    return ""


def _is_mark(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] == "M"


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return code > 0x0DFF and any(first <= code <= last for first, last in _UNSPACED)
