"""A corpus as JSON lines, of any size, and all that must be there once it has been imported.

One line in a hundred is broken, in one of eight ways in turn; ``mended`` is the program that
somebody would write to correct them. Sums do not depend on the order in which texts came in.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

BROKEN_EVERY: Final = 100
LABELS: Final = tuple(f"KIND {number}" for number in range(10))
_WORDS: Final = 100
_BEYOND: Final = 1_000_000
"""What is added to the end of a span that is to lie outside of its text."""

Document = dict[str, Any]


@dataclass
class Total:
    """How many rows there are, and the sum of their digests: equal only for the same rows."""

    rows: int = 0
    digests: int = 0

    def add(self, *row: Any) -> None:
        """One more row."""
        said = json.dumps(row, ensure_ascii=False, sort_keys=True).encode()
        self.rows += 1
        self.digests = (self.digests + int.from_bytes(hashlib.sha256(said).digest())) % 2**256


@dataclass
class Contents:
    """Texts by key, content and metadata, and annotations with the key of their text."""

    texts: Total
    annotations: Total

    @classmethod
    def none(cls) -> Contents:
        """Nothing yet."""
        return cls(Total(), Total())

    def add(self, document: Document) -> None:
        """A text of the corpus with its annotations."""
        key, content = document["key"], document["content"]
        self.texts.add(key, content, document["metadata"])
        for span in document["annotations"]:
            start, end = span["start_char"], span["end_char"]
            place = (start, end, content[start:end])
            self.annotations.add(key, *place, span["label"], span["confidence_score"])


@dataclass(frozen=True)
class Corpus:
    """What was written: its lines, how many of them are broken, and what the others hold."""

    lines: int
    broken: int
    good: Contents
    whole: Contents


def written(file: BinaryIO, size: int, seed: int) -> Corpus:
    """Write lines until the file has ``size`` bytes."""
    good, whole = Contents.none(), Contents.none()
    broken = number = 0
    for number, document in enumerate(_documents(seed), start=1):
        whole.add(document)
        if number % BROKEN_EVERY == BROKEN_EVERY // 2:
            line = BREAKS[broken % len(BREAKS)](document)
            broken += 1
        else:
            good.add(document)
            line = _line(document)
        file.write(line + b"\n")
        if file.tell() >= size:
            break
    return Corpus(number, broken, good, whole)


def stored(database: Path, project: int) -> Contents:
    """All texts and annotations of a project of a SQLite database, past the engine."""
    found = Contents.none()
    own = "json_extract(texts.metadata, '$._file.key')"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows: Iterable[tuple[Any, ...]] = connection.execute(
            f"SELECT {own}, content, json_remove(metadata, '$._file') FROM texts"
            " WHERE project_id = ? AND " + own + " IS NOT NULL",
            (project,),
        )
        for key, content, metadata in rows:
            found.texts.add(key, content, json.loads(metadata))
        rows = connection.execute(
            f"SELECT {own}, start_char, end_char, selected_text, labels.name, confidence_score"
            " FROM annotations JOIN texts ON texts.id = annotations.text_id"
            " JOIN labels ON labels.id = annotations.label_id WHERE annotations.project_id = ?",
            (project,),
        )
        for row in rows:
            found.annotations.add(*row)
    connection.close()
    return found


def mended(line: bytes) -> bytes:
    """A line that was rejected, as it should have been."""
    text = line.replace(b"\xe9", "é".encode()).decode()
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = json.loads(text + "}")
    if isinstance(document["content"], list):
        document["content"] = " ".join(document["content"])
    if isinstance(document["annotations"], dict):
        document["annotations"] = list(document["annotations"].values())
    for span in document["annotations"]:
        span["start_char"] = int(span["start_char"])
        if span["end_char"] > _BEYOND:
            span["end_char"] -= _BEYOND
        if span["confidence_score"] > 1:
            span["confidence_score"] /= 100
        span.pop("selected_text", None)
    return _line(document)


def _documents(seed: int) -> Iterator[Document]:
    """Texts of about a kilobyte, each with two annotations, without end."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghiklmnoprstuvw", k=6)) for _ in range(2000)]
    words += ["café", "Zoë", "naïve", "\N{ROSE}"] * 20
    number = 0
    while True:
        content = " ".join(["André", *chance.choices(words, k=_WORDS)])
        middle = content.index(" ", len(content) // 2) + 1
        yield {
            "key": f"text-{number}",
            "content": content,
            "metadata": {"source": "corpus", "page": number % 500},
            "annotations": [
                _span(0, 5, chance),
                _span(middle, content.index(" ", middle), chance),
            ],
        }
        number += 1


def _span(start: int, end: int, chance: random.Random) -> Document:
    label, percent = chance.choice(LABELS), chance.randrange(2, 100)
    return {
        "start_char": start,
        "end_char": end,
        "label": label,
        "confidence_score": percent / 100,
    }


def _line(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


# -- the ways in which a line is broken ----------------------------------------------------


def _with_first(document: Document, **fields: Any) -> bytes:
    first, *others = document["annotations"]
    return _line(document | {"annotations": [first | fields, *others]})


def _cut(document: Document) -> bytes:
    return _line(document)[:-1]


def _content_in_pieces(document: Document) -> bytes:
    return _line(document | {"content": document["content"].split(" ")})


def _beyond_the_text(document: Document) -> bytes:
    return _with_first(document, end_char=document["annotations"][0]["end_char"] + _BEYOND)


def _annotations_by_number(document: Document) -> bytes:
    numbered = {str(number): span for number, span in enumerate(document["annotations"])}
    return _line(document | {"annotations": numbered})


def _percent(document: Document) -> bytes:
    score = document["annotations"][0]["confidence_score"]
    return _with_first(document, confidence_score=round(score * 100))


def _other_words(document: Document) -> bytes:
    return _with_first(document, selected_text="somebody else")


def _not_utf8(document: Document) -> bytes:
    return _line(document).replace("André".encode(), "André".encode("latin-1"))


def _start_in_half(document: Document) -> bytes:
    return _with_first(document, start_char=0.5)


BREAKS: Final[tuple[Callable[[Document], bytes], ...]] = (
    _cut,
    _content_in_pieces,
    _beyond_the_text,
    _annotations_by_number,
    _percent,
    _other_words,
    _not_utf8,
    _start_in_half,
)
CODES: Final = {
    "not_json",
    "not_text",
    "span_out_of_range",
    "not_a_list",
    "confidence_out_of_range",
    "text_mismatch",
    "not_a_number",
}
"""By which codes they are told of."""
