"""CoNLL: one token a line with its tag, sentences set apart by blank lines.

A document is read as its tokens joined by blanks, its sentences by line ends. Where no line
says that a document begins, each sentence is one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from domain.systems.annotations.formats.conll_layout import (
    DOCSTART,
    Layout,
    document_name,
    layout_of,
    sentence_name,
    with_scheme,
)
from domain.systems.annotations.formats.conll_tags import (
    TAG,
    Faulty,
    Scheme,
    entities,
    scheme_named,
    tags_of,
)
from domain.systems.annotations.formats.contract import (
    FileRefused,
    Format,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Document,
    Loss,
    Rejected,
    Span,
    TextDocument,
)
from domain.systems.annotations.formats.encoding import Encoding, encoding_of, head_text, lines
from domain.systems.annotations.formats.losses import differences
from domain.systems.annotations.formats.records import text_of
from domain.systems.annotations.formats.rejecting import rejection
from domain.systems.annotations.formats.validity import Unfit, fit, shown

Sentence = list[tuple[str, str]]
"""Tokens with their tags."""

_MAX_LINES = 250_000
"""Lines of one document: a token in memory is far larger than the line it stood in."""

_TOKEN = re.compile(r"\S+")
_BLANK = re.compile(r"\s+")


@dataclass(slots=True)
class _Held:
    """What has been read of a document."""

    key: str | None = None
    line: int = 0
    raw: list[str] = field(default_factory=list)
    length: int = 0
    sentences: list[list[tuple[int, str, str]]] = field(default_factory=lambda: [[]])
    fault: tuple[int, Unfit] | None = None

    def blame(self, line: int, fault: Unfit) -> None:
        """Remember the first fault."""
        if self.fault is None:
            self.fault = line, fault


class _Reading:
    """Takes the lines of a file one by one and gives documents as they are complete."""

    def __init__(self, layout: Layout, encoding: Encoding, limit: int) -> None:
        self._layout = layout
        self._encoding = encoding
        self._limit = limit
        self._held = _Held()

    def take(self, number: int, line: str | None) -> Iterator[Document | Rejected]:
        """What is complete now that this line has come."""
        bare = "" if line is None else line.strip("\r\n")
        if line is None:
            self._held.blame(number, Unfit("too_long", f"a line over {self._limit:,} bytes"))
        elif self._layout.begins(bare):
            yield from self.end()
            self._held.key = document_name(bare)
            self._keep(number, line)
            return
        elif not bare.strip(" \t"):
            yield from self._blank(number)
            return
        self._keep(number, line)
        if line is not None:
            self._token(number, bare)

    def _blank(self, number: int) -> Iterator[Document | Rejected]:
        """The end of a sentence, and maybe of a document."""
        if not self._layout.documents:
            yield from self.end()
        elif self._held.sentences[-1]:
            self._held.sentences.append([])
            self._keep(number, "\n")
        elif len(self._held.raw) == 1:
            self._keep(number, "\n")

    def end(self) -> Iterator[Document | Rejected]:
        """The document whose lines have come; none is held afterwards."""
        held, self._held = self._held, _Held()
        if not any(held.sentences) and held.fault is None:
            return
        try:
            document = fit(self._document(held))
        except Exception as error:
            line = held.fault[0] if held.fault is not None else held.line
            too_long = isinstance(error, Unfit) and error.code == "too_long"
            raw = "" if too_long else "".join(held.raw)
            yield rejection(line, error, self._encoding.raw(raw))
        else:
            yield document

    def _keep(self, number: int, line: str | None) -> None:
        held = self._held
        held.line = held.line or number
        held.length += len(line or "")
        if held.length > self._limit or len(held.raw) >= _MAX_LINES:
            held.length = self._limit
            held.raw.clear()
            held.sentences = [[]]
            # Whatever else was found: what is not held cannot be corrected.
            limit = f"{self._limit:,}"
            held.fault = held.line, Unfit("too_long", f"a document over {limit} bytes; split it")
        elif line is not None:
            held.raw.append(line if line.endswith(("\r", "\n")) else f"{line}\n")

    def _token(self, number: int, bare: str) -> None:
        layout, held = self._layout, self._held
        if layout.is_comment(bare):
            if not layout.documents:
                held.key = sentence_name(bare) or held.key
            return
        if held.fault is not None:
            return
        fields = layout.fields(bare)
        if len(fields) != layout.width:
            why = f"{len(fields)} columns where the file has {layout.width}; correct the line"
            held.blame(number, Unfit("wrong_width", why))
            return
        token, tag = fields[layout.token], fields[layout.tag]
        if not token.strip():
            held.blame(number, Unfit("no_content", "a tag without a token; give it one"))
        elif not TAG.fullmatch(tag):
            why = f"{shown(tag)} is no tag; give O, or one like B-PER"
            held.blame(number, Unfit("bad_tag", why))
        else:
            held.sentences[-1].append((number, token, tag))

    def _document(self, held: _Held) -> TextDocument:
        if held.fault is not None:
            raise held.fault[1]
        sentences = [sentence for sentence in held.sentences if sentence]
        for sentence in sentences:
            try:
                entities([tag for _, _, tag in sentence], self._layout.scheme)
            except Faulty as faulty:
                unfit = Unfit(
                    "bad_sequence",
                    f"{faulty.why}; correct the tag, or say which scheme the file has",
                )
                held.blame(sentence[faulty.at][0], unfit)
                raise unfit from None
        bare = [[(token, tag) for _, token, tag in sentence] for sentence in sentences]
        return _joined(bare, self._layout.scheme, held.key)


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and those of which a line is at fault."""
    encoding = encoding_of(stream, options.encoding)
    layout = layout_of(encoding.beginning_of(stream), options)
    if not layout.tagged:
        found = lines(stream, encoding, options.bounds.line)
        layout = with_scheme(layout, ((line or "").strip("\r\n") for _, line in found))
    reading = _Reading(layout, encoding, options.bounds.line)
    for number, line in lines(stream, encoding, options.bounds.line):
        yield from reading.take(number, line)
    yield from reading.end()


