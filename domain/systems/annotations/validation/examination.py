"""Examination: all layers over the items of a chunk, with a fixed number of queries.

Ten at most, however many items there are: thresholds, own rules, labels, texts, duplicates,
the longest span of each text, overlaps, words with other labels, uniqueness; and whoever
changes annotations has read them before. The last five are asked again, three times at most,
where an item that is refused was in another's way or stays there. The first layer is the items'
model, which the engine applies as it reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.records import Lookup, Records
from domain.systems.annotations.validation import beside, tables
from domain.systems.annotations.validation.allowance import Allowance
from domain.systems.annotations.validation.catalogue import TOO_MANY_RULES
from domain.systems.annotations.validation.own_rules import OwnRule, OwnRules, own_rule_of
from domain.systems.annotations.validation.spans import Quality, check_labels, check_spans
from domain.systems.annotations.validation.subjects import Batch, Ends, Subject
from domain.systems.annotations.validation.thresholds import DEFAULTS, Thresholds, thresholds_of

MAX_RULES = 100
"""Own rules of a project that are applied. An undo, or two jobs at once, may leave more."""

_thresholds = Lookup(
    tables.thresholds, (int,), lambda row, table: [table.project_id == row.v0], limit=1
)
_rules = Lookup(
    tables.rules,
    (int,),
    # One that does not say whether it is enabled is.
    lambda row, table: [table.project_id == row.v0, table.enabled.is_not(False)],
    limit=MAX_RULES + 1,
)


def examine(  # noqa: PLR0913 - what the callers know of their items, by name
    store: Records,
    project_id: int,
    items: Sequence[Subject],
    *,
    own: Sequence[int] = (),
    full: bool = True,
    settled: bool = False,
    positions: Sequence[int] = (),
    places: Sequence[int] = (),
    utf16: Sequence[Ends] = (),
    allowance: Allowance | None = None,
) -> tuple[Batch, Thresholds]:
    """All issues of all items, and the thresholds that hold; Batch says what the options mean.

    ``full`` off leaves out all but the first two layers, and what the project demands with them.
    ``allowance`` is that of the chunk, which may be examined in parts; without one, of the items.
    """
    batch = Batch(
        project_id,
        list(items),
        own or [0] * len(items),
        settled=settled,
        positions=positions,
        places=places,
        utf16=utf16,
    )
    limits = thresholds(store, project_id) if full else DEFAULTS
    quality = Quality(limits) if full else None
    check_spans(store, batch, quality)
    check_labels(store, batch)
    if quality is not None:
        quality.check_confidence(batch)
        rules = own_rules(store, batch)
        OwnRules(rules).check(batch, batch.sound(), allowance or Allowance.of(len(items)))
        beside.check(store, batch, limits, rules)
    return batch, limits


def thresholds(store: Records, project_id: int) -> Thresholds:
    """The thresholds of a project."""
    rows = store.look_up(_thresholds, project_id)
    return thresholds_of(rows[0]) if rows else DEFAULTS


def own_rules(store: Records, batch: Batch) -> list[OwnRule]:
    """The rules of a project that are enabled, each at its present version.

    Where there are more than are applied, each item is told so: none is passed over in silence.
    """
    found = [own_rule_of(row) for row in store.look_up(_rules, batch.project_id)]
    if len(found) <= MAX_RULES:
        return found
    many = f"project {batch.project_id} has more than {MAX_RULES} rules that are enabled"
    for index in batch.sound():
        batch.add(index, TOO_MANY_RULES, "", f"{many}; disable or delete some, then try again")
    return []
