"""What the rules say, worked out item by item from their descriptions.

Shares no code with the engine: one loop over everything for every question, in no hurry.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Said = tuple[int, str, str]
"""Item, rule and pointer."""

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass
class World:
    """A project: its texts, its labels by id, what is in the store by id, and what it demands."""

    texts: Mapping[int, str]
    labels: Mapping[int, str]
    stored: Mapping[int, Mapping[str, Any]]
    least: float
    most: int
    overlaps: bool
    off: frozenset[str] = frozenset()
    rules: Sequence[Mapping[str, Any]] = field(default_factory=list)


Real = tuple[int, int, int, int, str]
"""Text, start, end, label and words of an annotation that can be."""


def issues(
    world: World, items: Sequence[Mapping[str, Any]], own: Sequence[int], *, settled: bool
) -> set[Said]:
    """All that is to be said of the items; ``own`` are their ids in the store, or 0."""
    said: set[Said] = set()
    real: dict[int, Real] = {}
    for number, item in enumerate(items):
        faults, mine = _alone(world, item)
        said |= {(number, *fault) for fault in faults}
        if mine is not None:
            real[number] = mine
    changed = set() if settled else set(own)
    refused: set[int] = set()
    for number, mine in real.items():
        rows = [row for key, row in world.stored.items() if key not in {own[number], *changed}]
        others = [_row(row) for row in rows]
        before = {} if settled else {n: real[n] for n in real if n < number}
        standing = [one for n, one in before.items() if n not in refused]
        if not world.overlaps and any(_meet(mine, other) for other in others + standing):
            refused.add(number)
            said.add((number, "overlap", "/start_char"))
        said |= {
            (number, *fault)
            for fault in _beside(world, items[number], mine, others, list(before.values()))
        }
    return {one for one in said if one[1] not in world.off}


def _alone(world: World, item: Mapping[str, Any]) -> tuple[set[tuple[str, str]], Real | None]:
    """What is to be said of an item by itself; and the annotation, if it can be one."""
    said: set[tuple[str, str]] = set()
    label = next(
        (
            key
            for key, name in world.labels.items()
            if item.get("label_id") == key or item.get("label") == name
        ),
        None,
    )
    if label is None:
        said.add(("label_not_found", "/label" if item.get("label") is not None else "/label_id"))
    sure = item.get("confidence_score")
    if sure is not None and sure < world.least:
        said.add(("low_confidence", "/confidence_score"))
    start, end = item["start_char"], item["end_char"]
    text = world.texts.get(item["text_id"])
    if text is None:
        return said | {("text_not_found", "/text_id")}, None
    if start >= end or end > len(text):
        where = "/start_char" if start >= end else "/end_char"
        return said | {("span_out_of_range", where)}, None
    said |= _quality(text, start, end, world.most)
    words = text[start:end]
    if item.get("selected_text") not in (None, words):
        return said | {("text_mismatch", "/selected_text")}, None
    return said, None if label is None else (item["text_id"], start, end, label, words)


def _beside(
    world: World,
    item: Mapping[str, Any],
    mine: Real,
    others: Sequence[Real],
    before: Sequence[Real],
) -> set[tuple[str, str]]:
    """What is to be said of an annotation beside others."""
    said: set[tuple[str, str]] = set()
    everybody = [*others, *before]
    if any(other[:4] == mine[:4] for other in everybody):
        said.add(("duplicate", "/start_char"))
    if any(other[4] == mine[4] and other[3] != mine[3] for other in everybody):
        said.add(("labels_differ", "/label_id"))
    for rule in world.rules:
        if _applies(world, rule, mine):
            about = [*others, *[one for one in before if _applies(world, rule, one)]]
            pointer = _own(rule, item, mine, about)
            if pointer is not None:
                said.add((f"custom.{rule['name']}", pointer))
    return said


def _applies(world: World, rule: Mapping[str, Any], one: Real) -> bool:
    return not rule["labels"] or world.labels[one[3]] in rule["labels"]


def _row(row: Mapping[str, Any]) -> Real:
    return (
        *(row["text_id"], row["start_char"], row["end_char"], row["label_id"]),
        row["selected_text"],
    )


def _meet(one: Real, other: Real) -> bool:
    return one[0] == other[0] and bool(set(range(one[1], one[2])) & set(range(other[1], other[2])))


def _quality(text: str, start: int, end: int, most: int) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    words = text[start:end]
    if re.fullmatch(r"\s+", words):
        found.add(("blank_span", "/start_char"))
    else:
        if re.match(r"\s", words):
            found.add(("untrimmed_span", "/start_char"))
        if re.search(r"\s\Z", words):
            found.add(("untrimmed_span", "/end_char"))
    if start > 0 and re.match(r"[^\W_]", text[start]) and _glued(text[start - 1 : start + 1]):
        found.add(("cut_word", "/start_char"))
    if end < len(text) and _glued(text[end - 1 : end + 1]):
        found.add(("cut_word", "/end_char"))
    if len(words) > most:
        found.add(("long_span", "/end_char"))
    return found


def _glued(pair: str) -> bool:
    left, right = pair
    if not re.match(r"[^\W_]", left):
        return False
    if unicodedata.category(right).startswith("M") and not right.isalnum():
        return True
    return bool(re.match(r"[^\W_]", right)) and not UNSPACED.search(pair)


def _own(
    rule: Mapping[str, Any],
    item: Mapping[str, Any],
    mine: Real,
    others: Sequence[Real],
) -> str | None:
    """The pointer of the issue, if there is one."""
    given = rule["definition"]
    metadata = item.get("metadata") or {}
    match given["kind"]:
        case "required":
            return None if metadata.get("k") not in (None, "") else "/metadata/k"
        case "regex":
            return None if re.search(given["pattern"], mine[4]) else "/selected_text"
        case "range":
            return (
                None if given["minimum"] <= mine[2] - mine[1] <= given["maximum"] else "/end_char"
            )
        case "allowed":
            value = metadata.get("k")
            return None if value is None or value in given["values"] else "/metadata/k"
        case "unique":
            names = ("text_id", "start_char", "end_char", "label_id", "selected_text")
            fields = {*given["fields"], "text_id", *(["label_id"] if rule["labels"] else [])}
            places = [place for place, name in enumerate(names) if name in fields]
            same = any(all(mine[p] == other[p] for p in places) for other in others)
            first = next(
                name
                for name in ("label_id", "start_char", "end_char", "selected_text")
                if name in fields
            )
            return f"/{first}" if same else None
        case _:
            return None if mine[2] - mine[1] < 3 or "a" in mine[4] else ""
