"""Layer 5: rules of a project that no two annotations of a text may have the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import or_

from domain.records import Probe, Records
from domain.systems.annotations import tables
from domain.systems.annotations.validation.own_rules import UNIQUE, OwnRule, pointer_to
from domain.systems.annotations.validation.standing import Standing
from domain.systems.annotations.validation.subjects import Batch

FIELDS = ("label_id", "start_char", "end_char", "selected_text")

Row = tuple[Any, ...]
"""A text, what must be unique in it, and the annotation that is not in its own way."""


def _is_like(row: Any, table: Any) -> list[Any]:
    """Rules of different fields in one query: a field that a rule leaves out may be anything."""
    given = (row.v1, row.v2, row.v3, row.v4)
    same = [
        or_(value.is_(None), table[name] == value)
        for name, value in zip(FIELDS, given, strict=True)
    ]
    return [table.text_id == row.v0, *same, table.id != row.v5]


_like = Probe(tables.annotations, (int, int, int, int, str, int), _is_like, lambda table: table.id)


def check(store: Records, batch: Batch, rules: Sequence[OwnRule], sound: Sequence[int]) -> None:
    """One query for all such rules and items; one for some labels is about each of them apart."""
    asked = [
        (rule, _rows(batch, rule, sound)) for rule in rules if rule.definition.get("kind") == UNIQUE
    ]
    rows = [row for _, those in asked for row in those.values()]
    there = store.probe(_like, rows, without=batch.changed)
    first = 0
    for rule, those in asked:
        places = enumerate(those, start=first)
        taken = {index: there[place] for place, index in places if place in there}
        _say_who_is_like(batch, rule, sound, those, taken)
        first += len(those)


def _say_who_is_like(
    batch: Batch,
    rule: OwnRule,
    sound: Sequence[int],
    rows: Mapping[int, Row],
    taken: Mapping[int, int],
) -> None:
    """Of the items that the rule is for, by annotations of the store or by items before them."""
    fields = _fields_of(rule)
    where = pointer_to(fields[0])
    standing: Standing[Row] = Standing(batch)
    for index in standing.walk(sound):
        if index not in rows:
            continue
        key = rows[index][:-1]
        other = None if batch.settled else standing.other(key, index)
        standing.stand(key, index)
        if index in taken:
            whose = f"annotation {taken[index]}"
        elif other is not None:
            whose = batch.item(other)
            batch.add_about(index, other)
        else:
            continue
        said = f"{' and '.join(fields)} must be unique in a text, and {whose} has the same"
        batch.add(index, rule.rule, where, rule.says(f"{said}; change it or leave one out"))


def _rows(batch: Batch, rule: OwnRule, sound: Sequence[int]) -> dict[int, Row]:
    """What is asked of the store, by the items that the rule is for."""
    fields = _fields_of(rule)
    return {
        index: _row(batch, index, fields)
        for index in sound
        if not rule.labels or batch.names.get(batch.labels[index] or 0) in rule.labels
    }


def _fields_of(rule: OwnRule) -> list[str]:
    named = {*rule.definition["fields"], *(["label_id"] if rule.labels else [])}
    return [field for field in FIELDS if field in named]


def _row(batch: Batch, index: int, fields: Sequence[str]) -> Row:
    item = batch.items[index]
    values: Row = (
        batch.labels[index],
        item.start_char,
        item.end_char,
        batch.selected[index],
    )
    known = zip(FIELDS, values, strict=True)
    chosen = [value if name in fields else None for name, value in known]
    return (item.text_id, *chosen, batch.own[index])
