"""What people write instead of validation in sets: the same rules, in a loop over a file.

``python -m benchmarks.validating queries 1 URL ITEMS`` asks the database for the text, the label,
a duplicate and another label of each item, and commits each item; ``rules 1`` has a function for
each rule, which asks for what it needs; ``loaded 100`` has texts, labels and annotations in
memory, and commits every 100. What is kept of an item is the same as ours: its issues, with rule,
layer, severity, item, pointer and message, its score, and of a failure code, message and pointer.
Prints seconds, CPU seconds and peak memory as JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from benchmarks import material, measure
from benchmarks.scripts import ANNOTATION, RESULT, Store, connect
from domain.execution import invalid_item
from domain.outcomes import Failed
from domain.systems.annotations.models import NewAnnotation, as_text

MIN_CONFIDENCE, MAX_SPAN = 0.3, 1000
PATTERN, MOST = r"^[^0-9]*$", 40
RULES = (
    {"kind": "regex", "field": "selected_text", "pattern": PATTERN},
    {"kind": "range", "field": "length", "maximum": MOST},
)
"""The project's own rules, as we are given them."""
CUT_EVERY = 25
OWN = re.compile(PATTERN)
_WORD = re.compile(r"[a-zéö]{3,18}")

LAYERS = {
    "business": ("text_not_found", "label_not_found", "span_out_of_range", "text_mismatch"),
    "quality": ("blank_span", "untrimmed_span", "cut_word", "low_confidence", "long_span"),
    "consistency": ("duplicate", "labels_differ"),
    "custom": ("own_0", "own_1"),
}
LAYER_OF = {rule: layer for layer, rules in LAYERS.items() for rule in rules}
COST = {"error": 1.0, "warning": 0.2, "info": 0.05}

Issue = dict[str, Any]


def written(folder: Path, count: int) -> Path:
    """A file of items whose spans are words; those of one length have one label.

    One in a hundred is wrong, as everywhere; of the others, one in twenty-five is cut short.
    """
    path = folder / f"validated-{count}.ndjson"
    if not path.exists():
        texts = material.contents()
        words = [[found.span() for found in _WORD.finditer(text)] for text in texts]
        with path.open("w") as file:
            for position, line in enumerate(material.lines(material.written(folder, count))):
                item = json.loads(line)
                if not material.is_wrong(position):
                    text = item["text_id"] - 1
                    start, end = words[text][position % len(words[text])]
                    end -= position % CUT_EVERY == 1
                    item |= {"start_char": start, "end_char": end}
                    item["selected_text"] = texts[text][start:end]
                    item["label_id"] = len(item["selected_text"]) % material.LABELS + 1
                    item["confidence_score"] = 0.3 + 0.7 * item["confidence_score"]
                file.write(json.dumps(item) + "\n")
    return path


class Known(Protocol):
    """How the loop learns what it must know of an item."""

    def text(self, key: int) -> str | None: ...

    def label(self, key: int | None) -> bool: ...

    def has_same(self, item: NewAnnotation) -> bool: ...

    def has_other_label(self, words: str, label: int | None) -> bool: ...

    def made(self, item: NewAnnotation, words: str) -> None: ...


class Asked:
    """A query for each rule and item."""

    def __init__(self, store: Store) -> None:
        self._ask = store.ask

    def text(self, key: int) -> str | None:
        sql = "SELECT content FROM texts WHERE id = ? AND project_id = ?"
        row = self._ask(sql, key, material.PROJECT)
        return None if row is None else str(row[0])

    def label(self, key: int | None) -> bool:
        sql = "SELECT id FROM labels WHERE id = ? AND project_id = ?"
        return self._ask(sql, key, material.PROJECT) is not None

    def has_same(self, item: NewAnnotation) -> bool:
        sql = (
            "SELECT id FROM annotations WHERE text_id = ? AND start_char = ? AND end_char = ? "
            "AND label_id = ? LIMIT 1"
        )
        values = (item.text_id, item.start_char, item.end_char, item.label_id)
        return self._ask(sql, *values) is not None

    def has_other_label(self, words: str, label: int | None) -> bool:
        # Of a bare column that is a constant SQLite makes one everywhere, and finds no index.
        sql = (
            "SELECT id FROM annotations WHERE project_id = ? "
            "AND substr(selected_text, 1, 64) = substr(CAST(? AS TEXT), 1, 64) "
            "AND selected_text || '' = ? AND label_id <> ? LIMIT 1"
        )
        return self._ask(sql, material.PROJECT, words, words, label) is not None

    def made(self, item: NewAnnotation, words: str) -> None:
        """The database knows."""


class Loaded:
    """Everything is read at the beginning."""

    def __init__(self, store: Store) -> None:
        where = f"WHERE project_id = {material.PROJECT}"
        self._texts: dict[int, str] = dict(store.read(f"SELECT id, content FROM texts {where}"))
        self._labels = {key for (key,) in store.read(f"SELECT id FROM labels {where}")}
        columns = "text_id, start_char, end_char, label_id, selected_text"
        rows = store.read(f"SELECT {columns} FROM annotations {where}")
        self._spans = {tuple(row[:4]) for row in rows}
        self._words: dict[str, set[int | None]] = {}
        for row in rows:
            self._words.setdefault(row[4], set()).add(row[3])

    def text(self, key: int) -> str | None:
        return self._texts.get(key)

    def label(self, key: int | None) -> bool:
        return key in self._labels

    def has_same(self, item: NewAnnotation) -> bool:
        return (item.text_id, item.start_char, item.end_char, item.label_id) in self._spans

    def has_other_label(self, words: str, label: int | None) -> bool:
        return bool(self._words.get(words, set()) - {label})

    def made(self, item: NewAnnotation, words: str) -> None:
        self._spans.add((item.text_id, item.start_char, item.end_char, item.label_id))
        self._words.setdefault(words, set()).add(item.label_id)


