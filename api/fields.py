"""Fields: answers of which a client wants only some of what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from api.parameters import Parameters, chosen
from domain.views import JobSummary, JobView

FIELDS: Final = "fields"
OF_LISTED: Final = (*JobSummary.model_fields, "links")
OF_JOB: Final = (*JobView.model_fields, "waiting", "links")
OF_ITEM: Final = (
    "position",
    "status",
    "result",
    "score",
    "duration_ms",
    "error",
    "chunk",
    "attempt",
    "changes",
    "item",
    "shredded",
)


def wanted_fields(query: Parameters, known: Collection[str]) -> frozenset[str] | None:
    """The names in ``?fields=a,b``, each of them known; None for all there are."""
    said = query.given(FIELDS)
    return (
        None if said is None else frozenset(chosen(FIELDS, each, known) for each in said.split(","))
    )


def only(document: Mapping[str, Any], wanted: frozenset[str] | None) -> Mapping[str, Any]:
    """The wanted part of a document; what it does not say is not made up."""
    if wanted is None:
        return document
    return {name: value for name, value in document.items() if name in wanted}
