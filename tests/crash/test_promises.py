"""What a job has not kept is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.oracle import Account, Verdict
from tests.crash.promises import (
    broken,
    broken_whole,
    judge,
    named,
    taken,
    told_in_order,
    waited,
)

NONE = {"pending": 0, "succeeded": 0, "failed": 0, "skipped": 0, "total": 4}


def _event(name: str, second: int = 0, **fields: Any) -> dict[str, Any]:
    counts = NONE | fields.pop("counts", {})
    at = f"2026-01-01T00:00:{second:02}+00:00"
    told = {"event": name, "at": at, "counts": counts, "status": "running", "version": second}
    if name == "job.chunks_planned":
        told["chunks"] = [{"chunk": 0, "cause": "apply"}]
    return told | fields


def _broken(options: dict[str, Any], *events: dict[str, Any], other: Any = ()) -> list[str]:
    return list(broken({"options": options}, events, {"other": other}))


PLANNED = _event("job.chunks_planned", 5)
ASKED = _event("job.submitted", actor="ann", status="awaiting_approval")
ERRORS = _event("job.finished", status="completed_with_errors", counts={"failed": 4})
SUBMITTED = _event("job.submitted", status="pending")
CLOSED = _event("job.chunks_closed", 3, counts={"failed": 4})
PAUSED = _event("job.paused", 6, status="paused", limit={"failed": 3}, counts={"failed": 4})
RESUMED = _event("job.resumed", 7, counts={"failed": 4})
RETRIED = _event("job.retry_started", 7)
AGAIN = _event("job.chunks_planned", 9, counts={"failed": 4})
BACK = _event("job.chunks_planned", 9, counts={"failed": 4}, status="rolling_back")
AFTER = {"after": [{"job_id": "other", "end": "partly"}]}
MET = _event("job.dependencies_met", 3)
AT = {"start_at": "2026-01-01T00:00:09+00:00"}
DUE = _event("job.start_due", 9)
LIFTED = _event("job.adjusted", 2)
MOVED = _event("job.adjusted", 2, start_at="2026-01-01T00:00:30+00:00")
SKIPPED = _event("job.skipped", needs="other", reason="job other is failed", counts={"skipped": 4})


@pytest.mark.parametrize(
    ("options", "events", "found"),
    [
        ({"atomic": True}, [_event("x", counts={"succeeded": 2, "pending": 2})], "a part of it"),
        ({"atomic": True}, [_event("x", counts={"succeeded": 4})], ""),
        ({"dry_run": True}, [_event("x", counts={"succeeded": 1})], "has effects"),
        ({"timeout": 3}, [PLANNED, _event("job.chunks_planned", 9)], "past the timeout"),
        ({"timeout": 3}, [PLANNED, _event("job.chunks_planned", 7)], ""),
        (
            {"timeout": 3},
            [PLANNED, _event("job.resumed", 8), _event("job.chunks_planned", 9)],
            "",
        ),
        ({}, [_event("job.held"), _event("job.shredded")], "it was held"),
        ({}, [_event("job.held"), _event("job.released"), _event("job.archived")], ""),
        ({}, [_event("job.shredded"), _event("job.retry_started")], "nobody has its items"),
        ({}, [ASKED, PLANNED], "nobody has approved"),
        ({}, [ASKED, _event("job.approved", actor="ann"), PLANNED], "asked for by the same"),
        ({}, [ASKED, _event("job.approved", actor="bob"), PLANNED], ""),
        ({"stop_on_error": True}, [ERRORS], "4 items failed, 0 are"),
        ({"tolerate": [{"failed": 3}]}, [ERRORS], "4 items failed, 3 are"),
        ({"tolerate": [{"failed": 4}]}, [ERRORS], ""),
        ({"tolerate": [{"failed": 3, "then": "pause"}]}, [ERRORS], ""),
        ({"tolerate": [{"percent": 75}]}, [ERRORS], "4 items failed, 3 are"),
        ({"tolerate": [{"percent": 75.5}]}, [ERRORS], "4 items failed, 3 are"),
        ({"tolerate": [{"percent": 100.0}]}, [ERRORS], ""),
        ({"tolerate": [{"percent": 5, "window": 20}]}, [ERRORS, AGAIN], ""),
        ({"tolerate": [{"failed": 3, "codes": ["busy"]}]}, [ERRORS, AGAIN], ""),
        ({"on_error": "roll_back"}, [ERRORS], "4 items failed, 0 are"),
        ({"on_error": "roll_back", "tolerate": [{"failed": 4}]}, [ERRORS], ""),
        ({"tolerate": [{"failed": 3, "then": "pause"}]}, [CLOSED, AGAIN], "goes on with 4 items"),
        ({"tolerate": [{"failed": 3}]}, [CLOSED, AGAIN], "goes on with 4 items"),
        ({"tolerate": [{"failed": 3, "then": "pause"}]}, [CLOSED, PAUSED, RESUMED, AGAIN], ""),
        (
            {"tolerate": [{"failed": 3, "then": "pause"}]},
            [CLOSED, PAUSED | {"limit": None}, RESUMED, AGAIN],
            "goes on with 4 items",
        ),
        ({"tolerate": [{"failed": 3}]}, [RETRIED | {"counts": CLOSED["counts"]}, AGAIN], ""),
        ({"tolerate": [{"failed": 3}]}, [RETRIED, AGAIN], "goes on with 4 items"),
        ({"tolerate": [{"failed": 3}]}, [CLOSED, BACK], ""),
        ({"tolerate": [{"failed": 3}]}, [BACK, ERRORS], ""),
        (AT, [PLANNED], "begins before"),
        (AT, [_event("job.start_due", 7), PLANNED], "version 7 is before"),
        (AT, [DUE, _event("job.chunks_planned", 9)], ""),
        (AT, [MOVED, DUE], "version 9 is before"),
        (AT, [LIFTED, PLANNED], ""),
        (AFTER, [PLANNED], "it began before"),
        (AFTER, [MET, PLANNED], "had not partly"),
        (AFTER, [SKIPPED], ""),
        (AFTER, [SKIPPED | {"reason": "who knows"}], "does not say for whom"),
        (AFTER, [SKIPPED | {"counts": NONE | {"skipped": 3}}], "has done something"),
    ],
)
def test_what_is_broken_is_said(options: dict[str, Any], events: list[Any], found: str) -> None:
    said = _broken(options, *events)
    assert len(said) == bool(found)
    assert all(found in fault for fault in said)


@pytest.mark.parametrize(
    ("status", "second", "well"),
    [("completed_with_errors", 2, True), ("failed", 2, False), ("completed", 9, False)],
)
def test_the_others_must_have_ended_by_then(status: str, second: int, well: bool) -> None:
    other = [_event("job.finished", second, status=status)]
    assert (not _broken(AFTER, MET, PLANNED, other=other)) is well


@pytest.mark.parametrize(
    ("allowed", "status", "well"),
    [(0.05, "succeeded", False), (0.05, "failed", True), (0.2, "succeeded", True)],
)
def test_nothing_succeeds_that_takes_longer_than_it_may(
    allowed: float, status: str, well: bool
) -> None:
    job = {"options": {"item_timeout": allowed}}
    account = Account(job, ["wait-1-0-3", "wait-1-1-90"], [{"status": status}] * 2, [])
    assert (not list(waited(account))) is well


REPEATS = {"status": "skipped", "error": {"code": "duplicate"}}
WORKED, LEFT = {"status": "succeeded"}, {"status": "skipped", "error": {"code": "not_attempted"}}


@pytest.mark.parametrize(
    ("rule", "items", "faults"),
    [
        ("first", [WORKED, WORKED, REPEATS], 0),
        ("last", [REPEATS, WORKED, WORKED], 0),
        ("first", [REPEATS, WORKED, WORKED], 2),
        ("first", [WORKED, WORKED, WORKED], 1),
        ("first", [LEFT, LEFT, REPEATS], 0),
        ("first", [LEFT, REPEATS, REPEATS], 1),
        ("refuse", [LEFT, LEFT, LEFT], 0),
        ("refuse", [WORKED, LEFT, LEFT], 1),
    ],
)
def test_of_what_is_called_the_same_one_is_worked(
    rule: str, items: list[dict[str, Any]], faults: int
) -> None:
    job = {"options": {"key": "/name", "duplicates": rule}}
    assert (
        len(list(named(Account(job, ["named-1-0-7", "named-1-1-8", "named-1-2-7"], items, []))))
        == faults
    )


@pytest.mark.parametrize(
    ("ids", "events", "faults"),
    [
        ([4, 6], [], 0),
        ([], [], 0),
        ([4], [], 1),
        ([6, 4], [], 1),
        ([4, 4, 6], [], 2),
        ([4], [_event("job.undo_started")], 0),
        ([4, 4], [_event("job.undo_started")], 1),
    ],
)
def test_items_are_the_results_of_another_job_each_once(
    ids: list[int], events: list[dict[str, Any]], faults: int
) -> None:
    made = [{"status": "succeeded", "result": {"id": n}} for n in (4, 6)]
    source = Account({"job_id": "one"}, ["m"] * 3, [*made, {"status": "failed"}], events)
    account = Account({"job_id": "two"}, [f"taken-1-{n}" for n in ids], [], [])
    assert len(list(taken(account, source))) == faults


def test_a_batch_is_what_its_jobs_are() -> None:
    jobs = {"a": {"status": "completed", "counts": {"succeeded": 3}}}
    batch = {"job_id": "b", "steps": [{"job_id": "a"}], "counts": {"succeeded": 3}}
    assert not list(broken_whole({**batch, "status": "completed"}, jobs))
    assert list(broken_whole({**batch, "status": "completed", "counts": {"succeeded": 2}}, jobs))
    assert list(broken_whole({**batch, "status": "rolled_back"}, jobs))
    jobs["a"]["status"] = "failed"
    assert list(broken_whole({**batch, "status": "completed"}, jobs))


@pytest.mark.parametrize(
    ("jobs", "ends"),
    [
        ([("completed", 2, 0), ("completed", 1, 0)], {"completed", "rollback_incomplete"}),
        (
            [("completed", 2, 0), ("failed", 0, 0)],
            {"completed_with_errors", "rollback_incomplete"},
        ),
        ([("rolled_back", 0, 2), ("cancelled", 0, 0)], {"rolled_back"}),
        ([("failed", 0, 0), ("cancelled", 0, 0)], {"failed", "rolled_back"}),
    ],
)
@pytest.mark.parametrize(
    "status",
    ["completed", "completed_with_errors", "failed", "rolled_back", "rollback_incomplete"],
)
def test_a_batch_has_ended_as_its_jobs_have(
    jobs: list[tuple[str, int, int]], ends: set[str], status: str
) -> None:
    own: dict[str, dict[str, Any]] = {
        str(n): {"status": one, "counts": {"succeeded": stands, "rolled_back": back}}
        for n, (one, stands, back) in enumerate(jobs)
    }
    counts = {
        name: sum(job["counts"][name] for job in own.values())
        for name in ("succeeded", "rolled_back")
    }
    batch = {"job_id": "b", "steps": [{"job_id": n} for n in own], "counts": counts}
    assert (not list(broken_whole({**batch, "status": status}, own))) is (status in ends)


def test_a_job_that_was_put_away_counts_in_its_batch_as_it_had_ended() -> None:
    job = {"status": "archived", "archived": {"was": "completed"}, "counts": {"succeeded": 1}}
    batch = {"job_id": "b", "steps": [{"job_id": "a"}], "counts": {"succeeded": 1}}
    assert not list(broken_whole({**batch, "status": "completed"}, {"a": job}))


FINISHED = _event("job.finished", 8, status="completed")
ASKED_TO_STOP = _event("job.paused", 1, status="paused")


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([SUBMITTED, PLANNED, FINISHED], ""),
        ([FINISHED], "[*] finish completed"),
        ([SUBMITTED, FINISHED, _event("job.chunks_planned", 9)], "completed plan running"),
        ([SUBMITTED, PLANNED, _event("job.unheard_of", 6)], "running job.unheard_of running"),
        ([SUBMITTED, _event("job.chunks_planned", 20), FINISHED], "follows what is of"),
        # An outcome is taken in while somebody waits for the pause that he has asked for.
        (
            [
                SUBMITTED,
                _event("job.chunks_planned"),
                _event("job.chunks_closed", 8),
                ASKED_TO_STOP,
            ],
            "",
        ),
        ([SUBMITTED, PLANNED, _event("job.chunks_closed", 20), CLOSED], "follows what is of"),
    ],
)
def test_events_lead_on_from_one_another_in_their_time(
    events: list[dict[str, Any]], found: str
) -> None:
    said = list(told_in_order(events))
    assert len(said) == bool(found)
    assert all(found in fault for fault in said)


def test_the_order_of_a_batch_is_that_of_its_own_drawing() -> None:
    verdict = Verdict()
    batch = {"job_id": "batch", "steps": [], "counts": {}, "status": "completed"}
    judge([], [(batch, [SUBMITTED, _event("job.children_moved", 1, status="completed")])], verdict)
    assert not verdict.faults
    judge([], [(batch, [SUBMITTED, FINISHED])], verdict)
    assert len(verdict.faults) == 1, verdict.faults


@pytest.mark.parametrize(("status", "faults"), [("completed", 0), ("failed", 1)])
def test_a_job_may_come_after_a_batch(status: str, faults: int) -> None:
    job = {"job_id": "one", "options": AFTER | {"after": [{"job_id": "batch", "end": "partly"}]}}
    batch = {"job_id": "batch", "steps": [], "counts": {}, "status": "running"}
    ended = _event("job.children_moved", 1, status=status)
    events = [SUBMITTED, MET | {"status": "pending"}, PLANNED]
    verdict = Verdict()
    judge([Account(job, [], [], events)], [(batch, [SUBMITTED, ended])], verdict)
    assert len(verdict.faults) == faults, verdict.faults