def issue(rule: str, severity: str, pointer: str, message: str) -> Issue:
    """What a rule says."""
    layer = LAYER_OF[rule]
    said = {"rule": rule, "layer": layer, "severity": severity}
    return said | {"pointer": pointer, "message": message}


def examined(  # noqa: C901 - as such a loop is written
    known: Known, item: NewAnnotation
) -> tuple[str | None, list[Issue]]:
    """The text of the span, and all issues of an item."""
    issues: list[Issue] = []

    def say(rule: str, severity: str, pointer: str, message: str) -> None:
        issues.append(issue(rule, severity, pointer, message))

    content = known.text(item.text_id)
    start, end = item.start_char, item.end_char
    words = None
    if content is None:
        say("text_not_found", "error", "/text_id", f"there is no text {item.text_id}; create it")
    elif not start < end <= len(content):
        say("span_out_of_range", "error", "/end_char", f"{start}..{end} is no span; correct it")
    else:
        words = content[start:end]
        if item.selected_text not in (None, words):
            say("text_mismatch", "error", "/selected_text", f"the text has {words!r}; correct it")
        if not words.strip():
            say("blank_span", "warning", "/start_char", "the span is white space; move it")
        elif words != words.strip():
            say("untrimmed_span", "warning", "/start_char", "white space at an end; move it")
        if start and words[0].isalnum() and content[start - 1].isalnum():
            say("cut_word", "warning", "/start_char", "it is within a word; move it")
        if end < len(content) and words[-1].isalnum() and content[end].isalnum():
            say("cut_word", "warning", "/end_char", "it is within a word; move it")
        if len(words) > MAX_SPAN:
            say("long_span", "warning", "/end_char", f"more than {MAX_SPAN}; shorten it")
    if not known.label(item.label_id):
        say("label_not_found", "error", "/label_id", f"there is no label {item.label_id}")
    if item.confidence_score is not None and item.confidence_score < MIN_CONFIDENCE:
        say("low_confidence", "warning", "/confidence_score", f"below {MIN_CONFIDENCE}; look again")
    if words is not None:
        if known.has_same(item):
            say("duplicate", "warning", "/start_char", "it is there already; leave it out")
        if known.has_other_label(words, item.label_id):
            say("labels_differ", "info", "/label_id", "others have another label; make sure")
        if not OWN.search(words):
            say("own_0", "error", "/selected_text", f"does not match {PATTERN}; correct it")
        if len(words) > MOST:
            say("own_1", "error", "/end_char", f"longer than {MOST}; shorten it")
    return words, issues


Examine = Callable[[Known, NewAnnotation], tuple[str | None, list[Issue]]]


def run(
    store: Store, known: Known, items: Iterable[bytes], commit_every: int, examine: Examine
) -> None:
    """Examine and insert one after the other, with the result of each."""
    key = 0
    for position, line in enumerate(items):
        row: tuple[Any, ...] | None = None
        try:
            item = NewAnnotation.model_validate_json(line)
        except ValidationError as error:
            result = _refused(position, invalid_item(error))
        else:
            words, issues = examine(known, item)
            errors = [found for found in issues if found["severity"] == "error"]
            told = _told(position, issues)
            if errors or words is None:
                first = errors[0]
                said = first["rule"], told, first["pointer"]
                result = (position, "failed", None, *said)
            else:
                key += 1
                row = _row(key, item, words)
                known.made(item, words)
                result = (position, "succeeded", key, None, told, None)
        if row is not None:
            store.insert("annotations", ANNOTATION, row)
        store.insert("results", RESULT, result)
        if (position + 1) % commit_every == 0:
            store.commit()
    store.commit()


def _told(position: int, issues: list[Issue]) -> str:
    """Score and issues, as they are kept beside a result."""
    if not issues:
        return '{"score":1.0}'
    for found in issues:
        found["item"] = position
    left = 1.0 - sum(COST[found["severity"]] for found in issues)
    return json.dumps({"score": round(max(left, 0.0), 3), "issues": issues})


def _refused(position: int, failed: Failed) -> tuple[Any, ...]:
    told = json.dumps(failed.details)
    return (position, "failed", None, failed.code, told, failed.pointer)


def _row(key: int, item: NewAnnotation, words: str) -> tuple[Any, ...]:
    return (
        *(key, 1, material.TENANT, material.PROJECT, item.text_id, item.label_id),
        *(item.start_char, item.end_char, words, item.confidence_score),
        *(as_text(item.metadata), material.ACTOR, 0.0),
    )


def main(way: str, commit_every: str, url: str, items: str) -> None:
    """Run one script; see the module's docstring."""
    from benchmarks import by_rule  # which is made of what is above

    with closing(connect(url)) as store:
        before = measure.take([os.getpid()])
        known = Loaded(store) if way == "loaded" else Asked(store)
        examine = by_rule.examined if way == "rules" else examined
        run(store, known, material.lines(Path(items)), int(commit_every), examine)
        print(json.dumps(asdict(measure.take([os.getpid()]) - before)))


if __name__ == "__main__":
    main(*sys.argv[1:])
