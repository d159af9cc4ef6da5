"""Layer 4: an annotation beside the others, those of its batch and those of the store."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func

from domain.records import Probe, Records
from domain.systems.annotations import tables
from domain.systems.annotations.validation.catalogue import OVERLAP
from domain.systems.annotations.validation.issues import Rule
from domain.systems.annotations.validation.standing import Standing
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.tables import beginning_of
from domain.systems.annotations.validation.thresholds import Thresholds

Span = tuple[int, int, int, int | None]
"""Text, start, end and label."""
Words = tuple[str, int, int]
"""A text, its label, and its own annotation: 0 for one that is not there yet."""

Free = tuple[list[int], list[int]]
"""Of a text, the starts of the spans that stand, in order, and their places in the batch."""

_table = tables.annotations

_same = Probe(
    _table,
    (int, int, int, int, int),
    lambda row, table: [
        table.text_id == row.v0,
        table.start_char == row.v1,
        table.end_char == row.v2,
        table.label_id == row.v3,
        table.id != row.v4,
    ],
    lambda table: table.id,
)
_annotated = Probe(
    _table,
    (int,),
    lambda row, table: [table.text_id == row.v0],
    lambda table: table.id,
)
_longest = Probe(
    _table,
    (int,),
    lambda row, table: [table.text_id == row.v0],
    lambda table: func.max(table.end_char - table.start_char),
)
_overlapping = Probe(
    _table,
    (int, int, int, int, int),
    lambda row, table: [
        table.text_id == row.v0,
        table.start_char < row.v2,
        # No span of the text that begins before it reaches so far.
        table.start_char > row.v3,
        table.end_char > row.v1,
        table.id != row.v4,
    ],
    lambda table: table.id,
)


def _is_worded(row: Any, table: Any) -> list[Any]:
    """The same words in the project; what of them is in the index is written as the index is."""
    begin = beginning_of
    return [
        table.project_id == row.v0,
        begin(table.selected_text) == begin(row.v1),
        table.selected_text == row.v1,
        table.id != row.v3,
    ]


_labelled_otherwise = Probe(
    _table,
    (int, str, int, int),
    lambda row, table: [*_is_worded(row, table), table.label_id < row.v2],
    lambda table: table.label_id,
    otherwise=lambda row, table: [*_is_worded(row, table), table.label_id > row.v2],
)
"""Two ranges of an index, since words may have the one label a hundred thousand times."""

LONGEST = 200
"""Characters of what is compared as words; of more, hardly any two are the same."""


def check(store: Records, batch: Batch, limits: Thresholds, sound: Sequence[int]) -> None:
    """What the items, of which ``sound`` have a span and a label, are beside others."""
    duplicate, differ = limits.rules.get("duplicate"), limits.rules.get("labels_differ")
    apart = not limits.allow_overlaps
    if apart or duplicate is not None:
        near = _near(store, batch, sound, _longest if apart else _annotated)
        if duplicate is not None:
            _check_duplicates(store, batch, sound, near, duplicate)
        if apart:
            _check_overlaps(store, batch, sound, near)
    if differ is not None:
        _check_labels(store, batch, sound, differ)


def _near(store: Records, batch: Batch, sound: Sequence[int], probe: Probe) -> dict[int, int]:
    """What the probe says of each text that has annotations in the store: most have none yet."""
    texts = list({batch.items[index].text_id: None for index in sound})
    found = store.probe(probe, [(text,) for text in texts], without=batch.changed)
    return {texts[place]: answer for place, answer in found.items()}


def _check_duplicates(
    store: Records, batch: Batch, sound: Sequence[int], near: Mapping[int, int], rule: Rule
) -> None:
    items, labels, own = batch.items, batch.labels, batch.own
    spans = [
        ((item := items[index]).text_id, item.start_char, item.end_char, labels[index])
        for index in sound
    ]
    asked = [place for place, span in enumerate(spans) if span[0] in near]
    rows = [(*spans[place], own[sound[place]]) for place in asked]
    found = store.probe(_same, rows, without=batch.changed)
    there = {asked[place]: f"annotation {key} has" for place, key in found.items()}
    others = {} if batch.settled else _first_ones(store, batch, spans, sound, there)
    for place in sorted({*there, *others}):
        whose = there.get(place) or f"{others[place]} has"
        said = f"{whose} the same text, span and label; leave one of them out"
        batch.add(sound[place], rule, "/start_char", said)


def _first_ones(
    store: Records,
    batch: Batch,
    spans: Sequence[Span],
    sound: Sequence[int],
    there: Collection[int],
) -> dict[int, str]:
    """What is said of an item that came before and is the same, by the place of the later one.

    Of those whose places are ``there``, something is said already.
    """
    found: dict[int, str] = {}
    if not batch.positions and len(set(spans)) == len(spans):
        return found
    first: dict[Span, int] = {}
    places = {index: place for place, index in enumerate(sound)}
    standing: Standing[Span] = Standing(batch)
    for index in standing.walk(sound):
        place = places[index]
        span = spans[place]
        other = standing.other(span, index)
        standing.stand(span, index)
        if other is not None and place not in there:
            found[place] = batch.item(other)
            batch.add_about(index, other)
        elif other is None and index not in batch.refused:
            before = first.get(span)
            if before is None or not batch.is_of_one(index, before):
                first[span] = index
    return found | _first_of_job(store, batch, spans, first, sound) if batch.positions else found


def _first_of_job(
    store: Records,
    batch: Batch,
    spans: Sequence[Span],
    first: Mapping[Span, int],
    sound: Sequence[int],
) -> dict[int, str]:
    """The same, where the job knows what its other chunks have seen."""
    found: dict[int, str] = {}
    marks = {span: ":".join(map(str, span)) for span in first}
    left = {marks[span]: batch.positions[key] for span, key in first.items()}
    for span, index in zip(spans, sound, strict=True):
        # An annotation may come again, in this chunk or in another, with the span that it had.
        if batch.own[index] and index not in batch.refused:
            left.setdefault(_own_mark(batch, marks[span], index), batch.positions[index])
    known = store.first_of(left)
    # One that has been refused since may have left its mark.
    idle = {batch.positions[index] for index in batch.refused}
    for place, (span, index) in enumerate(zip(spans, sound, strict=True)):
        if span not in first or batch.order(first[span]) > batch.order(index):
            continue
        earliest = known[marks[span]]
        if known.get(_own_mark(batch, marks[span], index)) == earliest:
            continue
        if earliest != batch.positions[index] and earliest not in idle:
            found[place] = f"item {earliest} of the job"
    return found


def _own_mark(batch: Batch, mark: str, index: int) -> str:
    """The mark of a span that an annotation of the store would have, and of which one."""
    return f"{mark}:{batch.own[index]}"


def _check_overlaps(
    store: Records, batch: Batch, sound: Sequence[int], longest: Mapping[int, int]
) -> None:
    items, own = batch.items, batch.own
    near = [index for index in sound if items[index].text_id in longest]
    rows = []
    for index in near:
        item = items[index]
        least = item.start_char - longest[item.text_id]
        rows.append((item.text_id, item.start_char, item.end_char, least, own[index]))
    there = store.probe(_overlapping, rows, without=batch.changed)
    taken = {near[place]: key for place, key in there.items()}
    kept: dict[int, Free] = {}
    for turn in batch.in_turns(sound):
        _leave(batch, kept, turn)
        for index in turn:
            if index in taken:
                _refuse(batch, index, f"annotation {taken[index]}")
            elif not batch.settled:
                other = _taken(batch, kept.setdefault(items[index].text_id, ([], [])), index)
                if other is not None:
                    _refuse(batch, index, batch.item(other))
                    batch.add_about(index, other)


def _leave(batch: Batch, kept: Mapping[int, Free], turn: Sequence[int]) -> None:
    """Have the annotations of a turn leave the places where those before it have put them."""
    leaving = {batch.own[index] for index in turn if index not in batch.refused} - {0}
    for starts, places in kept.values():
        staying = [at for at, other in enumerate(places) if batch.own[other] not in leaving]
        if len(staying) < len(places):
            starts[:] = [starts[at] for at in staying]
            places[:] = [places[at] for at in staying]


def _taken(batch: Batch, free: Free, index: int) -> int | None:
    """The item in whose way it is; if there is none, and it is not refused, it takes its place.

    Those that stand do not overlap, so that only the last one before its end can be in the way.
    """
    starts, places = free
    item = batch.items[index]
    after = bisect_left(starts, item.end_char)
    if after and batch.items[places[after - 1]].end_char > item.start_char:
        other = places[after - 1]
        return None if batch.is_of_one(index, other) else other
    if index in batch.refused:
        return None
    starts.insert(after, item.start_char)
    places.insert(after, index)
    return None


def _refuse(batch: Batch, index: int, whom: str) -> None:
    said = f"it overlaps with {whom}, and the project refuses that; move it, or leave one out"
    batch.add(index, OVERLAP, "/start_char", said)


def _check_labels(store: Records, batch: Batch, sound: Sequence[int], rule: Rule) -> None:
    """The same words with another label, in the project."""
    labels, own, selected = batch.labels, batch.own, batch.selected
    words = [(selected[index] or "", labels[index] or 0, own[index]) for index in sound]
    asked = list(dict.fromkeys(words))
    if any(len(text) > LONGEST or "\0" in text for text, _, _ in asked):
        asked = [key for key in asked if len(key[0]) <= LONGEST and "\0" not in key[0]]
    rows = [(batch.project_id, *key) for key in asked]
    there = store.probe(_labelled_otherwise, rows, without=batch.changed)
    found = {asked[place]: label for place, label in there.items()}
    if found or not (batch.settled or _is_one_label_each(words)):
        _say_who_differs(batch, dict(zip(sound, words, strict=True)), found, rule)


def _is_one_label_each(words: Iterable[Words]) -> bool:
    """Whether no words have two labels in the batch, which is so of most."""
    labelled = {key[:2] for key in words}
    return len(labelled) == len({text for text, _ in labelled})


def _say_who_differs(
    batch: Batch, words: Mapping[int, Words], found: Mapping[Words, int], rule: Rule
) -> None:
    differing = _Differing(batch)
    for index in differing.standing.walk(list(words)):
        key = words[index]
        if len(key[0]) > LONGEST:
            continue
        other = None if batch.settled else differing.before(index, key)
        if key in found:
            said = f"other annotations give label {found[key]} to"
        elif other is not None:
            said = f"{batch.item(other)} gives label {batch.labels[other]} to"
            batch.add_about(index, other)
        else:
            continue
        batch.add(index, rule, "/label_id", f"{said} the same words; make sure which is meant")


class _Differing:
    """Which items of a batch give another label to the same words."""

    def __init__(self, batch: Batch) -> None:
        self.standing: Standing[tuple[str, int]] = Standing(batch)
        self._labels: dict[str, dict[int, None]] = {}

    def before(self, index: int, words: Words) -> int | None:
        """The first one before an item, which is one of them from now on."""
        text, label, _ = words
        labels = self._labels.setdefault(text, {})
        others = (
            self.standing.other((text, another), index) for another in labels if another != label
        )
        other = next((one for one in others if one is not None), None)
        labels[label] = None
        self.standing.stand((text, label), index)
        return other
