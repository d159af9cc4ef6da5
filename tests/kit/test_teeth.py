"""Each check of the contract finds the operation that breaks it; none is there for show."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from countermand_testing import Case, Check, ContractBrokenError, checks_for
from countermand_testing.generated import undo_restores
from tests.kit.broken import BROKEN, noting
from tests.kit.shop import BOOK, WRITE


@pytest.mark.parametrize(
    ("check", "case"), BROKEN, ids=[f"{check.__name__}-{case.kind}" for check, case in BROKEN]
)
def test_a_check_finds_what_it_is_for(check: Check, case: Case) -> None:
    with pytest.raises(ContractBrokenError, match=case.kind):
        check(case)


def test_every_check_has_an_operation_that_breaks_it() -> None:
    ours = {check for case in (BOOK, WRITE) for check in checks_for(case)}
    ours |= {check for _, case in BROKEN for check in checks_for(case)}
    assert ours == {check for check, _ in BROKEN}


def test_drawn_items_find_what_an_undo_does_not_restore() -> None:
    with pytest.raises(ContractBrokenError, match="noting"):
        undo_restores(next(case for _, case in BROKEN if case.operation is noting))


def test_drawn_items_that_never_succeed_show_nothing() -> None:
    with pytest.raises(
        ContractBrokenError,
        match=r"strategy that draws good ones\. The last job ended failed .*item 0: ",
    ):
        undo_restores(BOOK, st.just({"id": 9}), examples=2)
