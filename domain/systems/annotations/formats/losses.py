"""What becomes of a document in a format that cannot hold all of it.

A format says which document its reader would give; what differs is what it drops. So the
report and the files cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from domain.systems.annotations.formats.documents import Loss, Span, TextDocument

MESSAGES = {
    "document": "the text is left out: the format has no place for it",
    "content": "the text comes back with other blanks, line ends or characters",
    "key": "the name of the text is dropped",
    "document_labels": "the labels of the whole text are dropped or changed",
    "document_metadata": "the metadata of the text are dropped",
    "span": "an annotation is dropped: it overlaps another, or covers nothing but blanks",
    "span_offsets": "an annotation begins or ends elsewhere",
    "span_label": "the label of an annotation is written otherwise",
    "span_confidence": "the confidence of an annotation is dropped",
    "span_metadata": "the metadata of an annotation are dropped",
}


def differences(before: TextDocument, after: TextDocument | None) -> Iterator[Loss]:
    """What a document loses by becoming another; ``None`` stands for no document."""
    if after is None:
        yield _loss("document")
        return
    if before.content != after.content:
        yield _loss("content")
    if before.key != after.key:
        yield _loss("key")
    if before.labels != after.labels:
        yield _loss("document_labels")
    if before.metadata != after.metadata:
        yield _loss("document_metadata")
    yield from map(_loss, _span_codes(before.spans, after.spans))


def _span_codes(before: tuple[Span, ...], after: tuple[Span, ...]) -> Iterator[str]:
    if len(before) != len(after):
        yield "span"
    for code, values in (
        ("span_offsets", lambda span: (span.start, span.end)),
        ("span_label", lambda span: span.label),
        ("span_confidence", lambda span: span.confidence),
        ("span_metadata", lambda span: repr(span.metadata)),
    ):
        if Counter(map(values, after)) - Counter(map(values, before)) or (
            len(before) == len(after)
            and Counter(map(values, after)) != Counter(map(values, before))
        ):
            yield code


def _loss(code: str) -> Loss:
    return Loss(code, MESSAGES[code])
