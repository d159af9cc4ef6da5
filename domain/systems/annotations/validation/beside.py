"""What the items are beside others, once it is known which of them take effect.

An item that is refused is in nobody's way; and the annotation that it was to change stays where
it is, in the way of whoever was to come there. So who is refused in one look may change what is
to be said of another: then there is one more.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.records import Records
from domain.systems.annotations.validation import consistency, uniqueness
from domain.systems.annotations.validation.issues import Layer, fails
from domain.systems.annotations.validation.own_rules import OwnRule
from domain.systems.annotations.validation.subjects import Batch
from domain.systems.annotations.validation.thresholds import Thresholds

LOOKS = 4
"""Looks at most, nearly always one: a row of annotations that each take the place of the next
could ask for as many as it is long. In the last one, none is taken to make room for another."""


def check(store: Records, batch: Batch, limits: Thresholds, rules: Sequence[OwnRule]) -> None:
    """Layer 4, and the rules of layer 5 that are about several annotations.

    All that is to be said of each item by itself has been said. An item whose issues are about
    one that is itself refused in the same look is looked at again, and not refused for it.
    """
    left, alone = batch.sound(), {index: len(found) for index, found in batch.issues.items()}
    if not batch.settled:
        batch.refused = _failing(batch, limits)
    for look in range(LOOKS):
        batch.is_last_look = look == LOOKS - 1
        batch.about.clear()
        consistency.check(store, batch, limits, left)
        uniqueness.check(store, batch, rules, left)
        refused = set() if batch.settled else _failing(batch, limits) - batch.refused
        if batch.is_last_look or not _is_of_consequence(batch, refused):
            break
        batch.refused |= {
            index for index in refused if refused.isdisjoint(batch.about.get(index, ()))
        }
        left = [index for index in left if index not in batch.refused]
        batch.forget(left, alone)
    for found in batch.issues.values():
        found.sort(key=lambda issue: issue.rule.layer is Layer.CUSTOM)


def _failing(batch: Batch, limits: Thresholds) -> set[int]:
    threshold = limits.threshold
    return {index for index, found in batch.issues.items() if fails(found, threshold)}


def _is_of_consequence(batch: Batch, refused: set[int]) -> bool:
    """Whether something else is to be said of others when these are refused."""
    return any(batch.own[index] for index in refused) or any(
        not refused.isdisjoint(others) for others in batch.about.values()
    )
