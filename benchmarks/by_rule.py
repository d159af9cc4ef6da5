"""The same rules as functions: each asks for what it needs, as rules of an engine of rules do.

What ``python -m benchmarks.validating rules`` runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.validating import (
    MAX_SPAN,
    MIN_CONFIDENCE,
    MOST,
    OWN,
    PATTERN,
    Issue,
    Known,
    issue,
)
from domain.systems.annotations.models import NewAnnotation

Rule = Callable[[Known, NewAnnotation], Iterator[Issue]]


def _span(known: Known, item: NewAnnotation) -> tuple[str, str] | None:
    """The text, and what of it is selected, if there is such a span."""
    content = known.text(item.text_id)
    if content is None or not item.start_char < item.end_char <= len(content):
        return None
    return content, content[item.start_char : item.end_char]


def _text_not_found(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if known.text(item.text_id) is None:
        said = f"there is no text {item.text_id}; create it"
        yield issue("text_not_found", "error", "/text_id", said)


def _label_not_found(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if not known.label(item.label_id):
        said = f"there is no label {item.label_id}"
        yield issue("label_not_found", "error", "/label_id", said)


def _span_out_of_range(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    start, end, content = item.start_char, item.end_char, known.text(item.text_id)
    if content is not None and not start < end <= len(content):
        said = f"{start}..{end} is no span; correct it"
        yield issue("span_out_of_range", "error", "/end_char", said)


def _text_mismatch(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    found = _span(known, item)
    if found is not None and item.selected_text not in (None, found[1]):
        said = f"the text has {found[1]!r}; correct it"
        yield issue("text_mismatch", "error", "/selected_text", said)


def _blank_span(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    found = _span(known, item)
    if found is not None and not found[1].strip():
        yield issue("blank_span", "warning", "/start_char", "the span is white space; move it")


def _untrimmed_span(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    found = _span(known, item)
    if found is not None and found[1].strip() not in ("", found[1]):
        yield issue("untrimmed_span", "warning", "/start_char", "white space at an end; move it")


def _cut_word(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    found = _span(known, item)
    if found is None:
        return
    (content, words), start, end = found, item.start_char, item.end_char
    if start and words[0].isalnum() and content[start - 1].isalnum():
        yield issue("cut_word", "warning", "/start_char", "it is within a word; move it")
    if end < len(content) and words[-1].isalnum() and content[end].isalnum():
        yield issue("cut_word", "warning", "/end_char", "it is within a word; move it")


def _long_span(_known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if item.end_char - item.start_char > MAX_SPAN:
        yield issue("long_span", "warning", "/end_char", f"more than {MAX_SPAN}; shorten it")


def _low_confidence(_known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if item.confidence_score is not None and item.confidence_score < MIN_CONFIDENCE:
        said = f"below {MIN_CONFIDENCE}; look again"
        yield issue("low_confidence", "warning", "/confidence_score", said)


def _duplicate(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if known.has_same(item):
        yield issue("duplicate", "warning", "/start_char", "it is there already; leave it out")


def _labels_differ(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    words = item.selected_text
    if words is not None and known.has_other_label(words, item.label_id):
        yield issue("labels_differ", "info", "/label_id", "others have another label; make sure")


def _own_0(known: Known, item: NewAnnotation) -> Iterator[Issue]:
    found = _span(known, item)
    if found is not None and not OWN.search(found[1]):
        yield issue("own_0", "error", "/selected_text", f"does not match {PATTERN}; correct it")


def _own_1(_known: Known, item: NewAnnotation) -> Iterator[Issue]:
    if item.end_char - item.start_char > MOST:
        yield issue("own_1", "error", "/end_char", f"longer than {MOST}; shorten it")


RULES: tuple[Rule, ...] = (
    *(_text_not_found, _label_not_found, _span_out_of_range, _text_mismatch),
    *(_blank_span, _untrimmed_span, _cut_word, _long_span, _low_confidence),
    *(_duplicate, _labels_differ, _own_0, _own_1),
)


def examined(known: Known, item: NewAnnotation) -> tuple[str | None, list[Issue]]:
    """The text of the span, and what each rule says of an item."""
    issues = [said for rule in RULES for said in rule(known, item)]
    return item.selected_text, issues
