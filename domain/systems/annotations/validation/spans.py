"""Layers 2 and 3: where an annotation stands, what it names, and whether its span is a good one.

Both in one pass, since each text is in memory only once and briefly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from domain.outcomes import Failed
from domain.records import Records
from domain.systems.annotations import tables
from domain.systems.annotations.lookup import labels_of
from domain.systems.annotations.rules import selection, text_not_found
from domain.systems.annotations.validation.catalogue import RULES
from domain.systems.annotations.validation.counting import counted
from domain.systems.annotations.validation.issues import Rule
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.thresholds import Thresholds

_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)),
    *((0x2E80, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
)
"""Scripts that do not part words by spaces: Thai, Lao, Burmese, Khmer, Chinese, Japanese."""


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
    selected: list[str | None] = [None] * len(items)
    for text_id, content in _contents(store, batch.project_id, by_text):
        if batch.utf16:
            by_text[text_id] = counted(batch, by_text[text_id], content)
        for index in by_text[text_id]:
            item = items[index]
            start, end = item.start_char, item.end_char
            found = selection(content, start, end, item.selected_text)
            if isinstance(found, str):
                selected[index] = found
            else:
                _refuse(batch, index, found)
                # An item with a wrong selected_text has a span that can be looked at.
                if not start < end <= len(content):
                    continue
            if quality is not None:
                quality.check_span(batch, index, content, start, end)
        del by_text[text_id]
    for text_id, indexes in by_text.items():
        for index in indexes:
            _refuse(batch, index, text_not_found(text_id, batch.project_id))
    batch.selected = selected


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

    def check_span(self, batch: Batch, index: int, content: str, start: int, end: int) -> None:
        """A span that is within its text."""
        first, last = content[start], content[end - 1]
        if first.isspace() or last.isspace():
            self._spaced(batch, index, content, start, end)
        cut = self._cut
        if cut is not None:
            # Most spans begin and end beside a blank: one look, and no call.
            if start and content[start - 1].isalnum() and _begins_within(content, start):
                where = "start_char is within a word; move it to the word's start"
                batch.add(index, cut, "/start_char", where)
            if end < len(content) and content[end] != " " and _is_one_word(last, content[end]):
                where = "end_char is within a word; move it to the word's end"
                batch.add(index, cut, "/end_char", where)
        if end - start > self._most and self._long is not None:
            many = f"the span has {end - start} characters, more than {self._most}; shorten it"
            batch.add(index, self._long, "/end_char", many)

    def check_confidence(self, batch: Batch) -> None:
        """The confidence of each item."""
        rule, least = self._unsure, self._least
        if rule is None or not least:
            return
        for index, item in enumerate(batch.items):
            sure = item.confidence_score
            if sure is not None and sure < least:
                little = f"confidence_score {sure:g} is below {least:g}; look at it again"
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


def _begins_within(content: str, start: int) -> bool:
    return content[start].isalnum() and _is_one_word(content[start - 1], content[start])


def _is_one_word(left: str, right: str) -> bool:
    """Whether a boundary between two characters would cut a word, or a character with its marks."""
    if not left.isalnum():
        return False
    if right.isascii():
        return right.isalnum() and not _is_unspaced(left)
    if right.isalnum():
        return not (_is_unspaced(left) or _is_unspaced(right))
    return unicodedata.category(right)[0] == "M"


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return code > 0x0DFF and any(first <= code <= last for first, last in _UNSPACED)
