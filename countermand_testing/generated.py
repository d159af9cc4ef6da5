"""Generated: whatever the items are, undo puts back what they have done.

::

    def test_undo_restores():
        undo_restores(CASE)
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from countermand_testing.case import Case, told
from countermand_testing.checks import SMALL
from countermand_testing.drawing import items_of
from domain.outcomes import ItemStatus

AT_ONCE = 6


def undo_restores(
    case: Case, items: st.SearchStrategy[Any] | None = None, *, examples: int = 25
) -> None:
    """Apply then undo is as before, for random lists of items; raises ContractBrokenError else.

    Items come from the JSON Schema of the operation's model, with values of the case's own
    items among them, unless ``items`` draws them. Some may fail: what has succeeded is undone.
    A list that breaks it is shown as short as hypothesis can make it. Raises
    ContractBrokenError as well when no drawn item ever succeeds, since that would show nothing.
    """
    drawn = items_of(case.operation.item, case.items) if items is None else items
    succeeded, last = 0, ""

    @seed(case.seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.lists(drawn, min_size=1, max_size=AT_ONCE))
    def apply_then_undo(sent: list[Any]) -> None:
        nonlocal succeeded, last
        done, last = _apply_then_undo(case, sent)
        succeeded += done

    apply_then_undo()
    case.require(
        succeeded > 0,
        f"of {examples} lists of drawn items none succeeded; give a strategy that draws good ones. "
        f"The last job {last}",
    )


def _apply_then_undo(case: Case, sent: list[Any]) -> tuple[int, str]:
    """How many items had succeeded, and are undone; and how the job had ended before."""
    with case.bench() as bench:
        case.prepare(bench)
        before = case.world(bench, versions=False)
        job = bench.run(case.kind, sent, params=case.params, options={"chunk_size": SMALL})
        done = sum(view.status is ItemStatus.SUCCEEDED for view in job.items)
        ended = told(job)
        if done:
            job.undo()
            case.require(
                job.status == "rolled_back", f"after an undo of {sent} the job is {job.status}"
            )
        case.require_same(
            case.world(bench, versions=False), before, f"after {sent} and an undo all is as before"
        )
        return done, ended