def write(documents: Iterable[Document], options: WriteOptions) -> Iterator[bytes]:
    """Four columns, as in the files of 2003: token, two that are empty, tag."""
    scheme = scheme_named(options.scheme) or Scheme.BIO
    for document in documents:
        sentences = _parted(text_of(document), scheme)
        if not sentences:
            continue
        out = [f"{DOCSTART} -X- O O\n\n"]
        for sentence in sentences:
            out += [f"{token} -X- _ {tag}\n" for token, tag in sentence]
            out.append("\n")
        yield "".join(out).encode()


def rejects(
    rejected: Iterable[Rejected], source: BinaryIO, options: ReadOptions
) -> Iterator[bytes]:
    """The documents that were rejected, in the encoding of the file."""
    encoding = encoding_of(source, options.encoding)
    yield encoding.beginning
    for piece in rejected:
        if piece.raw:
            yield piece.raw + encoding.raw("\n")


def losses(document: Document, options: WriteOptions) -> Iterable[Loss]:
    """What is more than tokens with one label each."""
    scheme = scheme_named(options.scheme) or Scheme.BIO
    document = text_of(document)
    sentences = _parted(document, scheme)
    return differences(document, _joined(sentences, scheme, None) if sentences else None)


def likeness(head: bytes, name: str) -> float:
    """Lines of one width of which one column has tags."""
    text = head_text(head)
    if not text or text.lstrip()[:1] in ("{", "[", "<"):
        return 0.0
    try:
        layout = layout_of(text, ReadOptions())
    except FileRefused:
        return 0.0
    suffix = 0.1 if name.lower().endswith((".conll", ".bio", ".iob", ".conllu")) else 0.0
    return (0.85 if layout.documents else 0.8) + suffix


def _joined(sentences: Sequence[Sentence], scheme: Scheme, key: str | None) -> TextDocument:
    """The document that sentences make."""
    spans: list[Span] = []
    rows: list[str] = []
    length = 0
    for sentence in sentences:
        starts: list[int] = []
        for token, _ in sentence:
            starts.append(length)
            length += len(token) + 1
        for first, after, label in entities([tag for _, tag in sentence], scheme):
            end = starts[after - 1] + len(sentence[after - 1][0])
            spans.append(Span(starts[first], end, label))
        rows.append(" ".join(token for token, _ in sentence))
    return TextDocument("\n".join(rows), tuple(spans), key)


def _parted(document: TextDocument, scheme: Scheme) -> list[Sentence]:
    """The sentences of a document: its lines, cut into tokens at blanks and around spans."""
    spans = _apart(document)
    cuts = {at for span in spans for at in (span.start, span.end)}
    sentences: list[Sentence] = []
    left = deque(spans)
    for start, end in _line_places(document.content, spans):
        places = list(_token_places(document.content, start, end, cuts))
        starts = [place[0] for place in places]
        marked = []
        while left and left[0].start < end:
            span = left.popleft()
            first, after = bisect_left(starts, span.start), bisect_left(starts, span.end)
            if first < after:
                marked.append((first, after, _BLANK.sub("_", span.label.strip())))
        tags = tags_of(len(places), marked, scheme)
        tokens = (_token_text(document.content[s:e]) for s, e in places)
        if places:
            sentences.append(list(zip(tokens, tags, strict=True)))
    return sentences


def _apart(document: TextDocument) -> list[Span]:
    """Spans of which no two overlap: of those that do, the first, and the longest of these."""
    found: list[Span] = []
    for span in sorted(document.spans, key=lambda span: (span.start, -span.end)):
        if not found or span.start >= found[-1].end:
            found.append(span)
    return found


def _line_places(content: str, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The lines of a text; a line end within a span ends none."""
    start = 0
    following = iter(spans)
    span = next(following, None)
    for end in re.finditer("\n", content):
        while span is not None and span.end <= end.start():
            span = next(following, None)
        if span is None or not span.start <= end.start() < span.end:
            yield start, end.start()
            start = end.end()
    yield start, len(content)


def _token_places(content: str, start: int, end: int, cuts: set[int]) -> Iterator[tuple[int, int]]:
    for word in _TOKEN.finditer(content, start, end):
        begin = word.start()
        for at in range(word.start() + 1, word.end() + 1):
            if at in cuts or at == word.end():
                yield begin, at
                begin = at


def _token_text(token: str) -> str:
    """A token that is not mistaken for the beginning of a document."""
    return token.strip("-") if token.startswith(DOCSTART) else token


FORMAT = Format(
    name="conll",
    title="CoNLL (IOB1, BIO, BIOES)",
    subject=Subject.TEXT,
    media_type="text/plain",
    suffix=".conll",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
)
