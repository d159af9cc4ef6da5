"""Jobs that fail well: exactly the failed are worked again, and limits stop what goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.reader import follow
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS, Client, Document

ITEMS, BAD = 10_000, 250


def _submit(client: Client, key: str, items: list[Any], folder: Path, **fields: Any) -> str:
    operation = fields.pop("operation", "fitful.one")
    return client.submit(key, operation, items, params={"folder": str(folder)}, **fields)


def _retry(client: Client, job_id: str, status: int = 202, **select: Any) -> Document:
    answer: Document = client.ask("POST", f"{JOBS}/{job_id}/retry", select, status=status)
    return answer


def _calls(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "calls").read_text().split()]


def _counted(job: Document) -> dict[str, int]:
    return {name: count for name, count in job["counts"].items() if count and name != "total"}


@pytest.mark.parametrize("items", [2000, pytest.param(ITEMS, marks=pytest.mark.proof)])
def test_so_many_failed_cost_exactly_so_many_calls_more(
    stack: Stack, tmp_path: Path, items: int
) -> None:
    client = Client(stack.url)
    bad = set(range(7, items, ITEMS // BAD))
    things = [{"n": n, "bad": n in bad} for n in range(items)]
    job_id = _submit(client, f"redrive {items}", things, tmp_path)
    failed = len(bad)
    assert _counted(client.settle(job_id)) == {"succeeded": items - failed, "failed": failed}
    before = _calls(tmp_path)
    assert len(set(before)) == items

    (tmp_path / "mended").touch()
    _retry(client, job_id, reason="mended")
    job = client.settle(job_id)
    assert (job["status"], _counted(job)) == ("completed", {"succeeded": items})
    again = _calls(tmp_path)[len(before) :]
    assert sorted(again) == sorted(bad)
    stack.tell(f"calls of the handler for {failed} failed items of {items:,}", len(again))
    stack.check_audit()


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_250_failed_of_10000_are_worked_again_at_the_rate_of_their_job(
    stack: Stack, tmp_path: Path
) -> None:
    client, rate = Client(stack.url), 100
    bad = set(range(7, ITEMS, ITEMS // BAD))
    things = [{"n": n, "bad": n in bad} for n in range(ITEMS)]
    job_id = _submit(client, "redrive at a rate", things, tmp_path, options={"rate": rate})
    assert client.settle(job_id, 300)["counts"]["failed"] == BAD
    before = len(_calls(tmp_path))
    (tmp_path / "mended").touch()
    begun = time.monotonic()
    _retry(client, job_id)
    client.settle(job_id)
    took = time.monotonic() - begun
    assert sorted(_calls(tmp_path)[before:]) == sorted(bad)
    stack.tell("seconds for 250 failed items of 10,000 at 100 a second", round(took, 2))
    assert took >= BAD / rate - 1.25, "but for what had gathered in a second"


def test_the_failed_are_chosen_by_name_and_by_error(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n % 2 == 0} for n in range(20)]
    things[1] = {"n": "no number"}
    job_id = _submit(client, "chosen", things, tmp_path)
    assert client.settle(job_id)["counts"]["failed"] == 11
    groups = {g["code"]: g for g in client.ask("GET", f"{JOBS}/{job_id}/errors")["items"]}
    before = len(_calls(tmp_path))
    (tmp_path / "mended").touch()

    refused = _retry(client, job_id, 409, items=[0, 3])
    assert refused["code"] == "wrong_state"
    assert "item 3 has neither failed" in refused["detail"]
    assert _retry(client, job_id, 422, items=[0], unattempted=True)["code"] == "invalid"

    _retry(client, job_id, items=[0, 4])
    assert client.settle(job_id)["counts"]["failed"] == 9
    _retry(client, job_id, codes=["bad"], signatures=[groups["bad"]["signature"]])
    job = client.settle(job_id)
    assert (job["counts"]["failed"], job["status"]) == (1, "completed_with_errors")
    assert sorted(_calls(tmp_path)[before:]) == list(range(0, 20, 2))


def test_a_group_of_failures_is_edited_and_worked_again(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n % 5 == 0} for n in range(100)]
    job_id = _submit(client, "edited", things, tmp_path)
    assert client.settle(job_id)["counts"]["failed"] == 20
    _retry(client, job_id, codes=["bad"], patch={"bad": False}, reason="they are good")
    job = client.settle(job_id)
    assert (job["status"], _counted(job)) == ("completed", {"succeeded": 100})
    item = client.ask("GET", f"{JOBS}/{job_id}/items/35")
    assert item["bodies"] == [{"n": 35, "bad": True}, {"n": 35, "bad": False}]
    assert [attempt["status"] for attempt in item["attempts"]] == ["failed", "succeeded"]
    stack.check_audit()


def test_items_are_tried_again_until_they_go_well(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "times": n % 4} for n in range(40)]
    retry = {"attempts": 3, "delay": 0.2, "codes": {"bad": {"attempts": 2}}}
    job_id = _submit(client, "attempts", things, tmp_path, options={"retry": retry})
    seen = list(follow(stack.url, job_id))

    assert seen[-1].data["status"] == "completed_with_errors"
    assert _counted(client.job(job_id)) == {"succeeded": 30, "failed": 10}
    assert Counter(Counter(_calls(tmp_path)).values()) == {1: 10, 2: 10, 3: 20}
    for name in ("succeeded", "failed"):
        told = [event.data["counts"][name] for event in seen if event.version]
        assert told == sorted(told), f"{name} is never taken back"
    assert "job.attempts_due" in {event.name for event in seen}
    stack.check_audit()


def test_attempts_outlive_the_death_of_the_engine(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "times": 1} for n in range(30)]
    options = {"retry": {"delay": 4, "factor": 1, "cap": 4}, "chunk_size": 10}
    job_id = _submit(client, "outlive", things, tmp_path, options=options)
    waiting = next(e for e in follow(stack.url, job_id) if e.name == "job.chunks_closed")
    assert waiting.data["counts"]["pending"] > 0
    stack.kill_engine()
    stack.wait_ready()
    job = client.settle(job_id)
    assert (job["status"], _counted(job)) == ("completed", {"succeeded": 30})
    stack.check_audit()


@pytest.mark.parametrize("then", ["fail", "pause"])
def test_a_job_with_too_many_failures_stops_and_says_why(
    stack: Stack, tmp_path: Path, then: str
) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n == 5} for n in range(5000)]
    options = {"chunk_size": 10, "tolerate": [{"failed": 0, "codes": ["bad"], "then": then}]}
    job_id = _submit(client, f"limit {then}", things, tmp_path, options=options)
    stopped = "failed" if then == "fail" else "paused"
    next(event for event in follow(stack.url, job_id) if event.data["status"] == stopped)
    job = client.job(job_id)
    assert job["reason"] == "limit: an item failed with bad"
    assert job["limit"]["codes"] == ["bad"]
    assert job["status"] == stopped
    counts = job["counts"]
    assert counts["failed"] == 1
    assert counts["skipped" if then == "fail" else "pending"] == 4999 - counts["succeeded"] > 0
    (tmp_path / "mended").touch()
    if then == "fail":
        _retry(client, job_id, unattempted=True)
        assert client.settle(job_id)["counts"]["failed"] == 1
        _retry(client, job_id)
    else:
        client.command(job_id, "resume", f"resume {then}")
        assert client.settle(job_id)["counts"]["failed"] == 1
        _retry(client, job_id)
    job = client.settle(job_id)
    assert (job["status"], job["limit"]) == ("completed", None)
    stack.check_audit()


def test_one_bad_item_in_500_costs_at_most_19_calls(stack: Stack, tmp_path: Path) -> None:
    client = Client(stack.url)
    things = [{"n": n, "bad": n == 321} for n in range(500)]
    options = {"chunk_size": 500}
    job_id = _submit(client, "poison", things, tmp_path, operation="fitful.many", options=options)
    job = client.settle(job_id)
    assert _counted(job) == {"succeeded": 499, "failed": 1}
    lines = (tmp_path / "chunks").read_text().splitlines()
    calls = [tuple(map(int, line.split())) for line in lines]
    assert len(calls) <= 19
    assert sum(size for size, bad in calls if not bad) == 499, "each of the others once"
    stack.tell("calls of the handler for 1 bad item in 500", len(calls))


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"retry": {"attempts": 1}}, "/options/retry/attempts"),
        ({"retry": {"attempts": 99}}, "/options/retry/attempts"),
        ({"retry": {"delay": 9, "cap": 1}}, "/options/retry/cap"),
        ({"tolerate": [{"failed": 1, "percent": 1}]}, "/options/tolerate/0"),
        ({"tolerate": [{"failed": 1, "codes": ["bda"]}]}, "/options"),
        ({"stop_on_error": True, "tolerate": [{"failed": 3}]}, "/options/stop_on_error"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    stack: Stack, tmp_path: Path, options: dict[str, Any], pointer: str
) -> None:
    client = Client(stack.url)
    body = {
        "operation": "fitful.one",
        "items": [{"n": 1}],
        "params": {"folder": str(tmp_path)},
        "options": options,
    }
    problem = client.ask("POST", JOBS, body, status=422)
    assert problem["pointer"] == pointer


def test_the_command_line_says_all_of_it(stack: Stack, tmp_path: Path) -> None:
    things = "".join(f'{{"n": {n}, "bad": {"true" if n == 5 else "false"}}}\n' for n in range(900))
    ended = stack.ask(
        *("submit", "fitful.one", "-p", f"folder={tmp_path}", "--chunk-size", "1"),
        *("--stop-on-error", "--attempts", "2", "--watch"),
        given=things,
    )
    assert ended.returncode == 1, ended.stderr
    (job_id,) = [line.split()[-1] for line in ended.stderr.splitlines() if line.startswith("job ")]
    job = stack.json("show", job_id)
    assert (job["status"], job["reason"]) == ("failed", "limit: an item failed")
    assert job["counts"]["skipped"] > 0

    (tmp_path / "mended").touch()
    assert stack.ask("retry", job_id, "--unattempted", "--watch").returncode == 1, "one is left"
    assert stack.ask("retry", job_id, "--code", "bad", "--watch").returncode == 0
    assert stack.json("show", job_id)["counts"]["succeeded"] == 900
    item = stack.json("item", job_id, "5")
    assert [attempt["status"] for attempt in item["attempts"]] == ["failed", "succeeded"]
    assert "thing 5 is bad" in stack.ask("item", job_id, "5").stdout
