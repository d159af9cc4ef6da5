"""Examination: all layers over the items of a chunk, with a fixed number of queries.

Ten at most, however many items there are: thresholds, own rules, labels, texts, duplicates,
the longest span of each text, overlaps, words with other labels, uniqueness; and whoever
changes annotations has read them before. The first layer is the items' model, which the engine
applies as it reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from domain.records import Records
from domain.systems.annotations.validation import consistency, tables, uniqueness
from domain.systems.annotations.validation.definitions import RuleBody
from domain.systems.annotations.validation.own_rules import OwnRule, OwnRules
from domain.systems.annotations.validation.spans import Quality, check_labels, check_spans
from domain.systems.annotations.validation.subjects import Batch, Subject
from domain.systems.annotations.validation.thresholds import DEFAULTS, Thresholds, thresholds_of

MAX_RULES = 100
"""Own rules of a project that are applied, the oldest first."""

_DOCUMENTS = ("labels", "definition")


def examine(
    store: Records,
    project_id: int,
    items: Sequence[Subject],
    *,
    own: Sequence[int] = (),
    full: bool = True,
    settled: bool = False,
) -> tuple[Batch, Thresholds]:
    """All issues of all items, and the thresholds that hold; see Batch for ``own`` and ``settled``.

    ``full`` off leaves out all but the first two layers, and what the project demands with them.
    """
    batch = Batch(project_id, items, own or [0] * len(items), settled=settled)
    limits = thresholds(store, project_id) if full else DEFAULTS
    quality = Quality(limits) if full else None
    check_spans(store, batch, quality)
    check_labels(store, batch)
    if quality is not None:
        quality.check_confidence(batch)
        sound = batch.sound()
        consistency.check(store, batch, limits, sound)
        rules = own_rules(store, project_id)
        OwnRules(rules).check(batch, sound)
        together = [rule for rule in rules if rule.definition["kind"] == "unique"]
        if together:
            uniqueness.check(store, batch, together, sound)
    return batch, limits


def thresholds(store: Records, project_id: int) -> Thresholds:
    """The thresholds of a project."""
    table = tables.thresholds
    rows = store.find(table, table.c.project_id == project_id, limit=1)
    return thresholds_of(rows[0]) if rows else DEFAULTS


def own_rules(store: Records, project_id: int) -> list[OwnRule]:
    """The rules of a project that are enabled, each at its present version."""
    table = tables.rules
    rows = store.find(table, table.c.project_id == project_id, limit=MAX_RULES)
    found = [OwnRule.of(body_of(row), row["version"]) for row in rows]
    return [rule for rule in found if rule.body.enabled]


def body_of(row: Mapping[str, Any]) -> RuleBody:
    """A rule as a row of the table has it."""
    given = {name: row[name] for name in RuleBody.model_fields if row[name] is not None}
    for name in _DOCUMENTS:
        if name in given:
            given[name] = orjson.loads(given[name])
    return RuleBody.model_validate(given)
