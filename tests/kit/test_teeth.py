"""Each check of the contract finds the operation that breaks it; none is there for show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from countermand_testing import (
    Case,
    Check,
    ContractBrokenError,
    Crash,
    Failpoint,
    Faults,
    checks_for,
)
from countermand_testing import checks as suite
from countermand_testing.generated import undo_restores
from tests.kit.broken import BROKEN, noting
from tests.kit.shop import ADD, BOOK, WRITE

OF_CHUNKS = (
    suite.check_chunks,
    suite.check_redelivery,
    suite.check_undo_redelivery,
    suite.check_cancellation,
)
"""Checks that see something only between chunks."""
BLIND_TO_ONE = [(check, case) for check, case in BROKEN if check in OF_CHUNKS]


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


@pytest.mark.parametrize("many", [0, 1, 2])
@pytest.mark.parametrize(("check", "case"), BLIND_TO_ONE)
def test_a_case_of_one_chunk_is_not_let_pass(check: Check, case: Case, many: int) -> None:
    with pytest.raises(ContractBrokenError, match=rf"{case.kind}: .* give it six or so"):
        check(replace(case, items=case.items[:many]))


@pytest.mark.parametrize(("check", "case"), BLIND_TO_ONE)
def test_a_case_of_two_chunks_shows_what_is_broken(check: Check, case: Case) -> None:
    with pytest.raises(ContractBrokenError) as found:
        check(replace(case, items=case.items[:3]))
    assert "six or so" not in str(found.value)


@pytest.mark.parametrize("case", [BOOK, ADD, WRITE], ids=lambda case: case.kind)
@pytest.mark.parametrize("check", OF_CHUNKS)
def test_what_is_whole_passes_with_two_chunks(check: Check, case: Case) -> None:
    check(replace(case, items=case.items[:3]))


@pytest.mark.parametrize("case", [BOOK, ADD, WRITE], ids=lambda case: case.kind)
@pytest.mark.parametrize("check", [suite.check_redelivery, suite.check_undo_redelivery])
def test_where_no_worker_died_nothing_was_shown(
    monkeypatch: pytest.MonkeyPatch, check: Check, case: Case
) -> None:
    never = Faults(crashes=(Crash(Failpoint.AFTER_CLAIM, 1000),))
    monkeypatch.setattr(suite, "TROUBLE", never)
    monkeypatch.setattr(suite, "TROUBLED_UNDO", never)

    with pytest.raises(ContractBrokenError, match="no worker has died"):
        check(case)


def test_drawn_items_find_what_an_undo_does_not_restore() -> None:
    with pytest.raises(ContractBrokenError, match="noting"):
        undo_restores(next(case for _, case in BROKEN if case.operation is noting))


def test_drawn_items_that_never_succeed_show_nothing() -> None:
    with pytest.raises(
        ContractBrokenError,
        match=r"strategy that draws good ones\. The last job ended failed .*item 0: ",
    ):
        undo_restores(BOOK, st.just({"id": 9}), examples=2)
