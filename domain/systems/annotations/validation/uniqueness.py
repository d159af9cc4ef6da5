"""Layer 5: rules of a project that no two annotations of a text may have the same values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_

from domain.records import Probe, Records
from domain.systems.annotations import tables
from domain.systems.annotations.validation.own_rules import UNIQUE, OwnRule, pointer_to
from domain.systems.annotations.validation.subjects import Batch

FIELDS = ("label_id", "start_char", "end_char", "selected_text")


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
    asked: list[tuple[OwnRule, int, tuple[Any, ...]]] = []
    for rule in rules:
        if rule.definition.get("kind") != UNIQUE:
            continue
        fields = _fields_of(rule)
        for index in sound:
            if not rule.labels or batch.names.get(batch.labels[index] or 0) in rule.labels:
                asked.append((rule, index, _row(batch, index, fields)))
    there = store.probe(_like, [row for _, _, row in asked], without=batch.changed)
    first: dict[tuple[Any, ...], int] = {}
    for place, (rule, index, row) in enumerate(asked):
        key = (rule.rule.id, *row[:-1])
        other = None if batch.settled else first.get(key)
        if other is not None and batch.has_left(other, index):
            other = None
        if other is None and index not in batch.refused:
            first[key] = index
        if place in there:
            whose = f"annotation {there[place]}"
        elif other is not None:
            whose = batch.item(other)
            batch.add_about(index, other)
        else:
            continue
        fields = _fields_of(rule)
        said = f"{' and '.join(fields)} must be unique in a text, and {whose} has the same"
        where = pointer_to(fields[0])
        batch.add(index, rule.rule, where, rule.says(f"{said}; change it or leave one out"))


def _fields_of(rule: OwnRule) -> list[str]:
    named = {*rule.definition["fields"], *(["label_id"] if rule.labels else [])}
    return [field for field in FIELDS if field in named]


def _row(batch: Batch, index: int, fields: Sequence[str]) -> tuple[Any, ...]:
    item = batch.items[index]
    values: tuple[Any, ...] = (
        batch.labels[index],
        item.start_char,
        item.end_char,
        batch.selected[index],
    )
    known = zip(FIELDS, values, strict=True)
    chosen = [value if name in fields else None for name, value in known]
    return (item.text_id, *chosen, batch.own[index])
