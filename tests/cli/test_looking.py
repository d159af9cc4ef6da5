"""The past of records, and the runs of jobs compared, on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.contract_server import Contract

AT = "2025-06-01T12:00:00+00:00"


def written(version: int, job_id: str | None = "job-1", **more: Any) -> dict[str, Any]:
    by = {"actor": "ann", "job_id": job_id, "generation": 0, "chunk": 4, "cause": "apply"}
    if job_id is None:
        by = dict.fromkeys(by) | {"actor": "bob"}
    return {"version": version, "deleted": False, "at": AT, "by": by, "links": {}, **more}


@pytest.fixture
def record(contract: Contract) -> Contract:
    contract.records = {
        "history": {
            "items": [
                written(4, deleted=True, changed={}),
                written(3, changed={"text": {"before": "a", "after": "b\x1b"}}),
                written(2, None, changed=None),
            ],
            "next_cursor": "2",
        },
        "blame": {
            "table": "notes",
            "id": 7,
            **written(3),
            "columns": {
                "text": {"value": "b", "certain": True, **written(3)},
                "list": {"value": 1, "certain": False, **written(2, None)},
            },
        },
    }
    return contract


def test_history_is_a_table_that_says_when_there_is_more(ask: Run, record: Contract) -> None:
    ended = ask("history", "notes", "7", "--limit", "3")

    rows = ended.out.splitlines()[3:]
    assert rows[0].split()[0] == "4"
    assert "deleted" in rows[0]
    assert "job job-1 (apply 4)" in rows[1]
    assert 'text: "a" -> "b' in rows[1]
    assert "\x1b" not in ended.out
    assert "bob" in rows[2]
    assert "(not known)" in rows[2]
    assert "--cursor 2" in ended.err
    assert record.requests == [("GET", "/api/v1/records/notes/7/history?limit=3")]


def test_history_as_json_is_the_page(ask: Run, record: Contract) -> None:
    ended = ask("history", "notes", "7", "--cursor", "9", "--values", "--json")

    assert ended.document == record.records["history"]
    assert record.requests == [
        ("GET", "/api/v1/records/notes/7/history?limit=20&cursor=9&include=values")
    ]


def test_blame_says_who_and_whether_that_is_certain(ask: Run, record: Contract) -> None:
    ended = ask("blame", "notes", "7")

    assert "notes/7 is at version 3, last written" in ended.err
    text, listed = ended.out.splitlines()[3:5]
    assert "job job-1" in text
    assert "or earlier" in listed
    assert ask("blame", "notes", "7", "--json").document == record.records["blame"]


def test_a_deleted_record_is_said_to_be_deleted(ask: Run, record: Contract) -> None:
    record.records["blame"] |= {"deleted": True, "columns": {}}

    ended = ask("blame", "notes", "7")

    assert "deleted 2025-06-01" in ended.err
    assert ended.out == ""


def test_an_odd_table_stays_one_part_of_the_path(ask: Run, record: Contract) -> None:
    ask("blame", "a/b", "7")

    assert record.requests == [("GET", "/api/v1/records/a%2Fb/7/blame")]
    assert ask("blame", "notes", "seven").code == 2


@pytest.fixture
def compared(contract: Contract) -> Contract:
    side = {"position": 4, "status": "succeeded", "result": {"id": 1}, "error": None}
    fault = {"code": "odd", "message": "no\x1b", "pointer": "/n"}
    other = {"position": 7, "status": "failed", "result": None, "error": fault}
    contract.differences = [
        {"position": n, "change": "status", "this": side, "other": other} for n in range(59)
    ]
    contract.differences.append(
        {"position": 59, "change": "only_this", "this": side, "other": None}
    )
    contract.summary = {
        "changes": {"same": 1940, "status": 59, "result": 0, "only_this": 1, "only_other": 0},
        "moves": [{"this": "succeeded", "other": "failed", "items": 59}],
    }
    return contract


def test_a_diff_is_counted_and_drawn_side_by_side(ask: Run, compared: Contract) -> None:
    ended = ask("diff", "job-1", "job-2", "--at", "3", "--key", "/n", "--change", "status")

    lines = ended.out.splitlines()
    assert lines[:4] == [
        "1,940 the same",
        "59 with another status",
        "1 only in the first",
        "  59 succeeded -> failed",
    ]
    assert 'succeeded  {"id": 1}' in ended.out
    assert "4 / 7" in ended.out
    assert "failed  odd: no" in ended.out
    assert "\x1b" not in ended.out
    assert "there are more" in ended.err
    assert compared.requests == [
        ("GET", "/api/v1/jobs/job-1/diff/job-2?at=3&key=/n&change=status&limit=51"),
        ("GET", "/api/v1/jobs/job-1/diff/job-2/summary?at=3&key=/n"),
    ]


def test_a_diff_as_json_is_all_that_differs(ask: Run, compared: Contract) -> None:
    assert ask("diff", "job-1", "job-2", "--json").lines == compared.differences
    counted = ask("diff", "job-1", "job-1", "--other-generation", "1", "--summary", "--json")
    assert counted.document == compared.summary
    assert compared.requests[-1] == (
        "GET",
        "/api/v1/jobs/job-1/diff/job-1/summary?other_generation=1",
    )
    assert "the same" in ask("diff", "job-1", "job-2", "--summary").out


def test_what_is_no_id_is_not_asked_for(ask: Run, compared: Contract) -> None:
    assert ask("diff", "job-1", "../x").code == 2
    assert compared.requests == []
