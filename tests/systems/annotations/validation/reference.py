"""What the rules say, worked out item by item from their descriptions.

Shares no code with the engine: one loop over everything for every question, in no hurry.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Said = tuple[int, str, str]
"""Item, rule and pointer."""
Fault = tuple[str, str]
"""Rule and pointer."""

LOOKS = 4
ERRORS = {"text_not_found", "label_not_found", "span_out_of_range", "text_mismatch", "overlap"}

UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\u2e80-\u9fff"
    "\ua980-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
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
    said: dict[int, set[Fault]] = {}
    real: dict[int, Real] = {}
    for number, item in enumerate(items):
        said[number], mine = _alone(world, item)
        if mine is not None:
            real[number] = mine
            said[number] |= _by_own_rules(world, item, mine)
    run = _Run(world, real, own, settled)
    if not settled:
        run.refused = {number for number, faults in said.items() if _is_refused(faults)}
    beside: dict[int, set[Fault]] = {}
    left = list(real)
    for looks in reversed(range(LOOKS)):
        found, about = run.look(left, last=not looks)
        beside |= found
        refused = {n for n in left if _is_refused(found[n]) and n not in run.refused}
        if settled or not _matters(refused, about, own):
            break
        run.refused |= {number for number in refused if not about[number] & refused}
        left = [number for number in left if number not in run.refused]
    every = {(n, *fault) for n, faults in said.items() for fault in faults | beside.get(n, set())}
    return {one for one in every if one[1] not in world.off}


def _is_refused(faults: set[Fault]) -> bool:
    return any(rule in ERRORS or rule.startswith("custom.") for rule, _ in faults)


def _matters(refused: set[int], about: Mapping[int, set[int]], own: Sequence[int]) -> bool:
    return any(own[number] or any(number in some for some in about.values()) for number in refused)


@dataclass
class _Run:
    """A look goes through the items in order, each beside the store and those before it."""

    world: World
    real: Mapping[int, Real]
    own: Sequence[int]
    settled: bool
    refused: set[int] = field(default_factory=set)

    def look(
        self, left: Sequence[int], *, last: bool
    ) -> tuple[dict[int, set[Fault]], dict[int, set[int]]]:
        """What is to be said of each, and whom of the others it is about."""
        changed = {key for number, key in enumerate(self.own) if number not in self.refused}
        gone = set() if self.settled or last else changed
        found: dict[int, set[Fault]] = {}
        about: dict[int, set[int]] = {}
        for number in left:
            stored = self.world.stored.items()
            rows = [_row(row) for key, row in stored if key not in {self.own[number], *gone}]
            before = [] if self.settled else [n for n in left if n < number]
            standing = [n for n in before if n not in self.refused]
            found[number], about[number] = self._beside(number, rows, standing, found)
        return found, about

    def _beside(
        self,
        number: int,
        rows: Sequence[Real],
        standing: Sequence[int],
        found: Mapping[int, set[Fault]],
    ) -> tuple[set[Fault], set[int]]:
        mine, faults, about = self.real[number], set[Fault](), set[int]()
        upright = [n for n in standing if ("overlap", "/start_char") not in found[n]]
        upright.sort(key=lambda n: -self.real[n][1])
        for fault, order, is_it in _questions(self.world, mine):
            if fault[0] in self.world.off:
                continue
            some = upright if order == "backwards" else standing
            first = next((n for n in some if is_it(self.real[n])), None)
            if any(is_it(row) for row in rows):
                faults.add(fault)
            elif first is not None:
                faults.add(fault)
                about.add(first)
        return faults, about


def _questions(world: World, mine: Real) -> Iterator[tuple[Fault, str, Callable[[Real], bool]]]:
    """What would be wrong beside which others, and in which order those are gone through."""
    if not world.overlaps:
        yield ("overlap", "/start_char"), "backwards", lambda other: _meet(mine, other)
    yield ("duplicate", "/start_char"), "in order", lambda other: other[:4] == mine[:4]
    yield (
        *(("labels_differ", "/label_id"), "in order"),
        lambda other: other[4] == mine[4] and other[3] != mine[3],
    )
    for rule in world.rules:
        if rule["definition"]["kind"] == "unique" and _applies(world, rule, mine):
            places, pointer = _unique(rule)
            yield (
                *((f"custom.{rule['name']}", pointer), "in order"),
                partial(_is_alike, world, rule, places, mine),
            )


def _unique(rule: Mapping[str, Any]) -> tuple[list[int], str]:
    """Where the values are that must be unique together, and where that points."""
    names = ("text_id", "start_char", "end_char", "label_id", "selected_text")
    fields = {*rule["definition"]["fields"], "text_id", *(["label_id"] if rule["labels"] else [])}
    places = [place for place, name in enumerate(names) if name in fields]
    order = ("label_id", "start_char", "end_char", "selected_text")
    return places, f"/{next(name for name in order if name in fields)}"


def _is_alike(
    world: World, rule: Mapping[str, Any], places: Sequence[int], mine: Real, other: Real
) -> bool:
    return _applies(world, rule, other) and all(mine[p] == other[p] for p in places)


def _alone(world: World, item: Mapping[str, Any]) -> tuple[set[Fault], Real | None]:
    """What is to be said of an item by itself; and the annotation, if it can be one."""
    said: set[Fault] = set()
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


def _by_own_rules(world: World, item: Mapping[str, Any], mine: Real) -> set[Fault]:
    said: set[Fault] = set()
    for rule in world.rules:
        if rule["definition"]["kind"] != "unique" and _applies(world, rule, mine):
            pointer = _own(rule, item, mine)
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


def _quality(text: str, start: int, end: int, most: int) -> set[Fault]:
    found: set[Fault] = set()
    words = text[start:end]
    if re.fullmatch(r"\s+", words):
        found.add(("blank_span", "/start_char"))
    else:
        if re.match(r"\s", words):
            found.add(("untrimmed_span", "/start_char"))
        if re.search(r"\s\Z", words):
            found.add(("untrimmed_span", "/end_char"))
    if _is_cut(text, start):
        found.add(("cut_word", "/start_char"))
    if _is_cut(text, end):
        found.add(("cut_word", "/end_char"))
    if len(words) > most:
        found.add(("long_span", "/end_char"))
    return found


def _is_cut(text: str, place: int) -> bool:
    before, after = text[:place], text[place:]
    while before and unicodedata.category(before[-1]).startswith("M"):
        before = before[:-1]
    if not after or not re.search(r"[^\W_]\Z", before):
        return False
    if unicodedata.category(after[0]).startswith("M"):
        return True
    return bool(re.match(r"[^\W_]", after)) and not UNSPACED.search(before[-1] + after[0])


def _own(
    rule: Mapping[str, Any],
    item: Mapping[str, Any],
    mine: Real,
) -> str | None:
    """The pointer of the issue, if there is one."""
    given = rule["definition"]
    metadata = item.get("metadata") or {}
    match given["kind"]:
        case "required":
            return None if metadata.get("k") not in (None, "") else "/metadata/k"
        case "regex":
            # To RE2, the end is the end, and not the line break before it.
            pattern = given["pattern"].replace("$", r"\Z")
            return None if re.search(pattern, mine[4]) else "/selected_text"
        case "range":
            return (
                None if given["minimum"] <= mine[2] - mine[1] <= given["maximum"] else "/end_char"
            )
        case "allowed":
            value = metadata.get("k")
            return None if value is None or value in given["values"] else "/metadata/k"
        case _:
            return None if mine[2] - mine[1] < 3 or "a" in mine[4] else ""
