"""What a document must be like, whatever file it comes from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from domain.systems.annotations.formats.documents import Span, TextDocument

_MOST = sys.float_info.max
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")


class Unfit(ValueError):
    """A piece of a file cannot be taken; the message says why, and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def fit(document: TextDocument) -> TextDocument:
    """The document itself; raises Unfit where it is none that can be stored."""
    if not document.content:
        raise Unfit("no_content", "the document has no content; give it a text")
    for what, text in (("content", document.content), ("key", document.key or "")):
        if _NO_TEXT.search(text):
            raise Unfit(
                "not_text",
                f"the {what} has bytes or characters that are no text; "
                "correct them, or say which encoding the file has",
            )
    for label in document.labels:
        _fit_label(label, "labels")
    fit_metadata(document.metadata, "metadata")
    for number, span in enumerate(document.spans, start=1):
        _fit_span(span, number, len(document.content))
        fit_metadata(span.metadata, f"annotation {number}: metadata")
    return document


def fit_metadata(metadata: Mapping[str, Any], where: str) -> None:
    """Raise Unfit for half a character here, where it is known what stood in the file."""
    if metadata and _HALF.search(json.dumps(metadata, ensure_ascii=False)):
        raise Unfit(
            "not_text",
            f"{where}: half a character (a lone surrogate) or bytes that are no text; "
            "correct its escapes, or say which encoding the file has",
        )


def _fit_span(span: Span, number: int, length: int) -> None:
    if not 0 <= span.start < span.end:
        raise Unfit(
            "span_out_of_range",
            f"annotation {number}: start {span.start} must be at least 0 and less than "
            f"end {span.end}; correct them",
        )
    if span.end > length:
        raise Unfit(
            "span_out_of_range",
            f"annotation {number}: end {span.end} is beyond the text's {length} characters; "
            "correct it, or, where offsets count otherwise, count them in code points",
        )
    _fit_label(span.label, f"annotation {number}")
    if span.confidence is not None and not 0 <= span.confidence <= 1:
        raise Unfit(
            "confidence_out_of_range",
            f"annotation {number}: confidence {span.confidence} is not from 0 to 1; correct it",
        )


def _fit_label(label: str, where: str) -> None:
    if not label.strip() or _NO_TEXT.search(label):
        raise Unfit("no_label", f"{where}: the label is empty or no text; name one")


def whole(value: Any, where: str) -> int:
    """A whole number, as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,15}\s*", value, re.ASCII):
        return int(value)
    raise Unfit("not_a_number", f"{where} is {shown(value)}; give a whole number")


def score(value: Any, where: str) -> float | None:
    """A confidence, as a number or as its digits; empty is none."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= 40:
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST:
        return float(value)
    raise Unfit("not_a_number", f"{where} is {shown(value)}; give a number from 0 to 1")


def is_text(value: str) -> bool:
    """Whether it can be stored: it has no half of a character, and no zero."""
    return _NO_TEXT.search(value) is None


def words(value: Any, where: str) -> str:
    """A text; a number is taken as its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Unfit("not_text", f"{where} is {shown(value)}; give a text")


def shown(value: Any, limit: int = 40) -> str:
    """A value as a message shows it, cut short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """A text that can be sent: what is half a character, or no text, as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
