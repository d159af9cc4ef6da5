"""Thresholds: what a project demands of its annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from domain.systems.annotations.models import MAX_CONTENT, Id
from domain.systems.annotations.validation.catalogue import ADJUSTABLE
from domain.systems.annotations.validation.issues import Rule, Severity

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Weight(StrEnum):
    """The severity that a project gives a rule; ``off`` leaves it out."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    OFF = "off"


class Adjustable(StrEnum):
    """The rules whose severity a project may change."""

    BLANK_SPAN = "blank_span"
    UNTRIMMED_SPAN = "untrimmed_span"
    CUT_WORD = "cut_word"
    LOW_CONFIDENCE = "low_confidence"
    LONG_SPAN = "long_span"
    DUPLICATE = "duplicate"
    LABELS_DIFFER = "labels_differ"


class Thresholds(BaseModel):
    """What holds in a project; without a row of its own, these defaults.

    ``threshold`` is the score that an item needs; ``min_confidence`` and ``max_span`` are the
    limits of the rules ``low_confidence`` and ``long_span``; with ``allow_overlaps`` off, no
    two annotations of a text may overlap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Share = 0.0
    min_confidence: Share = 0.3
    max_span: Annotated[int, Field(ge=1, le=MAX_CONTENT)] = 1000
    allow_overlaps: bool = True
    severities: dict[Adjustable, Weight] = {}

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """The adjustable rules that are on, by id, with their severities here."""
        found: dict[str, Rule] = {}
        for rule in ADJUSTABLE:
            weight = self.severities.get(Adjustable(rule.id), Weight(rule.severity.value))
            if weight is not Weight.OFF:
                found[rule.id] = replace(rule, severity=Severity(weight.value))
        return found


DEFAULTS = Thresholds()


class NewThresholds(Thresholds):
    """The thresholds of a project that has none yet."""

    project_id: Id


class ChangedThresholds(Thresholds):
    """What is to change of the thresholds of a project; ``version`` must be the present one."""

    id: Id
    version: Annotated[int, Field(ge=1)] | None = None


_STORED = tuple(Thresholds.model_fields)


def thresholds_of(row: Mapping[str, Any]) -> Thresholds:
    """The thresholds as a row of the table has them; read once as long as they are the same."""
    return _thresholds(tuple(row[name] for name in _STORED))


@lru_cache(maxsize=256)
def _thresholds(stored: tuple[Any, ...]) -> Thresholds:
    row = zip(_STORED, stored, strict=True)
    given = {name: value for name, value in row if value is not None}
    if "severities" in given:
        given["severities"] = orjson.loads(given["severities"])
    return Thresholds.model_validate(given)
