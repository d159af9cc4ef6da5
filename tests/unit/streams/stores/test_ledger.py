"""What is written into a ledger is read out of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.outcomes import (
    Conflicted,
    Done,
    Failed,
    ItemStatus,
    Restored,
    Result,
    Skipped,
    UndoResult,
)
from domain.ranges import Ranges
from streams.stores import ledger

TEXT = st.text(max_size=20)
DETAILS = st.one_of(st.none(), st.dictionaries(TEXT, st.integers(-5, 5), max_size=2))
RESULTS: st.SearchStrategy[Result] = st.one_of(
    st.builds(
        Done,
        st.one_of(st.none(), st.dictionaries(TEXT, st.integers(-5, 5), max_size=2)),
        st.one_of(st.none(), st.floats(0, 1)),
    ),
    st.builds(Failed, TEXT.filter(bool), TEXT, TEXT, st.booleans(), DETAILS),
    st.builds(Skipped, TEXT),
)


@given(st.dictionaries(st.integers(0, 500), RESULTS, min_size=1, max_size=30))
def test_results_come_back_by_position(results: dict[int, Result]) -> None:
    positions = Ranges.of(results)
    encoded = ledger.encode_results(
        positions, [results[position] for position in positions], duration_ms=1.5
    )
    entries = list(ledger.entries(encoded.data))
    assert [entry.position for entry in entries] == sorted(results)
    for entry in entries:
        match results[entry.position]:
            case Done(document, score):
                assert (entry.status, entry.result) == (ItemStatus.SUCCEEDED, document)
                assert entry.score == score
            case Failed(code, message, pointer, retryable, details):
                assert (entry.status, entry.result) == (ItemStatus.FAILED, details)
                assert (entry.code, entry.message) == (code, message)
                assert (entry.pointer, entry.retryable) == (pointer, retryable)
            case Skipped(reason):
                assert (entry.status, entry.message) == (ItemStatus.SKIPPED, reason)
    assert encoded.succeeded + encoded.failed + encoded.skipped == len(results)
    assert [(e.position, e.status) for e in entries] == list(ledger.statuses(encoded.data))


def test_an_undo_s_ledger_says_nothing_of_items_it_could_not_put_back() -> None:
    results: dict[int, UndoResult] = {
        3: Restored(),
        5: Conflicted("stock/9", "anna", "changed after the job, at version 4"),
        8: Failed("stuck", "cannot"),
    }
    encoded = ledger.encode_undo(results, restored=ItemStatus.ROLLED_BACK, duration_ms=1.0)
    assert list(ledger.statuses(encoded.data)) == [
        (3, ItemStatus.ROLLED_BACK),
        (5, ItemStatus.CONFLICT),
    ]
    by_position = {entry.position: entry for entry in ledger.entries(encoded.data)}
    assert by_position[5].message == "stock/9 was changed after the job, at version 4 by anna"
    assert by_position[8].status is None
    assert (encoded.rolled_back, encoded.conflict, encoded.failed) == (1, 1, 1)
